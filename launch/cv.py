"""Cross-validation by one command: python -m launch.cv --config=cvc.py [--workdir=DIR] [--config.field=value ...]

Trains every run of the config's sweep that --workdir has no finished record of yet, then writes the tables. Give the
same command again after a sweep was cut off: finished runs are kept, the one it was in goes on from its last saved
state. Exit code 0: no run failed; 1: a run failed, or the input is wrong; 75, after SIGTERM: the state is saved, give
the same command again.
"""

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from rich.console import Console
from rich.markdown import Markdown

from datasets.files import DataError
from launch import config as configs
from launch import dataset, progress, runtime
from sharp_unet_jax import sweep
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import tables


class Command(NamedTuple):
    """What the user asked for."""

    config: Config  # with the command line's overrides
    workdir: Path
    shard: tuple[int, int]
    verify: str  # the name of a run, or ""


def parse(arguments: Sequence[str]) -> Command:
    """The command line; InputError for what is not understood."""
    parser = argparse.ArgumentParser(prog="python -m launch.cv", description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", default="", help="a file of launch/configs by its bare name, or any path")
    parser.add_argument("--workdir", type=Path, help="where records and tables go (default: work/<name of the config>)")
    parser.add_argument(
        "--shard", metavar="I/N", default="0/1", help="make the I-th of N shares of the runs, from 0 on"
    )
    parser.add_argument("--verify", metavar="RUN", default="", help="train that run again and compare its weights")
    known, rest = parser.parse_known_args(arguments)
    if not known.config:
        raise InputError("name a config, such as --config=demo.py")
    config = configs.load(known.config)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--config."):
            raise InputError(f"{argument}: unknown argument; see --help")
        field, equals, value = argument.removeprefix("--config.").partition("=")
        if not equals:
            if not rest:
                raise InputError(f"{argument}: give it a value, {argument}=VALUE")
            value = rest.pop(0)
        config = configs.override(config, field, value)
    workdir = known.workdir or Path("work") / Path(known.config).stem
    return Command(config, workdir, _shard(known.shard), known.verify)


def _shard(text: str) -> tuple[int, int]:
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise InputError(f"--shard={text}: give it as I/N with I from 0 to N - 1: 0/4, 1/4, 2/4 and 3/4 make a whole")
    return int(i), int(n)


def run(arguments: Sequence[str], console: Console) -> int:
    """The whole command; returns its exit code. Raises InputError, DataError or OSError for what the user can mend."""
    config, workdir, shard, verify = parse(arguments)
    devices = runtime.configure()
    sweep.check(config, len(devices))
    data = dataset.load(config.data, console)
    if verify:
        return _verify(config, data, workdir, verify, devices[: config.devices_per_run], console)
    console.print(f"{len(sweep.plan(config, shard))} runs on {devices[0].device_kind}, workdir {workdir}")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    events = sweep.go(config, data, workdir, devices[: config.devices_per_run], shard=shard, stop=stop)
    try:
        with contextlib.closing(events):  # and with it the workdir's lock
            records = progress.show(events, console, config.epochs)
    except (KeyboardInterrupt, sweep.Stopped):
        if (workdir / "config.json").exists():
            _collect(workdir, config, console)
        raise
    _collect(workdir, config, console)
    failed = [record["run"] for record in records if record["status"] == "failed"]
    if failed:
        console.print(f"{len(failed)} of {len(records)} runs failed: {', '.join(failed)}; see their record.json")
    return 1 if failed else 0


def _verify(
    config: Config, data: Dataset, workdir: Path, name: str, devices: Sequence[jax.Device], console: Console
) -> int:
    """Trains a finished run again, elsewhere; 0 if its reported weights have the same bits, else 1."""
    runs = {run.name: run for run in sweep.plan(dataclasses.replace(config, max_runs=None))}
    record = sweep.read_record(workdir, runs[name]) if name in runs else None
    if not record or record["status"] != "finished":
        raise InputError(f"--verify={name}: {workdir} has no finished run of that name")
    with tempfile.TemporaryDirectory() as folder:
        events = sweep.go(dataclasses.replace(config, max_runs=None), data, Path(folder), devices, only=name)
        (again,) = progress.show(events, console, config.epochs)
    same = again.get("weights_sha256") == record["weights_sha256"]
    console.print(f"{name}: trained again, the weights {'have the same bits' if same else 'DIFFER'}")
    return 0 if same else 1


def _collect(workdir: Path, config: Config, console: Console) -> None:
    sweep.collect(workdir, config)
    tables.write(workdir)
    console.print(Markdown((workdir / "tables.md").read_text()))


def main() -> None:
    """Runs the command; what the user can mend ends in one line and exit code 1."""
    # Wide enough for one line an epoch where there is no terminal to ask.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    try:
        sys.exit(run(sys.argv[1:], console))
    except (InputError, DataError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        sys.exit("error: the device is out of memory: lower --config.batch_size or --config.data.size")
    except sweep.Stopped as stopped:
        print(f"stopped in {stopped}, its state is saved: give the same command again to go on", file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL)
    except KeyboardInterrupt:
        print("interrupted: give the same command again to go on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
