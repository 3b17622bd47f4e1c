"""Cross-validation by one command: python -m launch.cv --config=cvc.py [--workdir=DIR] [--config.field=value ...]

Trains every run of the config's sweep that --workdir has no finished record of yet, on all devices there are, then
writes the tables and the report. Give the same command again after a sweep was cut off: finished runs are kept, those
it was in go on from their last saved states. Ctrl-C stops at the end of the epoch, again at once. Exit code 0: no run
failed; 1: a run failed, or the input is wrong; 75 after SIGTERM, 130 after Ctrl-C: give the same command again.
"""

import argparse
import contextlib
import dataclasses
import os
import re
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console
from rich.markdown import Markdown

from datasets.files import DataError
from launch.console import config as configs
from launch.console import dataset, ending, environment, paths, progress, runtime, tracking
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import trained
from sharp_unet_jax.report import paper_tables
from sharp_unet_jax.storage import lock
from sharp_unet_jax.storage.layout import run_folder
from sharp_unet_jax.sweeps import check, device_groups, plan, sweep, workdir
from sharp_unet_jax.sweeps.events import Stopped
from sharp_unet_jax.training import distributed


class Command(NamedTuple):
    """What the user asked for."""

    config: Config  # with the command line's overrides
    workdir: Path
    shard: tuple[int, int]
    cluster: runtime.Cluster | None  # where several processes make the sweep together
    verify: str  # the name of a run, or ""
    track: str  # "tensorboard", "wandb", or ""


def parse(arguments: Sequence[str]) -> Command:
    """The command line; InputError for what is not understood."""
    parser = argparse.ArgumentParser(prog="python -m launch.cv", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--config", type=os.path.expanduser, default="", help="a file of launch/configs by its bare name, or any path"
    )
    parser.add_argument(
        "--workdir", type=paths.path, help="where records and tables go (default: work/<name of the config>)"
    )
    parser.add_argument(
        "--shard", metavar="I/N", default="0/1", help="make the I-th of N shares of the runs, from 0 on"
    )
    parser.add_argument(
        "--distributed", action="store_true", help="one of the processes that SLURM, Open MPI, a TPU pod or GKE started"
    )
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="... that you started: where process 0 listens")
    parser.add_argument("--processes", metavar="N", type=int, help="... how many there are")
    parser.add_argument("--process", metavar="I", type=int, help="... which this is, from 0")
    parser.add_argument("--verify", metavar="RUN", default="", help="train that run again and compare its weights")
    parser.add_argument("--track", choices=("", *tracking.TRACKERS), default="", help="log epochs as they end")
    known, rest = parser.parse_known_args(arguments)
    if not known.config:
        raise InputError("name a config, such as --config=demo.py")
    tracking.check(known.track)
    config = configs.overridden(configs.load(known.config), rest)
    folder = known.workdir or Path("work") / Path(known.config).stem
    named = runtime.Cluster(known.coordinator, known.processes, known.process)
    if any(part is not None for part in named) and None in named:
        raise InputError("give --coordinator=HOST:PORT, --processes=N and --process=I together")
    if known.coordinator and not re.fullmatch(r".+:\d{1,5}", known.coordinator):
        raise InputError(f"--coordinator={known.coordinator}: give it as HOST:PORT")
    cluster = named if known.coordinator or known.distributed else None
    if cluster and (known.verify or known.shard != "0/1"):
        raise InputError("--shard and --verify are for processes on their own: leave them out, or --distributed")
    return Command(config, folder, _shard(known.shard), cluster, known.verify, known.track)


def _shard(text: str) -> tuple[int, int]:
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise InputError(f"--shard={text}: give it as I/N with I from 0 to N - 1: 0/4, 1/4, 2/4 and 3/4 make a whole")
    return int(i), int(n)


