"""A sweep's events as they happen: a live display on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from launch.console import live
from launch.console.live import Training, clock
from sharp_unet_jax.sweeps.events import Ended, EpochEnded, Event, Started, Warned

PLAIN_SECONDS = 10  # at least, between two plain lines of a run


def track(console: Console, what: str) -> Any:
    """Return a `track(items, total)` that yields the items and shows how many there were, as `what`."""

    def follow(items: Iterable[Any], total: int) -> Iterator[Any]:
        with _bars(console) as bars:
            task = bars.add_task(what, total=total)
            shown = time.monotonic()
            for number, item in enumerate(items, 1):
                yield item
                bars.advance(task)
                if not console.is_terminal and time.monotonic() - shown > PLAIN_SECONDS:
                    shown = time.monotonic()
                    console.print(f"{what}: {number} of {total}")

    return follow


def show(
    events: Iterable[Event], console: Console, epochs: int, groups: int, networks: int = 1
) -> list[dict[str, Any]]:
    """Consume a sweep's events, show the runs that are training, and return the records of those that ended.

    Args:
        events: of `sweep.train`.
        console: a terminal gets a live display, anything else plain lines.
        epochs: the most that a run may take. Runs may stop early, so the time left is an upper bound.
        groups: device groups, each of which trains a run at a time.
        networks: of the sweep; each is compiled once.
    """
    records: list[dict[str, Any]] = []
    on: dict[str, Training] = {}
    began, total, shown = time.monotonic(), 0, dict[str, float]()
    compiled, slowest = set[str](), 0.0  # networks that have begun; the most seconds that one took to compile

    def compiling() -> float:
        return max(networks - len(compiled), 0) * slowest

    def view() -> Group:
        return live.view(list(on.values()), len(records), total, epochs, groups, compiling(), began, console.width)

    live.watch_compiling()
    with Live(get_renderable=view, console=console, transient=True) if console.is_terminal else nullcontext():
        for event in events:
            match event:
                case Started(run):  # again, if it failed and is trained once more
                    total, now = event.total, time.monotonic()
                    compiled.add(run.model)
                    on[run.name], shown[run.name] = Training(event, now), now
                    if not console.is_terminal:
                        console.print(f"run {event.number} of {event.total}: {run.name}")
                case EpochEnded(run):
                    slowest = max(slowest, live.seconds_of_compiling(on[run.name].last, event))
                    on[run.name] = on[run.name]._replace(last=event, at=time.monotonic())
                    if not console.is_terminal and time.monotonic() - shown[run.name] > PLAIN_SECONDS:
                        shown[run.name] = time.monotonic()
                        console.print(_line(on[run.name], on.values(), epochs, groups, compiling()))
                case Warned(text):
                    console.print(text)
                case Ended(run, record):
                    records.append(record)
                    console.print(_outcome(run.name, record, time.monotonic() - on.pop(run.name).began))
    return records


def _line(one: Training, on: Iterable[Training], epochs: int, groups: int, compiling: float) -> str:
    """Return a run's last epoch as a plain line."""
    assert one.last is not None
    started, epoch, row = one.started, one.last.epoch, one.last.epoch.row
    left = live.left(list(on), epochs, groups, compiling)
    which = f"{started.run.name}, " if groups > 1 else ""
    return (
        f"run {started.number} of {started.total}, {which}epoch {row['epoch']:.0f} of at most {epochs}: "
        f"{started.train_images / epoch.train_seconds:.1f} {started.unit}/s{' with compiling' * one.last.compiled}  "
        f"{left}{'  ' * bool(left)}Jaccard {row['validation_jaccard']:.4f}  "
        f"loss {row['train_loss']:.4f}  validation {row['validation_loss']:.4f}"
    )


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
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)
