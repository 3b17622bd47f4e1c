# PYTHON_ARGCOMPLETE_OK: argcomplete looks for this text before it runs the file
"""Cross-validation by one command: python -m launch.cv --config=cvc.py [--workdir=DIR] [--config.field=value ...]

Trains every run of the config's sweep that has no finished record in --workdir, on all devices of the machine, and then
writes the tables and the report. After a sweep was cut off, give the same command again: finished runs are kept, and
the others go on from their last saved states. With a larger --config.epochs the runs that the smaller one capped go on,
too. Ctrl-C stops at the end of the epoch; a second Ctrl-C stops at once. Exit code 0: no run failed; 1: a run failed,
or the input is wrong; 75 after SIGTERM and 130 after Ctrl-C: give the same command again.
"""

import contextlib
import dataclasses
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from launch.console import cv_arguments, ending, signals

if __name__ == "__main__":  # here, because the other imports take seconds
    signals.end_at_once()
    with ending.in_one_line():
        cv_arguments.parse(sys.argv[1:], __doc__)  # for --help, and for what is wrong with the arguments

import jax
from rich.console import Console
from rich.markdown import Markdown

from launch.console import (
    capped,
    cv_process,
    dataset,
    environment,
    progress,
    runtime,
    seen_before,
    tracking,
    verify,
)
from launch.console.cv_arguments import Command
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import paper_tables
from sharp_unet_jax.storage import layout, lock
from sharp_unet_jax.sweeps import check, device_groups, plan, sweep, workdir
from sharp_unet_jax.sweeps.events import Event, Stopped
from sharp_unet_jax.training import distributed


def run(arguments: Sequence[str], console: Console) -> int:
    """Run the command and return its exit code. Raises InputError, DataError or OSError for what the user can fix."""
    with cv_process.signals_restored():
        return _run(arguments, console)


def _run(arguments: Sequence[str], console: Console) -> int:
    command = cv_arguments.parse(arguments, __doc__)
    tracking.check(command.track)
    config, folder = command.config, command.workdir
    devices = runtime.configure(command.cluster)
    cv_process.leave_on_signals()
    check.config(config, len(devices))
    check.files(config)
    whole = dataclasses.replace(config, data=dataset.completed(config.data))
    if command.verify:
        verify.check(whole, folder, command.verify)
    else:
        shard = (jax.process_index(), jax.process_count()) if command.cluster else command.shard
        check.folder(whole, folder, shard)
    facts = environment.facts(devices)  # of the code that trains, which may change on the disk meanwhile
    data = dataset.load(config.data, console)
    if seen := seen_before.warning(config.weights, data):
        console.print(seen)
    if config.data.builder == "folder" and not config.grouped and len(set(data.groups)) < len(data.ids):
        console.print(
            f"warning: {len(data.ids)} images are of {len(set(data.groups))} groups (volumes, patients); images of one "
            "group are tested beside those trained on, and score too high: --config.grouped=true keeps groups whole"
        )
    config = whole
    command = command._replace(config=config)
    stop, interrupted = cv_process.stop_on_signals(console)
    try:
        if command.verify:
            devices = devices[: config.devices_per_run]
            return verify.verify(config, data, folder, command.verify, devices, console, stop)
        code, trained = _train(command, arguments, facts, data, devices, console, stop)
    except Stopped as stopped:
        code, trained = signals.INTERRUPTED if interrupted.is_set() else signals.STOPPED, True
        if command.verify:
            console.print("stopped; the workdir is as it was")
            return code
        console.print(f"stopped in {stopped}; what was done is saved: give the same command again to go on")
    first = jax.process_index() == 0
    try:
        if command.cluster:
            distributed.wait()  # until all processes have trained
            jax.distributed.shutdown()
        if first:
            workdir.collect(folder, config)
            with lock.brief(folder):
                environment.write(folder, "launch.cv", arguments, facts, trained=trained)
                paper_tables.write(folder)
            console.print(Markdown((folder / layout.TABLES).read_text(encoding="utf-8")))
            if code in (0, 1) and (told := capped.line(folder)):
                console.print(told)
    except (OSError, InputError) as error:
        if code in (0, 1):
            raise
        console.print(f"warning: the tables were not written ({error})")  # keep code 75: the job system restarts on it
    if first and code in (0, 1):
        cv_process.leave_on_signals()  # no epoch is left to wait for
        _report(folder, console)
    return code


def _train(
    command: Command,
    arguments: Sequence[str],
    facts: dict[str, Any],
    data: Dataset,
    devices: Sequence[jax.Device],
    console: Console,
    stop: threading.Event,
) -> tuple[int, bool]:
    """Train the command's runs and show them. Returns the exit code, and whether any run was trained.

    Raises Stopped after `stop` was set.
    """
    config, folder = command.config, command.workdir
    groups, number = len(device_groups.split(devices, config.devices_per_run)), len(plan.runs(config, command.shard))
    kind = devices[0].device_kind
    console.print(f"{number} runs on {groups} x {config.devices_per_run} {kind}, workdir {folder}")
    if idle := len(devices) % config.devices_per_run:
        console.print(f"{idle} of {len(devices)} devices have no work: --config.devices_per_run does not divide them")
    events = sweep.train(config, data, folder, devices, shard=command.shard, stop=stop)
    with contextlib.closing(events):  # which releases the workdir's lock
        noted = _noted(events, folder, arguments, facts)
        followed = tracking.follow(noted, command.track, config, data, folder) if command.track else noted
        records = progress.show(followed, console, config.epochs, groups, networks=len(config.models))
    failed = [record["run"] for record in records if record["status"] == "failed"]
    if failed:
        console.print(f"{len(failed)} of {len(records)} runs failed: {', '.join(failed)}; see their record.json")
    return 1 if failed else 0, bool(records)


def _noted(events: Iterator[Event], folder: Path, arguments: Sequence[str], facts: dict[str, Any]) -> Iterator[Event]:
    """Yield the events, and write environment.json before the first: a command that is killed stands in it, too."""
    for number, event in enumerate(events):
        if number == 0 and jax.process_index() == 0:
            with lock.brief(folder):
                environment.write(folder, "launch.cv", arguments, facts)
        yield event


def _report(folder: Path, console: Console) -> None:
    """Write the report. If that fails, a warning is enough: the sweep is done, and launch.report can try again."""
    try:
        from sharp_unet_jax.report import write  # imports all it needs; here, so that a failing import fails no sweep

        console.print(f"report: {write.write([folder]) / 'report.html'}")
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        console.print(f"warning: the report was not written ({reason}); then give python -m launch.report {folder}")


def main() -> None:
    """Run the command and exit with its code."""
    ending.replace_unprintable()
    ending.shorten_warnings()
    # If there is no terminal, lines are wide enough for one line per epoch.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    cv_process.exit_with(lambda: run(sys.argv[1:], console))


if __name__ == "__main__":
    main()
