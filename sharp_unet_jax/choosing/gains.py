"""Gains of a choice, with intervals, as choice.json holds them."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax import metrics
from sharp_unet_jax.report import statistics
from sharp_unet_jax.storage.contents import Gain

Scores = NDArray[np.float64]


def interval(after: Scores, before: Scores, groups: Sequence[str]) -> tuple[float, float]:
    """Return the 95 % interval of the mean gain of images, by `statistics.cluster_interval`; (nan, nan) without one.

    Groups were drawn as a whole. Fewer than three groups would say nothing, so each image counts as a group then.

    Args:
        after: Jaccard index of each image with a choice, (n,), nan where nothing is scored.
        before: the same without.
        groups: of each image.
    """
    delta = after - before
    known = np.flatnonzero(~np.isnan(delta)).tolist()
    own = [groups[place] for place in known]
    drawn = own if len(set(own)) >= statistics.FEWEST else list(map(str, known))
    return statistics.cluster_interval(delta[known], drawn) if len(known) else (math.nan, math.nan)


def holds(after: Scores, before: Scores, groups: Sequence[str]) -> bool:
    """Say whether the whole `interval` lies above zero."""
    return interval(after, before, groups)[0] > 0


def over_images(after: Scores, before: Scores, groups: Sequence[str], runs: int) -> Gain:
    """Return the gain of the images that a choice was taken on; arguments as of `interval`, and the number of runs."""
    delta = after - before
    known = ~np.isnan(delta)
    number = len(set(np.asarray(groups)[known]))
    low, high = interval(after, before, groups)
    return _gain(metrics.mean(after), metrics.mean(delta), low, high, int(known.sum()), number, runs)


def over_runs(
    after: Sequence[Scores], before: Sequence[Scores], tests: Sequence[Sequence[str]], groups: int, ratio: float
) -> Gain:
    """Return the gain of choices that each run took on its own, on its test images.

    The interval is that of the differences of the runs' scores, `statistics.corrected_t`: runs share training images.
    Runs that test the same images count as one, see `statistics.by_test_set`.

    Args:
        after: Jaccard index of each test image of each run with its choice, nan where nothing is scored.
        before: the same without.
        tests: ids of the test images of each run.
        groups: number of their groups.
        ratio: test images over training images, see `statistics.corrected_t`.
    """
    of_runs, without = (np.array([metrics.mean(run) for run in scores]) for scores in (after, before))
    differences = statistics.by_test_set(of_runs - without, tests)
    test = statistics.corrected_t(differences, ratio)
    images = len(set(itertools.chain.from_iterable(tests)))
    return _gain(metrics.mean(of_runs), test.mean, test.low, test.high, images, groups, len(differences))


def _gain(
    jaccard: float | Scores, gain: float | Scores, low: float, high: float, images: int, groups: int, runs: int
) -> Gain:
    low, high = np.clip((low, high), -1, 1)  # no gain is larger; Student's t of few groups knows no bounds
    known = [float(each) if math.isfinite(each) else None for each in (jaccard, gain, low, high)]
    return {
        "jaccard": known[0],
        "gain": known[1],
        "low": known[2],
        "high": known[3],
        "images": images,
        "groups": groups,
        "runs": runs,
    }
