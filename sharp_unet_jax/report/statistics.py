"""What can be said of a difference between models that shared their folds: tests, intervals, Holm's correction."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sharp_unet_jax.report.records import Sweep


class Corrected(NamedTuple):
    """What `corrected_t` returns, in the units of its scores; nan where there is too little to say it."""

    mean: float
    low: float  # 95 % interval of the mean
    high: float
    t: float
    p: float  # two-sided, of a mean of zero


def corrected_t(scores: ArrayLike, ratio: float) -> Corrected:
    """Corrected resampled t-test."""
    raise NotImplementedError


def cluster_bootstrap(values: ArrayLike, groups: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of `values` (n,) whose `groups` (n,) are drawn with replacement."""
    raise NotImplementedError


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """P-values (n,) adjusted by Holm's step-down procedure, in their order; nan stays and is not counted."""
    raise NotImplementedError


def image_scores(sweep: Sweep) -> pd.DataFrame:
    """A row a run and test image: run, model, repeat, fold, image_id, group, jaccard, dice (as records score them)."""
    raise NotImplementedError


def test_share(sweep: Sweep) -> float:
    """Test images over the other images, mean over runs: what `corrected_t` wants as ratio."""
    raise NotImplementedError


def twins(sweep: Sweep) -> list[tuple[str, str]]:
    """(sharp, plain) pairs of models that have finished runs."""
    raise NotImplementedError


def comparisons(sweeps: Sequence[Sweep], twins_only: bool = False) -> pd.DataFrame:
    """A row a sweep and pair of models, in points of Jaccard."""
    raise NotImplementedError
