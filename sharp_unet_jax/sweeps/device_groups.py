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

PAUSE = 0.2  # seconds; not every system handles signals in a wait without end


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

    The calling thread only waits, so that Python handles signals at once. A work alone goes on when its event is dealt
    with; one of several is an event ahead. An error in one of them sets `stop` and is raised when the other threads
    have ended; so does closing this generator. A KeyboardInterrupt during that wait ends it. Raises Stopped if the
    works stopped without an error.
    """
    events: queue.SimpleQueue[tuple[Event, threading.Semaphore] | None] = queue.SimpleQueue()
    errors: list[Exception] = []

    def follow(work: Iterator[Event]) -> None:
        ahead = threading.Semaphore(0 if len(works) == 1 else 1)
        try:
            for event in work:
                events.put((event, ahead))
                while not (stop.is_set() or ahead.acquire(timeout=PAUSE)):
                    pass
        except Exception as error:
            errors.append(error)
            stop.set()
        finally:
            events.put(None)

    threads = [threading.Thread(target=follow, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield from _taken(events, len(works))
    finally:
        stop.set()
        for thread in threads:
            while thread.is_alive():
                thread.join(PAUSE)
    for error in errors:
        if not isinstance(error, Stopped):
            raise error
    if errors:
        raise Stopped(", ".join(sorted(map(str, errors))))


def _taken(events: queue.SimpleQueue[tuple[Event, threading.Semaphore] | None], works: int) -> Iterator[Event]:
    """Yield the events of so many works until None has come from each; let the event's work go on after it."""
    while works:
        try:
            taken = events.get(timeout=PAUSE)
        except queue.Empty:
            continue
        if taken is None:
            works -= 1
        else:
            yield taken[0]
            taken[1].release()
