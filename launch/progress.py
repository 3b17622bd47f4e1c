"""A sweep's events as they happen: a live display on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sharp_unet_jax.sweep import Ended, EpochEnded, Event, Started, Warned

PLAIN_SECONDS = 10  # at least this long between two plain lines of one run


def track(console: Console, what: str) -> Any:
    """A `track` for `resident.prepare`: passes the items on and shows how many came by."""

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


def show(events: Iterable[Event], console: Console, epochs: int) -> list[dict[str, Any]]:
    """Consumes a sweep's events, shows run i of n, epoch, speed and time left, and returns the records of its runs.

    `epochs` is the most a run may take: the time left is an upper estimate, since runs may stop early.
    """
    records: list[dict[str, Any]] = []
    with _bars(console) as bars:
        runs = bars.add_task("runs", total=None, note="")
        current = bars.add_task("epochs", total=epochs, note="", visible=False)
        for event in events:
            match event:
                case Started():
                    started, began, shown, spent = event, time.monotonic(), time.monotonic(), 0.0
                    bars.update(runs, total=event.total, completed=event.number - 1)
                    bars.reset(current, total=epochs, description=event.run.name, note="compiling", visible=True)
                    if not console.is_terminal:
                        console.print(f"run {event.number} of {event.total}: {event.run.name}")
                case EpochEnded(_, epoch):
                    row, spent = epoch.row, epoch.train_seconds + epoch.eval_seconds
                    speed = started.train_images / epoch.train_seconds
                    left = spent * (epochs - row["epoch"] + epochs * (started.total - started.number))
                    note = (
                        f"{speed:.1f} images/s  at most {_clock(left)} left  Jaccard {row['validation_jaccard']:.4f}  "
                        f"loss {row['train_loss']:.4f}  validation {row['validation_loss']:.4f}"
                    )
                    bars.update(current, completed=row["epoch"], note=note)
                    if not console.is_terminal and time.monotonic() - shown > PLAIN_SECONDS:
                        shown = time.monotonic()
                        at = f"epoch {row['epoch']:.0f} of at most {epochs}"
                        console.print(f"run {started.number} of {started.total}, {at}: {note}")
                case Warned(text):
                    console.print(text)
                case Ended(run, record):
                    records.append(record)
                    bars.advance(runs)
                    bars.update(current, visible=False)
                    console.print(_outcome(run.name, record, time.monotonic() - began))
    return records


def _outcome(name: str, record: dict[str, Any], seconds: float) -> str:
    if record["status"] == "failed":
        return f"{name}: failed, {record['reason']}"
    return (
        f"{name}: Jaccard {record['jaccard']:.4f}, Dice {record['dice']:.4f} "
        f"(epoch {record['best_epoch']} of {record['epochs']}, {_clock(seconds)})"
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


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
