"""What can be said of models that shared their folds: intervals, tests of differences, Holm's correction.

The runs of repeated k-fold cross-validation share most of their training images, so their scores are not independent,
and their standard deviation over the root of their number is far too small an error: bench/null_simulation.py measures
what comes of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from sharp_unet_jax import metrics
from sharp_unet_jax.report.records import Sweep

LEVEL = 0.05  # of tests; intervals are of 1 - LEVEL
FEWEST = 3  # runs: the spread of two is no measure of anything, and says neither an interval nor a test


class Mean(NamedTuple):
    """What `corrected_t` returns, in the units of its scores; nan for what too few scores cannot say."""

    mean: float
    low: float  # 95 % interval
    high: float
    t: float
    p: float  # two-sided, of a mean of zero
    n: int


def corrected_t(scores: ArrayLike, ratio: float) -> Mean:
    """The corrected resampled t-test of the mean of `scores`, differences or others, one a run of (repeated) k folds.

    Its variance is (1/n + ratio) s^2 instead of s^2/n, with n - 1 degrees of freedom: Nadeau & Bengio 2003,
    doi:10.1023/A:1024068626366; for repeated k-fold cross-validation Bouckaert & Frank 2004,
    doi:10.1007/978-3-540-24775-3_3. Scores without any spread have p = 0, or 1 where all are zero; of fewer than
    FEWEST there is a mean alone.

    Args:
        scores: (n,); nan is left out.
        ratio: test images over training images of a run, 1 / (k - 1) for k equal folds; 0 is the plain t-test.
    """
    values = np.asarray(scores, np.float64)
    values = values[~np.isnan(values)]
    n = len(values)
    if n < FEWEST:
        return Mean(float(values.mean()) if n else np.nan, np.nan, np.nan, np.nan, np.nan, n)
    mean = float(values.mean())
    error = float(np.sqrt((1 / n + ratio) * values.var(ddof=1)))
    half = error * float(scipy.stats.t.ppf(1 - LEVEL / 2, n - 1))
    t = mean / error if error else np.inf * mean if mean else 0.0
    return Mean(mean, mean - half, mean + half, t, float(2 * scipy.stats.t.sf(abs(t), n - 1)), n)


def cluster_interval(values: ArrayLike, groups: Sequence[str]) -> tuple[float, float]:
    """95 % interval of the mean of `values` (n,), whole `groups` (n,) being what was drawn; (nan, nan) for one group.

    The mean is a ratio of totals, of values and of images, so its variance is that of the groups' residuals (Cochran,
    Sampling Techniques, 1977, section 6.4), here with Student's t of one degree of freedom less than there are groups.
    Of five groups a percentile bootstrap covers the truth in 80 % of data sets instead of 95 %, this in 90 to 96 %.
    """
    by_group = pd.Series(np.asarray(values, np.float64)).groupby(np.asarray(groups), sort=True)
    sums, sizes = by_group.sum().to_numpy(), by_group.size().to_numpy()
    number = len(sums)
    if number < 2:
        return np.nan, np.nan
    mean = sums.sum() / sizes.sum()
    error = np.sqrt(number / (number - 1) * np.sum((sums - mean * sizes) ** 2)) / sizes.sum()
    half = error * scipy.stats.t.ppf(1 - LEVEL / 2, number - 1)
    return float(mean - half), float(mean + half)


def wilcoxon(values: ArrayLike, groups: Sequence[str]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test on the means of `values` (n,) by group: images of a group are one.

    Zeros are left out. Exact for up to 50 means without ties, and for up to 12 with ties, otherwise normal with
    continuity correction. Of fewer than six means it is never below 5 %.
    """
    means = pd.Series(np.asarray(values, np.float64)).groupby(np.asarray(groups), sort=True).mean().to_numpy()
    means = means[means != 0]
    if not len(means):
        return 1.0
    exact = len(means) <= 50 and len(np.unique(np.abs(means))) == len(means)
    method = "exact" if exact else "asymptotic"
    if not exact and len(means) <= 12:  # every sign of every mean
        method = scipy.stats.PermutationMethod(n_resamples=2 ** len(means))
    test = scipy.stats.wilcoxon(means, method=method, correction=True)
    return float(test.pvalue)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """P-values (n,) adjusted by Holm's step-down procedure, in their order; nan stays nan and is not counted."""
    adjusted = np.asarray(p, np.float64).copy()
    known = np.flatnonzero(~np.isnan(adjusted))
    order = known[np.argsort(adjusted[known], kind="stable")]
    steps = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


