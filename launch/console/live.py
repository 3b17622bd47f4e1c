"""The live display of a sweep on a terminal: for each run that trains a few lines, and one for the sweep."""

import functools
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.monitoring
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sharp_unet_jax import metrics
from sharp_unet_jax.sweeps.events import EpochEnded, Started
from sharp_unet_jax.training.train import Epoch

WIDE = 120  # columns from which on all metrics are shown
LONG = 1.0  # seconds of compiling that count: small programs compile all the time
# Seconds that a program took to compile; and those that were saved, as it was kept by an earlier command.
COMPILED = ("/jax/core/compile/backend_compile_duration", "/jax/compilation_cache/compile_time_saved_sec")
_compiled = [0.0]  # time.monotonic() of the last program that took LONG to compile


class Training(NamedTuple):
    """A run that trains, as the display knows it."""

    started: Started
    began: float  # time.monotonic()
    last: EpochEnded | None = None  # its last epoch
    at: float = 0.0  # time.monotonic() of the end of that epoch


@functools.cache
def watch_compiling() -> None:
    """Note from now on when a program has been compiled, or read instead: JAX says so to listeners."""

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event in COMPILED and duration_secs >= LONG:
            _compiled[0] = time.monotonic()

    jax.monitoring.register_event_duration_secs_listener(listen)


def view(
    on: Iterable[Training],
    done: int,
    total: int,
    epochs: int,
    groups: int,
    compiling: float,
    began: float,
    width: int,
) -> Group:
    """Return what the terminal shows now.

    Args:
        on: the runs that train.
        done: number of runs that have ended.
        total: number of runs; 0 before one has begun.
        epochs: the most that a run may take. Runs may stop early, so times left are upper bounds.
        groups: device groups, each of which trains a run at a time.
        compiling: seconds that networks may take which have not been compiled.
        began: time.monotonic() of the sweep's start.
        width: columns of the terminal.
    """
    training = list(on)
    lines: list[RenderableType] = [line for one in training for line in _run(one, epochs, width)]
    rest = left(training, epochs, groups, compiling)
    runs = f"{done} of {total} runs done" if total else "about to begin"
    lines.append(Text(f"sweep: {runs}, {clock(time.monotonic() - began)} so far{', ' * bool(rest)}{rest}"))
    return Group(*lines)


def left(training: Sequence[Training], epochs: int, groups: int, compiling: float) -> str:
    """Return "at most 1:02:03 left", by the slowest run and the one with most epochs to go; "" before an epoch's time.

    Arguments are those of `view`.
    """
    timed = [each for one in training if (each := seconds(one)) is not None]
    if not timed:
        return ""
    waiting = training[0].started.total - max(one.started.number for one in training)
    rounds = epochs * -(-waiting // groups)
    longest = max(epochs - epoch(one) for one in training)
    return f"at most {clock(max(timed) * (longest + rounds) + compiling)} left"


def epoch(one: Training) -> int:
    """Return the number of epochs that a run has trained."""
    return int(one.last.epoch.row["epoch"]) if one.last else one.started.epochs


def seconds(one: Training) -> float | None:
    """Return the seconds of a run's last epoch; None before an epoch without compiling has ended."""
    if one.last is None or one.last.compiled:
        return None
    return seconds_of(one.last.epoch)


def seconds_of(epoch: Epoch) -> float:
    """Return the seconds that an epoch took."""
    return epoch.train_seconds + epoch.eval_seconds


def seconds_of_compiling(first: EpochEnded | None, second: EpochEnded) -> float:
    """Return the seconds that a network took to compile, known after its second epoch; else 0."""
    if first is None or not first.compiled or second.compiled:
        return 0.0
    return max(seconds_of(first.epoch) - seconds_of(second.epoch), 0.0)


def _run(one: Training, epochs: int, width: int) -> list[RenderableType]:
    """Return the lines of a run: which it is, its epoch with a bar, and the scores of its last epoch."""
    started, now = one.started, time.monotonic()
    head = f"run {started.number} of {started.total}: {started.run.name}"
    since = now - (one.at or one.began)
    spent = seconds(one)
    at = f"epoch {min(epoch(one) + 1, epochs)} of at most {epochs} "
    if epoch(one) >= epochs:
        after = Text(" ended; scoring test images", overflow="ellipsis", no_wrap=True)
        bar = ProgressBar(total=1, completed=1, width=20)
    elif spent is None:
        compiling = one.last is None and _compiled[0] <= one.began
        first = " first epoch without compiling" if one.last else " resumed" if started.epochs else " first epoch"
        after = Text(" compiling" if compiling else first, overflow="ellipsis", no_wrap=True)
        bar = ProgressBar(total=None, width=20, pulse=True)
    else:
        speed = started.train_images / one.last.epoch.train_seconds if one.last else 0.0
        left = clock(spent * (epochs - epoch(one)))
        after = Text(f" {speed:.1f} {started.unit}/s, at most {left} left", overflow="ellipsis", no_wrap=True)
        bar = ProgressBar(total=spent, completed=min(since, spent), width=20)  # by the time that the last one took
    row = Table.grid()
    for least in (len(at), 20):
        row.add_column(min_width=least, no_wrap=True)
    row.add_row(Text(at), bar, after)
    scores = _scores(one.last, width) if one.last else []
    below = [Text(line, overflow="ellipsis", no_wrap=True) for line in scores]
    return [Text(head, style="bold", overflow="ellipsis", no_wrap=True), row, *below]


def _scores(last: EpochEnded, width: int) -> list[str]:
    """Return the scores of an epoch on validation images, a line each; on a narrow terminal one overlap."""
    row = last.epoch.row
    losses = f"loss {row['validation_loss']:.4f} (training {row['train_loss']:.4f})"
    if width < WIDE:
        return [f"validation: jaccard {row['validation_jaccard']:.4f}, {losses}"]
    overlaps = [f"{name} {row[f'validation_{name}']:.4f}" for name in metrics.OVERLAPS]
    return [f"validation: {', '.join(overlaps)}", f"{losses}, learning rate {row['learning_rate']:.2g}"]


def clock(seconds: float) -> str:
    """Return seconds as one reads them: "0:41", "12:05", "3:10:00"."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
