"""How JAX runs here: the one place that sets its options and XLA's, and joins the processes of a cluster.

XLA autotunes a GPU's kernels as it compiles; what else a program asks of XLA is in `forward.compiler_options`.
Precision belongs to the config (`--config.precision`), and environment variables (`XLA_FLAGS`,
`JAX_COMPILATION_CACHE_DIR`, ...) win over this file.
"""

import faulthandler
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax

from sharp_unet_jax.errors import InputError

HEARTBEAT = 100  # seconds of silence after which a process counts as dead, and the others end
WEEK = 7 * 24 * 3600

LAST_WORDS = """\
import sys
dump = sys.stdin.read()
aborted = "error: JAX ended this process, most likely as another one of the sweep failed or was killed: start all again"
sys.stderr.write(aborted + "\\n" if "Aborted" in dump else dump)
"""


class Cluster(NamedTuple):
    """The processes that make a sweep together; what is None is found out from SLURM, Open MPI, a TPU pod or GKE."""

    coordinator: str | None = None  # HOST:PORT of process 0
    processes: int | None = None
    process: int | None = None  # which of them this is, from 0


def configure(cluster: Cluster | None = None) -> list[jax.Device]:
    """The devices here, or of the whole `cluster`. InputError where the others are not found.

    Compiled programs and autotuning results are kept in ~/.cache/sharp_unet_jax, if it can be written. Not on a CPU:
    there a compiled program may use instructions that another machine sharing the folder has not.
    """
    if getattr(jax.config, "jax_num_cpu_devices", 0) > 1 or "host_platform_device_count" in os.environ.get(
        "XLA_FLAGS", ""
    ):
        # Simulated devices share a pool of threads as large as the machine has cores. A sum over devices holds a thread
        # of each until all have come: where two sums are on at once they wait for each other, and XLA aborts.
        os.environ.setdefault("NPROC", "64")
    # Orbax logs errors that it raises too, pages of them, and warns of every save that one of several processes makes.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    _quiet_closed_loops()
    if cluster is not None:
        _explain_aborts()
        try:
            # At its end a process waits for the others, which may train for days yet; a dead one is noticed anyway.
            jax.distributed.initialize(*cluster, heartbeat_timeout_seconds=HEARTBEAT, shutdown_timeout_seconds=WEEK)
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"the other processes were not found ({error}); where no SLURM, Open MPI, TPU or GKE tells, give every "
                "process --coordinator=HOST:PORT --processes=N --process=I"
            ) from error
    devices = jax.devices()
    if devices[0].platform != "cpu" and "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := _cache()):
        jax.config.update("jax_compilation_cache_dir", str(folder))
    return devices


def _cache() -> Path | None:
    """Where compiled programs are kept; None where nothing can be written there.

    JAX would only warn, but XLA compiles nothing for a GPU if it cannot write down how it tuned its kernels.
    """
    try:
        folder = Path.home() / ".cache" / "sharp_unet_jax"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))  # an empty file is within a quota that is spent
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return folder


def _quiet_closed_loops() -> None:
    """Where a save fails, Orbax closes an event loop that callbacks still come to: pages beside the error itself."""
    before = sys.unraisablehook

    def hook(noise: "sys.UnraisableHookArgs") -> None:
        if str(noise.exc_value) != "Event loop is closed":
            before(noise)

    sys.unraisablehook = hook


def _explain_aborts() -> None:
    """One line at the end where JAX aborts this process because another one is gone: a trace and no more otherwise.

    JAX does so from a thread without Python (its callback for it fails: jaxlib 0.10 to 0.12). Python's fault handler
    writes even then, to a process that knows what to say and that ends with this one.
    """
    read, write = os.pipe()
    command = [sys.executable, "-I", "-S", "-c", LAST_WORDS]
    # In a session of its own: Ctrl-C is not for it.
    subprocess.Popen(command, stdin=read, stdout=subprocess.DEVNULL, start_new_session=True)
    os.close(read)
    faulthandler.enable(write)
