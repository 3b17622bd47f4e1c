"""Two programs that take turns in one process, and the medians of their times."""

import os
import statistics
from collections.abc import Callable, Mapping

import jax


def compare(sides: Mapping[str, Callable[[], float]], rounds: int) -> float:
    """Time two sides by turns, print the median of each, and return the second over the first.

    Args:
        sides: functions by name that take a step and return its seconds. The first two calls, which compile, do not
            count.
        rounds: calls of each that count.
    """
    for timed in sides.values():
        timed(), timed()
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in list(sides)[:: -1 if number % 2 else 1]:
            seconds[side].append(sides[side]())
    for side, each in seconds.items():
        median = statistics.median(each)
        print(f"{side}: {1000 * median:.0f} ms per step ({1000 * min(each):.0f} to {1000 * max(each):.0f})")
    first, second = map(statistics.median, seconds.values())
    return second / first


def machine() -> str:
    """Describe the device, before anything is timed on it. Compilation caches are off from here on."""
    jax.config.update("jax_enable_compilation_cache", False)
    device, cores, load = jax.devices()[0].device_kind, len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{device}, {cores} cores, jax {jax.__version__}, load average {load:.1f}"
