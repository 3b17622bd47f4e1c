"""Options of JAX for the whole process, and the processes of a cluster joined.

Options of single programs are in `training.compile`; precision is in the config (`--config.precision`). Environment
variables (`XLA_FLAGS`, `JAX_COMPILATION_CACHE_DIR`, ...) win over this file.
"""

import faulthandler
import hashlib
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import jax

from launch.console.cluster import Cluster
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import atomic

HEARTBEAT = 100  # seconds without a sign of life after which a process counts as dead, and all others end
WEEK = 7 * 24 * 3600  # seconds

# The program of a process that reads the crash report of this one, see `_explain_aborts`.
LAST_WORDS = """\
import sys
dump = sys.stdin.read()
aborted = "error: JAX ended this process, most likely as another one of the sweep failed or was killed: start all again"
sys.stderr.write(aborted + "\\n" if "Aborted" in dump else dump)
"""


def configure(cluster: Cluster | None = None) -> list[jax.Device]:
    """Set JAX up and return the devices of this machine, or of the whole `cluster`.

    Compiled programs and autotuning results are kept in ~/.cache/sharp_unet_jax, if it can be written.

    Raises:
        InputError: where the other processes of the cluster are not found, and without the devices that JAX_PLATFORMS
            asks for.
    """
    if getattr(jax.config, "jax_num_cpu_devices", 0) > 1 or "host_platform_device_count" in os.environ.get(
        "XLA_FLAGS", ""
    ):
        # Simulated devices share a pool with a thread for each core. A sum over devices holds a thread of every device
        # until all have joined. Two sums at once can wait for each other's threads, and XLA aborts.
        os.environ.setdefault("NPROC", "64")
    # Orbax logs pages for errors that it raises as well, and warns at every save of one process among several.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    _quiet_closed_loops()
    if cluster is not None:
        _explain_aborts()
        try:
            # A process that is done waits for the others, which may train for days; the heartbeat finds dead ones.
            jax.distributed.initialize(*cluster, heartbeat_timeout_seconds=HEARTBEAT, shutdown_timeout_seconds=WEEK)
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"the other processes were not found ({error}); where no SLURM, Open MPI, TPU or GKE tells, give every "
                "process --coordinator=HOST:PORT --processes=N --process=I"
            ) from error
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX asserts where JAX_PLATFORMS=cuda finds no GPU
        asked = os.environ.get("JAX_PLATFORMS", "")
        reason = " ".join(str(error).split())[:300] or f"JAX_PLATFORMS={asked} asks for devices that are not here"
        raise InputError(
            f"JAX finds no device to work on ({reason}): install '.[cuda]' or '.[tpu]' and check its driver, or set "
            "JAX_PLATFORMS=cpu"
        ) from error
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := _cache(devices[0].platform)):
        jax.config.update("jax_compilation_cache_dir", str(folder))
    return devices


def _cache(kind: str) -> Path | None:
    """Return the folder for programs compiled for "cpu", "gpu" or "tpu"; None where nothing can be written there.

    JAX would only warn, but XLA fails to compile for a GPU if it cannot write the results of autotuning.
    """
    try:
        folder = Path.home() / ".cache" / "sharp_unet_jax"
        if kind == "cpu":
            folder /= f"cpu-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
        atomic.check_writable(folder)
    except (InputError, OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return folder


def _processor() -> str:
    """Return a name of this machine's kind of processor. Raises OSError outside of Linux.

    Machines that share a home may have different instructions, and the program of one would crash on another. XLA
    divides loops by the number of cores, and JAX's own names of programs say neither.
    """
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    kind = sorted({line for line in lines if line.startswith(("model name", "flags", "CPU part", "Features"))})
    cores = len(os.sched_getaffinity(0))
    return hashlib.sha256("\n".join([platform.machine(), str(cores), *kind]).encode()).hexdigest()[:16]


def _quiet_closed_loops() -> None:
    """Hide the pages that Python prints after a failed save: Orbax closes an event loop before its callbacks end."""
    before = sys.unraisablehook

    def hook(noise: "sys.UnraisableHookArgs") -> None:
        if str(noise.exc_value) != "Event loop is closed":
            before(noise)

    sys.unraisablehook = hook


def _explain_aborts() -> None:
    """Print one line if JAX aborts this process because another one is gone; without it there is only a trace.

    JAX aborts from a thread without Python: its callback for this case fails in jaxlib 0.10 to 0.12. Python's fault
    handler writes its report even then. It goes to a child process, which prints the line and ends with this process.
    """
    read, write = os.pipe()
    command = [sys.executable, "-I", "-S", "-c", LAST_WORDS]
    # A session of its own keeps Ctrl-C away from it.
    subprocess.Popen(command, stdin=read, stdout=subprocess.DEVNULL, start_new_session=True)
    os.close(read)
    faulthandler.enable(write)