def run(arguments: Sequence[str], console: Console) -> int:
    """The whole command; returns its exit code. Raises InputError, DataError or OSError for what the user can mend."""
    config, folder, shard, cluster, verify, track = parse(arguments)
    devices = runtime.configure(cluster)
    signal.signal(signal.SIGTERM, _leave)  # until there is something to save
    check.config(config, len(devices))
    data = dataset.load(config.data, console)
    if verify:
        return _verify(config, data, folder, verify, devices[: config.devices_per_run], console)
    groups = device_groups.split(devices, config.devices_per_run)
    console.print(
        f"{len(plan.runs(config, shard))} runs on {len(groups)} x {config.devices_per_run} {devices[0].device_kind}, "
        f"workdir {folder}"
    )
    if idle := len(devices) % config.devices_per_run:
        console.print(f"{idle} of {len(devices)} devices have no work: --config.devices_per_run does not divide them")
    stop, interrupted = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def interrupt(*_: Any) -> None:
        if interrupted.is_set():
            console.show_cursor()
            os._exit(ending.INTERRUPTED)  # what is half written has another name, and locks are gone with the process
        console.print("stopping at the end of the epoch; Ctrl-C again to stop at once")
        interrupted.set()
        stop.set()

    signal.signal(signal.SIGINT, interrupt)
    events = sweep.train(config, data, folder, devices, shard=shard, stop=stop)
    code, made = 0, True
    try:
        with contextlib.closing(events):  # and with it the workdir's lock
            followed = tracking.follow(events, track, config, data, folder) if track else events
            records = progress.show(followed, console, config.epochs, len(groups))
        made = bool(records)
        if failed := [record["run"] for record in records if record["status"] == "failed"]:
            console.print(f"{len(failed)} of {len(records)} runs failed: {', '.join(failed)}; see their record.json")
            code = 1
    except Stopped as stopped:
        console.print(f"stopped in {stopped}; what was done is saved: give the same command again to go on")
        code = ending.INTERRUPTED if interrupted.is_set() else os.EX_TEMPFAIL
    first = jax.process_index() == 0
    try:
        workdir.collect(folder, config)
        if cluster:
            distributed.wait()  # now all have collected
            jax.distributed.shutdown()
        if first:
            with lock.brief(folder):
                environment.write(folder, "launch.cv", arguments, devices, made=made)
                paper_tables.write(folder)
            console.print(Markdown((folder / "tables.md").read_text(encoding="utf-8")))
    except OSError as error:
        if code in (0, 1):
            raise
        console.print(f"warning: the tables were not written ({error})")  # the code of a stopped sweep has it requeued
    if first and code in (0, 1):
        _report(folder, console)
    return code


def _leave(*_: Any) -> None:
    raise SystemExit(os.EX_TEMPFAIL)  # and on its way out delete what is half written


def _report(folder: Path, console: Console) -> None:
    """Writes the report. Whatever goes wrong is one line: the sweep is done, and launch.report can try again."""
    try:
        from sharp_unet_jax.report import write  # with all it needs: here, so that nothing in there can fail a sweep

        console.print(f"report: {write.write([folder]) / 'report.html'}")
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        console.print(f"warning: the report was not written ({reason}); try python -m launch.report {folder}")


def _verify(
    config: Config, data: Dataset, folder: Path, name: str, devices: Sequence[jax.Device], console: Console
) -> int:
    """Trains a finished run again, elsewhere; 0 if its reported weights have the same bits, else 1."""
    workdir.check(folder, config, data, plan.split(config, data), {})
    runs = {run.name: run for run in plan.every(config)}
    record = workdir.read_record(folder, runs[name]) if name in runs else None
    if not record or record["status"] != "finished":
        raise InputError(f"--verify={name}: {folder} has no finished run of that name")
    trained.load(run_folder(folder, runs[name]))  # its checkpoint has the weights of its record
    with tempfile.TemporaryDirectory() as elsewhere:
        events = sweep.train(dataclasses.replace(config, max_runs=None), data, Path(elsewhere), devices, only=name)
        (again,) = progress.show(events, console, config.epochs, 1)
    same = again.get("weights_sha256") == record["weights_sha256"]
    console.print(f"{name}: trained again, the weights {'have the same bits' if same else 'DIFFER'}")
    return 0 if same else 1


def _of_xla(error: Exception) -> bool:
    """Whether a computation failed: where JAX reads an array of one, it raises ValueError, with a status of XLA."""
    return isinstance(error, jax.errors.JaxRuntimeError) or bool(re.match("[A-Z]+(_[A-Z]+)*: ", str(error)))


def main() -> None:
    """Runs the command; what the user can mend ends in one line and exit code 1."""
    ending.not_at_a_character()
    # Wide enough for one line an epoch where there is no terminal to ask.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    try:
        message, code = "", run(sys.argv[1:], console)
        if jax.process_count() == 1:
            sys.exit(code)
    except (InputError, DataError, OSError) as error:
        message, code = f"error: {' '.join(str(error).split())}", 1
    except KeyboardInterrupt:
        message, code = "interrupted: give the same command again to go on", ending.INTERRUPTED
    except SystemExit as end:
        if end.code != os.EX_TEMPFAIL or jax.process_count() == 1:
            raise
        message, code = "", os.EX_TEMPFAIL
    except Exception as error:
        code = 1
        if _of_xla(error) and "RESOURCE_EXHAUSTED" in str(error):
            message = "error: the device is out of memory: lower --config.batch_size or --config.data.size"
        elif jax.process_count() == 1:
            raise
        elif _of_xla(error):
            reason = " ".join(str(error).split())[:200]
            message = f"error: another process of the sweep failed or was killed ({reason}): start all of them again"
        else:
            message = traceback.format_exc()  # an ordinary end would wait for the others, and they for this one
    if message:
        print(message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: other threads may be in an epoch, and other processes may never come to an end. Where there are several,
    # Python's ordinary end stops threads of JAX in the middle of C++, which now and then aborts the process.
    os._exit(code)


if __name__ == "__main__":
    main()
