"""The progress of a sweep: python -m launch.status WORKDIR [--follow]

Shows the matrix of runs: the Jaccard index (%) of each finished run, the epoch and the validation Jaccard of each run
that has begun, which runs failed, and the time left, judged by the runs that ended. It only reads files, so it may run
on any machine that sees the workdir, while the sweep trains. --follow shows it anew every few seconds until all runs
have ended. Exit code 0: no run failed so far; 1: a run failed, or WORKDIR holds no sweep; 130: Ctrl-C.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from launch.console import arguments as command_line
from launch.console import ending, paths
from launch.console.live import clock
from sharp_unet_jax.report import records
from sharp_unet_jax.storage.layout import METRICS, RECORD, Run, run_folder

SECONDS = 5  # between two looks
WIDTH = 16  # of a column of the matrix: "epoch 100: 82.4", "82.41 ± 3.01"
SILENT = 600  # seconds since the last epoch after which a run seems cut off, unless epochs are longer, see `_silence`


class State(NamedTuple):
    """A run as its files show it."""

    run: Run
    record: dict[str, Any] | None  # of a run that ended
    epochs: int  # trained so far
    jaccard: float | None  # of the last epoch, on validation images
    quiet: float | None  # seconds since the last epoch; None of a run that does not train


class Progress(NamedTuple):
    """All runs of a sweep, as their files show them."""

    dataset: str
    models: list[str]
    states: list[State]

    def those(self, status: str) -> list[State]:
        """Return the runs that are "finished", "failed", "begun" or "waiting"."""
        return [one for one in self.states if _status(one) == status]


def look(workdir: Path) -> Progress:
    """Read the states of all runs of the sweep in `workdir`. Raises InputError."""
    sweep = records.load(workdir)
    return Progress(sweep.dataset, sweep.config["models"], [_state(sweep, run) for run in sweep.planned.values()])


def _state(sweep: records.Sweep, run: Run) -> State:
    record = sweep.records.get(run.name)
    if record or sweep.packed:
        return State(run, record, 0, None, None)
    folder = run_folder(sweep.workdir, run)
    path, waits = folder / METRICS, (folder / RECORD).exists()  # capped, and it has not gone on yet
    try:
        content, changed = path.read_bytes(), path.stat().st_mtime
    except OSError:  # it has not begun
        return State(run, None, 0, None, None)
    lines = content[: content.rfind(b"\n") + 1].splitlines()  # the last one may be half written
    quiet = None if waits or not lines else time.time() - changed
    return State(run, None, len(lines), _jaccard(lines[-1]) if lines else None, quiet)


def _jaccard(line: bytes) -> float | None:
    """Return the validation score in a line of metrics.jsonl, None without one: whoever resumes the run checks it."""
    try:
        return msgspec.json.decode(line, type=dict[str, float | None]).get("validation_jaccard")
    except (msgspec.MsgspecError, ValueError):
        return None


def _status(state: State) -> str:
    if state.record:
        return str(state.record["status"])
    return "waiting" if state.quiet is None else "begun"


def seconds_left(progress: Progress) -> float | None:
    """Return the seconds that the runs without a record will take, as long as those that ended; None where none has.

    As many runs train side by side as are being trained now, without those that seem cut off.
    """
    ended = [(one.run.model, one.record) for one in progress.those("finished") if one.record]
    if not ended:
        return None
    spent = {model: [_seconds(record) for name, record in ended if name == model] for model, _ in ended}
    usual = {model: statistics.fmean(values) for model, values in spent.items()}
    other = statistics.fmean(usual.values())
    epochs = statistics.fmean(record["epochs"] for _, record in ended)
    begun, silence = progress.those("begun"), _silence(progress)
    total = sum(
        usual.get(one.run.model, other) * max(1 - one.epochs / epochs, 0)
        for one in [*progress.those("waiting"), *begun]
    )
    return total / max(sum(one.quiet is not None and one.quiet <= silence for one in begun), 1)


def _silence(progress: Progress) -> float:
    """Return the seconds without an epoch after which a run seems cut off: SILENT, or two epochs of the slowest run."""
    ended = [one.record for one in progress.those("finished") if one.record]
    return max([SILENT, *(2 * _seconds(record) / record["epochs"] for record in ended)])


def _seconds(record: dict[str, Any]) -> float:
    timing = record["timing"]
    return timing["train_seconds"] + timing["eval_seconds"] + timing.get("predict_seconds", 0)


def page(workdir: Path, progress: Progress, width: int) -> Group:
    """Return what is shown: a line, the matrix of runs in as many parts as `width` asks for, and the failures."""
    finished, failed, begun = (progress.those(status) for status in ("finished", "failed", "begun"))
    parts = [f"{len(finished)} of {len(progress.states)} runs finished"]
    parts += [f"{len(failed)} failed"] * bool(failed) + [f"{len(begun)} begun"] * bool(begun)
    left = seconds_left(progress)
    if len(finished) + len(failed) < len(progress.states):
        parts.append("time left not known before a run has ended" if left is None else f"about {clock(left)} left")
    lines: list[Any] = [Text(f"{workdir}: {progress.dataset}, {', '.join(parts)}")]
    columns = max((width - 16) // (max(WIDTH, *map(len, progress.models)) + 2), 1)
    for first in range(0, len(progress.models), columns):
        lines += [Text(), _matrix(progress, progress.models[first : first + columns])]
    for one in failed:
        lines.append(Text(f"failed: {one.run.name}: {one.record['reason']}") if one.record else Text())
    for one in begun:
        if one.quiet is not None and one.quiet > _silence(progress):
            lines.append(Text(f"{one.run.name}: no epoch has ended for {clock(one.quiet)}; was its command cut off?"))
    return Group(*lines)


def _matrix(progress: Progress, models: Sequence[str]) -> Table:
    """Return the table of runs: a row per fold, a column per model, and their means."""
    table = Table(box=None, pad_edge=False, show_footer=True)
    cells = {(one.run.repeat, one.run.fold, one.run.model): _cell(one) for one in progress.states}
    table.add_column("Jaccard (%)", "mean ± std")
    for model in models:
        scores = [
            100 * one.record["jaccard"]
            for one in progress.those("finished")
            if one.record and one.run.model == model and one.record["jaccard"] is not None
        ]
        spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
        mean = f"{statistics.fmean(scores):.2f}{spread}" if scores else ""
        table.add_column(model, mean, justify="right", min_width=WIDTH)
    for repeat, fold in dict.fromkeys((one.run.repeat, one.run.fold) for one in progress.states):
        table.add_row(f"repeat {repeat} fold {fold}", *(cells[repeat, fold, model] for model in models))
    return table


def _cell(state: State) -> str:
    """Return what is known of a run in few signs."""
    if state.record:
        score = state.record.get("jaccard")
        return "failed" if state.record["status"] == "failed" else "none" if score is None else f"{100 * score:.2f}"
    if not state.epochs:
        return "·"
    return f"epoch {state.epochs}" + ("" if state.jaccard is None else f": {100 * state.jaccard:.1f}")


def run(arguments: Sequence[str], console: Console) -> int:
    """Run the command and return its exit code. Raises InputError for what the user can fix."""
    parser = command_line.parser("launch.status", __doc__)
    parser.add_argument("workdir", metavar="WORKDIR", type=paths.path, help="the folder of a sweep")
    parser.add_argument(
        "--follow",
        action="store_true",
        help="refresh until all runs have ended; to a file or a pipe, print once at the end",
    )
    known = command_line.parse(parser, arguments)
    progress = look(known.workdir)
    live = Live(page(known.workdir, progress, console.width), console=console, auto_refresh=False)
    shown = known.follow and console.is_terminal
    with live if shown else nullcontext():
        while known.follow and (progress.those("begun") or progress.those("waiting")):
            time.sleep(SECONDS)
            progress = look(known.workdir)
            live.update(page(known.workdir, progress, console.width), refresh=shown)
    if not shown:
        console.print(live.renderable)
    return 1 if progress.those("failed") else 0


if __name__ == "__main__":
    with ending.in_one_line():
        sys.exit(run(sys.argv[1:], Console(highlight=False, markup=False)))
