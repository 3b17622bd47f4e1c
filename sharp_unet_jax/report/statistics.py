"""Intervals and tests for models that share their folds, with Holm's adjustment.

The runs of repeated k-fold cross-validation share most of their training images, so their scores are not independent.
Their standard deviation over the root of their number is far too small an error: bench/null_simulation.py measures how
often a test then finds a difference where there is none.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy  # scipy.stats takes half a second to load, and is loaded where it is used
from numpy.typing import ArrayLike, NDArray

from sharp_unet_jax import metrics
from sharp_unet_jax.report.records import Sweep

LEVEL = 0.05  # of tests; intervals cover 1 - LEVEL
FEWEST = 3  # runs for an interval or a test: the spread of two runs says nothing
ENOUGH = 5  # runs for a verdict: the spread of fewer is known too badly to tell a difference from chance


class Mean(NamedTuple):
    """The result of `corrected_t`, in the units of its scores; nan where there are too few scores."""

    mean: float
    low: float  # 95 % interval
    high: float
    t: float
    p: float  # two-sided, for a mean of zero
    n: int


def corrected_t(scores: ArrayLike, ratio: float) -> Mean:
    """Return the corrected resampled t-test of the mean of scores, or of differences, of (repeated) k-fold runs.

    The variance of the mean is (1/n + ratio) s^2 instead of s^2/n, with n - 1 degrees of freedom: Nadeau & Bengio 2003,
    doi:10.1023/A:1024068626366; for repeated k-fold cross-validation Bouckaert & Frank 2004,
    doi:10.1007/978-3-540-24775-3_3. Scores without any spread have p = 0, or p = 1 if all are zero. Fewer than FEWEST
    scores have only a mean.

    Args:
        scores: (n,), one per run; nan is left out.
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


def by_test_set(scores: ArrayLike, tests: Sequence[Collection[str]]) -> NDArray[np.float64]:
    """Return scores (n,) averaged over the runs that test the same images; nan is left out.

    Such runs differ only in their seeds. They are no new draw of images: 25 runs on five folds that five repeats share
    are five differences. Taken for 25, a test at 5 % found a difference in 13 % of data sets without any.
    """
    number = {test: place for place, test in enumerate(dict.fromkeys(map(frozenset, tests)))}
    labels = [number[frozenset(test)] for test in tests]
    means = pd.Series(np.asarray(scores, np.float64)).groupby(labels).mean()
    return np.asarray(means, np.float64)


def over_runs(sweep: Sweep, scores: pd.Series) -> Mean:
    """Return `corrected_t` of scores, or differences, of runs, index repeat, fold; runs count `by_test_set`."""
    return corrected_t(_by_fold(sweep, scores), test_ratio(sweep))


