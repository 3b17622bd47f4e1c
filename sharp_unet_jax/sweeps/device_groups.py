"""Device groups: the devices that train a run together, the runs that wait for them, and a thread for each group."""

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import jax

from sharp_unet_jax.sweeps.events import Event, Stopped
from sharp_unet_jax.training import distributed

T = TypeVar("T")
Group: TypeAlias = Sequence[jax.Device]
Waiting: TypeAlias = queue.SimpleQueue[T]


def split(devices: Sequence[jax.Device], size: int) -> list[Group]:
    """Return groups of `size` neighbouring devices; devices left over are in no group."""
    return [devices[start : start + size] for start in range(0, len(devices) - size + 1, size)]


def deal(runs: Sequence[T], groups: Sequence[Group]) -> list[tuple[Group, Waiting[T]]]:
    """Return the groups that this process has devices of, each with a queue of the runs that wait for it.

    Run i is for group i modulo the number of groups. Groups with all devices in one process share a queue: whichever
    is free takes the next run.
    """
    queues: dict[Any, Waiting[T]] = {}
    dealt = []
    for number, group in enumerate(groups):
        processes = distributed.processes(group)
        key = processes[0] if len(processes) == 1 else ("of several processes", number)
        dealt.append((processes, group, queues.setdefault(key, queue.SimpleQueue())))
    for number, run in enumerate(runs):
        dealt[number % len(dealt)][2].put(run)
    return [(group, waiting) for processes, group, waiting in dealt if jax.process_index() in processes]


def side_by_side(works: Sequence[Iterator[Event]], stop: threading.Event) -> Iterator[Event]:
    """Yield the events of all `works` as they come, each iterated in a thread of its own.

    An error in one of them sets `stop` and is raised when the other threads have ended. Raises Stopped if they
    stopped without an error.
    """
    if len(works) == 1:
        yield from works[0]
        return
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    errors: list[Exception] = []

    def follow(work: Iterator[Event]) -> None:
        try:
            for event in work:
                events.put(event)
        except Exception as error:
            errors.append(error)
            stop.set()
        finally:
            events.put(None)

    threads = [threading.Thread(target=follow, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        for _ in works:
            yield from iter(events.get, None)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for error in errors:
        if not isinstance(error, Stopped):
            raise error
    if errors:
        raise Stopped(", ".join(sorted(map(str, errors))))
