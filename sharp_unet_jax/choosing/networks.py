"""The search for the networks whose mean predicts."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax import metrics
from sharp_unet_jax.choosing import gains

ALL = 4  # networks of which every mean is tried; 15 of them

Networks = tuple[str, ...]
Scores = Callable[[Networks], NDArray[np.float64]]
"""Jaccard index of each image by the mean of networks, (images,), nan where nothing is scored."""


def best(names: Sequence[str], scores: Scores) -> str:
    """Return the network with the highest mean over images, the first of equal ones."""
    return max(names, key=lambda name: _mean(scores((name,))))


def search(names: Sequence[str], scores: Scores, groups: Sequence[str]) -> Networks:
    """Return the networks, in the order of `names`, whose mean images prefer to the best network.

    Of up to four networks every mean is tried, of more those of a forward selection: the network that raises the score
    most joins, until none does (Caruana et al. 2004, doi:10.1145/1015330.1015432, without repetition). The mean is kept
    if the 95 % interval of its paired gain over the best network lies above zero; otherwise only the best one stays.
    """
    alone = (best(names, scores),)
    found = _of_all(names, scores) if len(names) <= ALL else _forward(names, alone, scores)
    return found if gains.holds(scores(found), scores(alone), groups) else alone


def _of_all(names: Sequence[str], scores: Scores) -> Networks:
    """Return the best mean of any networks, with the fewest of equal ones."""
    every = [subset for number in range(1, len(names) + 1) for subset in combinations(names, number)]
    return max(every, key=lambda subset: _mean(scores(subset)))


def _forward(names: Sequence[str], start: Networks, scores: Scores) -> Networks:
    """Return the mean that a forward selection ends with."""
    found = start
    while left := [name for name in names if name not in found]:
        wider = [tuple(each for each in names if each in (*found, name)) for name in left]
        following = max(wider, key=lambda subset: _mean(scores(subset)))
        if _mean(scores(following)) <= _mean(scores(found)):
            break
        found = following
    return found


def _mean(scores: NDArray[np.float64]) -> float:
    """Return the mean over images, -1 where nothing is scored."""
    return float(np.nan_to_num(metrics.mean(scores), nan=-1))