def cluster_interval(values: ArrayLike, groups: Sequence[str]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values whose groups were drawn as a whole; (nan, nan) for one group.

    The mean is a ratio of two totals, of values and of images, so its variance is that of the groups' residuals
    (Cochran, Sampling Techniques, 1977, section 6.4). Student's t has one degree of freedom less than there are groups.
    For five groups this interval covers the truth in 90 to 96 % of data sets, a percentile bootstrap in 80 %.

    Args:
        values: (n,), one per image.
        groups: (n,), the group of each.
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
    """Return the two-sided p of Wilcoxon's signed-rank test on the means by group of `values` (n,).

    Zeros are left out. The test is exact for up to 50 means without ties and for up to 12 with ties; otherwise it is
    normal with continuity correction. With fewer than six means p is never below 5 %.
    """
    means = pd.Series(np.asarray(values, np.float64)).groupby(np.asarray(groups), sort=True).mean().to_numpy()
    means = means[means != 0]
    if not len(means):
        return 1.0
    exact = len(means) <= 50 and len(np.unique(np.abs(means))) == len(means)
    method = "exact" if exact else "asymptotic"
    if not exact and len(means) <= 12:  # all combinations of signs
        method = scipy.stats.PermutationMethod(n_resamples=2 ** len(means))
    test = scipy.stats.wilcoxon(means, method=method, correction=True)
    return float(test.pvalue)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return p-values (n,) adjusted by Holm's step-down procedure, in their order; nan stays nan and is not counted."""
    adjusted = np.asarray(p, np.float64).copy()
    known = np.flatnonzero(~np.isnan(adjusted))
    order = known[np.argsort(adjusted[known], kind="stable")]
    steps = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


class OverImages(NamedTuple):
    """The result of `over_images`, in points."""

    mean: float
    low: float  # 95 % interval by `cluster_interval`
    high: float
    p: float  # `wilcoxon`
    images: int
    groups: int
    one_sided: int = 0  # images left out because only one of the two models has a score


def over_images(first: pd.Series, second: pd.Series, groups: Mapping[str, str]) -> OverImages:
    """Return first minus second in points, over the images that both have scores of.

    Args:
        first: scores in 0..1, with image_id in the index. An image that is there several times counts once, by the mean
            of its differences.
        second: the same index.
        groups: the group of each image id.
    """
    scores = pd.DataFrame({"first": first, "second": second}, first.index.intersection(second.index))
    unpaired = scores[scores.isna().sum(axis=1) == 1]
    one_sided = unpaired.index.get_level_values("image_id").nunique()
    delta = (100 * (scores["first"] - scores["second"])).dropna().groupby("image_id").mean()
    if delta.empty:
        return OverImages(np.nan, np.nan, np.nan, np.nan, 0, 0, one_sided)
    group = [groups[image] for image in delta.index]
    interval = cluster_interval(delta, group)
    return OverImages(float(delta.mean()), *interval, wilcoxon(delta, group), len(delta), len(set(group)), one_sided)


def image_scores(sweep: Sweep, model: str) -> pd.DataFrame:
    """Return the overlaps in 0..1 of each test image of `model`, index repeat, image_id.

    Their mean over a run is the run's score. Two classes are scored by the foreground, more by the mean over all; nan
    where there was nothing to score.
    """
    table = sweep.per_image[sweep.per_image["model"] == model]
    if len(sweep.classes) == 2:
        table = table[table["class"] == sweep.classes[1]]
    return table.groupby(["repeat", "image_id"], sort=False)[list(metrics.OVERLAPS)].mean()


def test_ratio(sweep: Sweep) -> float:
    """Return the ratio for `corrected_t`: a fold's test images over all other images, the mean over runs."""
    test = sweep.runs["images.test"]
    return float((test / (sweep.folds["images"] - test)).mean())


def score(sweep: Sweep, model: str, overlap: str) -> Mean:
    """Return the mean over runs of a model's overlap in per cent, its interval cut at 0 and 100."""
    mean = over_runs(sweep, sweep.scores(model, overlap))
    return mean._replace(low=max(mean.low, 0), high=min(mean.high, 100))


def splits_groups(sweep: Sweep) -> bool:
    """Return whether random folds split groups, so that even the corrected test finds a difference too often."""
    return not sweep.config["grouped"] and sweep.folds["groups"] < sweep.folds["images"]


class Comparison(NamedTuple):
    """First minus second model in points of Jaccard, over the folds of a sweep that both finished."""

    first: str
    second: str
    test: Mean
    holm: float  # test.p, adjusted for all comparisons of the table
    higher: int  # of the test.n runs, those in which first is higher


def holds(compared: Comparison) -> bool:
    """Return True if a difference is more than chance explains: after Holm's adjustment, over ENOUGH runs."""
    return compared.test.n >= ENOUGH and compared.holm < LEVEL


def verdict(compared: Sequence[Comparison], difference: str, of: str, *, mark: str = " (bold)") -> str:
    """Return in one sentence how many differences hold: "Sharp minus plain is ... in 2 of 3 pairs (bold)."

    Args:
        compared: the differences.
        difference: their name, as a sentence begins.
        of: what they are of, in the plural.
        mark: how differences that hold are marked beside the sentence.
    """
    number = sum(map(holds, compared))
    if all(each.test.n < ENOUGH for each in compared):
        return f"{difference} is over too few runs to tell it from chance."
    if len(compared) == 1:
        return f"{difference} is {f'more than chance explains{mark}' if number else 'within what chance explains'}."
    return (
        f"{difference} is more than chance explains in {number or 'none'} of {len(compared)} {of}{mark * (number > 0)}."
    )


def paired(sweep: Sweep, first: str, second: str) -> pd.DataFrame:
    """Return the Jaccard in per cent of two models, a column each, over the runs that both have a score of.

    The index is repeat, fold.
    """
    runs = sweep.runs.astype({"jaccard": float}).pivot(index=["repeat", "fold"], columns="model", values="jaccard")
    return 100 * runs[[first, second]].dropna()


def differences(sweep: Sweep, first: str, second: str) -> pd.Series:
    """Return first minus second model in points of Jaccard, index repeat, fold, over the runs of `paired`."""
    scores = paired(sweep, first, second)
    return scores[first] - scores[second]


def mean_differences(sweep: Sweep, pairs: Iterable[tuple[str, str]]) -> pd.Series:
    """Return the mean over pairs of first minus second, index repeat, fold, over the runs that every pair has."""
    return pd.concat([differences(sweep, *pair) for pair in pairs], axis=1, join="inner").mean(axis=1)


def comparisons(wanted: Iterable[tuple[Sweep, str, str]]) -> list[Comparison]:
    """Return one comparison for each (sweep, first model, second model), adjusted for all of them."""
    return _adjusted(_compare(sweep, (a, b), differences(sweep, a, b)) for sweep, a, b in wanted)


def mean_comparisons(wanted: Iterable[tuple[Sweep, Sequence[tuple[str, str]]]]) -> list[Comparison]:
    """Return one comparison "sharp" minus "plain" for each (sweep, pairs), adjusted for all of them.

    It tests `mean_differences`: networks share the test folds, so a fold's differences are no independent runs.
    """
    return _adjusted(_compare(sweep, ("sharp", "plain"), mean_differences(sweep, pairs)) for sweep, pairs in wanted)


def _compare(sweep: Sweep, models: tuple[str, str], delta: pd.Series) -> Comparison:
    return Comparison(*models, over_runs(sweep, delta), np.nan, int((_by_fold(sweep, delta) > 0).sum()))


def _by_fold(sweep: Sweep, scores: pd.Series) -> NDArray[np.float64]:
    return by_test_set(scores, [sweep.cell(repeat, fold)["test"] for repeat, fold in scores.index])


def _adjusted(compared: Iterable[Comparison]) -> list[Comparison]:
    found = list(compared)
    adjusted = holm([each.test.p for each in found])
    return [each._replace(holm=float(p)) for each, p in zip(found, adjusted, strict=True)]
