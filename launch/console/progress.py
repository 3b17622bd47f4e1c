"""A sweep's events as they happen: a live display on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sharp_unet_jax.sweeps.events import Ended, EpochEnded, Event, Started, Warned

PLAIN_SECONDS = 10  # at least, between two plain lines of a run


def track(console: Console, what: str) -> Any:
    """Return a `track(items, total)` that yields the items and shows how many there were, as `what`."""

    def follow(items: Iterable[Any], total: int) -> Iterator[Any]:
        with _bars(console) as bars:
            task = bars.add_task(what, total=total, note="")
            shown = time.monotonic()
            for number, item in enumerate(items, 1):
                yield item
                bars.advance(task)
                if not console.is_terminal and time.monotonic() - shown > PLAIN_SECONDS:
                    shown = time.monotonic()
                    console.print(f"{what}: {number} of {total}")

    return follow


def show(events: Iterable[Event], console: Console, epochs: int, groups: int) -> list[dict[str, Any]]:
    """Consume a sweep's events, show the runs that are training, and return the records of those that ended.

    Args:
        events: of `sweep.train`.
        console: a terminal gets bars, anything else plain lines.
        epochs: the most that a run may take. Runs may stop early, so the time left is an upper bound.
        groups: device groups, each of which trains a run at a time.
    """
    records: list[dict[str, Any]] = []
    on: dict[str, _On] = {}
    with _bars(console) as bars:
        runs = bars.add_task("runs", total=None, note="")
        for event in events:
            match event:
                case Started(run):
                    if run.name in on:  # it failed and is trained again
                        bars.remove_task(on.pop(run.name).task)
                    now = time.monotonic()
                    on[run.name] = _On(event, bars.add_task(run.name, total=epochs, note="compiling"), now, now)
                    bars.update(runs, total=event.total, completed=event.number - len(on))
                    if not console.is_terminal:
                        console.print(f"run {event.number} of {event.total}: {run.name}")
                case EpochEnded(run, epoch, compiled):
                    started, task, _, shown = on[run.name]
                    row, spent = epoch.row, epoch.train_seconds + epoch.eval_seconds
                    speed = started.train_images / epoch.train_seconds
                    waiting = started.total - max(each.started.number for each in on.values())
                    left = spent * (epochs - row["epoch"] + epochs * -(-waiting // groups))
                    note = (
                        f"{speed:.1f} {started.unit}/s{' with compiling' * compiled}  at most {clock(left)} left  "
                        f"Jaccard {row['validation_jaccard']:.4f}  "
                        f"loss {row['train_loss']:.4f}  validation {row['validation_loss']:.4f}"
                    )
                    bars.update(task, completed=row["epoch"], note=note)
                    if not console.is_terminal and time.monotonic() - shown > PLAIN_SECONDS:
                        on[run.name] = on[run.name]._replace(shown=time.monotonic())
                        at = f"epoch {row['epoch']:.0f} of at most {epochs}"
                        which = f"{run.name}, " if groups > 1 else ""
                        console.print(f"run {started.number} of {started.total}, {which}{at}: {note}")
                case Warned(text):
                    console.print(text)
                case Ended(run, record):
                    records.append(record)
                    ended = on.pop(run.name)
                    bars.remove_task(ended.task)
                    bars.advance(runs)
                    console.print(_outcome(run.name, record, time.monotonic() - ended.began))
    return records


class _On(NamedTuple):
    """A run that is training."""

    started: Started
    task: TaskID
    began: float  # time.monotonic()
    shown: float  # time.monotonic() of its last plain line


def _outcome(name: str, record: dict[str, Any], seconds: float) -> str:
    if record["status"] == "failed":
        return f"{name}: failed, {record['reason']}"
    return (
        f"{name}: Jaccard {record['jaccard']:.4f}, Dice {record['dice']:.4f} "
        f"(epoch {record['best_epoch']} of {record['epochs']}, {clock(seconds)})"
    )


def _bars(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def clock(seconds: float) -> str:
    """Return seconds as one reads them: "0:41", "12:05", "3:10:00"."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