class OverImages(NamedTuple):
    """What `over_images` returns, in points."""

    mean: float
    low: float  # 95 % interval by `cluster_interval`
    high: float
    p: float  # `wilcoxon`
    images: int
    groups: int
    one_sided: int = 0  # images left out since only one of the two has a score


def over_images(first: pd.Series, second: pd.Series, groups: Mapping[str, str]) -> OverImages:
    """First minus second in points, over the images both have scores of; `groups` is of each image id.

    Both are scores in 0..1 of one index with the level image_id; an image that is there several times counts as one, by
    the mean of its differences.
    """
    scores = pd.DataFrame({"first": first, "second": second}, first.index.intersection(second.index))
    alone = scores[scores.isna().sum(axis=1) == 1]
    one_sided = alone.index.get_level_values("image_id").nunique()
    delta = (100 * (scores["first"] - scores["second"])).dropna().groupby("image_id").mean()
    if delta.empty:
        return OverImages(np.nan, np.nan, np.nan, np.nan, 0, 0, one_sided)
    group = [groups[image] for image in delta.index]
    interval = cluster_interval(delta, group)
    return OverImages(float(delta.mean()), *interval, wilcoxon(delta, group), len(delta), len(set(group)), one_sided)


def image_scores(sweep: Sweep, model: str) -> pd.DataFrame:
    """Columns of overlaps in 0..1 of each test image of `model`, index repeat, image_id; their mean over a run
    is the run's score.

    They are the foreground's where there are two classes, else the mean over all; nan where nothing was to be scored.
    """
    table = sweep.per_image[sweep.per_image["model"] == model]
    if len(sweep.classes) == 2:
        table = table[table["class"] == sweep.classes[1]]
    return table.groupby(["repeat", "image_id"], sort=False)[list(metrics.OVERLAPS)].mean()


def share_tested(sweep: Sweep) -> float:
    """`corrected_t`'s ratio: a fold's test images over all others, which its model came of; mean over runs."""
    test = sweep.runs["images.test"]
    return float((test / (sweep.folds["images"] - test)).mean())


def torn(sweep: Sweep) -> bool:
    """Whether random folds tear groups apart, so that even the corrected test finds too much."""
    return not sweep.config["grouped"] and sweep.folds["groups"] < sweep.folds["images"]


class Comparison(NamedTuple):
    """First minus second model, in points of Jaccard, over the runs of a sweep that both finished."""

    first: str
    second: str
    test: Mean
    holm: float  # test.p, adjusted for all comparisons made with this one
    won: int  # runs in which first is higher


def differences(sweep: Sweep, first: str, second: str) -> pd.Series:
    """First minus second model in points of Jaccard, index repeat, fold; nan where not both have a score."""
    runs = sweep.runs.astype({"jaccard": float}).pivot(index=["repeat", "fold"], columns="model", values="jaccard")
    return 100 * (runs[first] - runs[second])


def comparisons(wanted: Iterable[tuple[Sweep, str, str]]) -> list[Comparison]:
    """One for each (sweep, first model, second model), adjusted for one another."""
    made = []
    for sweep, first, second in wanted:
        delta = differences(sweep, first, second)
        test = corrected_t(delta, share_tested(sweep))
        made.append(Comparison(first, second, test, np.nan, int((delta > 0).sum())))
    adjusted = holm([each.test.p for each in made])
    return [each._replace(holm=float(p)) for each, p in zip(made, adjusted, strict=True)]
