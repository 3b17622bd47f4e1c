"""Tests and intervals against published worked examples, SciPy, and properties of their definitions."""

import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from sharp_unet_jax.report import records, statistics
from tests.edits import edit_folds
from tests.report import sweep_writer

# Differences in ROC AUC, in 25ths, of the two best models of scikit-learn's example "Statistical comparison of models
# using grid search" (10 x 10 stratified folds of 100 samples; recomputed with scikit-learn 1.9).
SKLEARN = [
    -1, -3, 0, 0, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1, -1, 0, 0, 0, 0, -1, -1, 1, -2, 0,
    1, 1, 1, 0, 0, -1, 1, 0, 0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0,
    0, 1, 1, 1, 0, 1, -1, 2, 0, 0, 0, 0, 0, 5, -1, 0, 1, 0, 0, 0, 0, 1, 1, 2, 0,
    1, 0, -1, 0, 0, 1, -2, 1, 0, 1, 0, 0, 0, 0, 0, 0, -1, 0, -1, 0, 0, 1, 2, 0, 0,
]  # fmt: skip


def test_the_corrected_test_gives_what_scikit_learns_example_prints():
    corrected = statistics.corrected_t(np.array(SKLEARN) / 25, 10 / 90)
    assert corrected.t == pytest.approx(0.750, abs=5e-4)
    assert corrected.p / 2 == pytest.approx(0.227, abs=5e-4)  # the example prints it one-sided
    plain = statistics.corrected_t(np.array(SKLEARN) / 25, 0)
    assert plain.t == pytest.approx(2.611, abs=5e-4)
    assert plain.p / 2 == pytest.approx(0.005, abs=5e-4)


def test_the_interval_is_that_of_the_test():
    values = np.random.default_rng(0).normal(0.5, 1, 25)
    plain = statistics.corrected_t(values, 0)
    expected = scipy.stats.ttest_1samp(values, 0)
    assert plain == pytest.approx((values.mean(), *expected.confidence_interval(0.95), *expected, 25))
    corrected = statistics.corrected_t(values, 1 / 4)
    assert plain.t / corrected.t == pytest.approx(np.sqrt((1 / 25 + 1 / 4) / (1 / 25)))
    for edge in (corrected.low, corrected.high):
        assert statistics.corrected_t(values - edge, 1 / 4).p == pytest.approx(0.05)


def test_too_few_scores_have_no_interval_and_no_test():
    assert statistics.corrected_t([], 0.25)[-1] == 0
    for scores in ([0.5, np.nan], [0.4, 0.6], [0.5, 0.5]):  # the spread of two runs says nothing
        few = statistics.corrected_t(scores, 0.25)
        assert (few.mean, few.n) == (0.5, np.isfinite(scores).sum())
        assert np.isnan([few.low, few.high, few.t, few.p]).all()


def test_scores_without_spread():
    assert statistics.corrected_t([0.0, 0.0, 0.0], 0.25)[:5] == (0, 0, 0, 0, 1)
    assert statistics.corrected_t([-0.5, -0.5, -0.5], 0.25)[:5] == (-0.5, -0.5, -0.5, -np.inf, 0)


def test_holm_gives_the_published_example_and_skips_nan():
    # en.wikipedia.org/wiki/Holm-Bonferroni_method: at 0.05, the first and the last are rejected and no others.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.04, np.nan, 0.01]) == pytest.approx([0.04, np.nan, 0.02], nan_ok=True)
    assert statistics.holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert len(statistics.holm([])) == 0


def test_the_interval_of_ungrouped_images_is_students():
    values = np.random.default_rng(1).gamma(2, size=200)
    low, high = statistics.cluster_interval(values, [str(i) for i in range(200)])
    assert (low, high) == pytest.approx(scipy.stats.ttest_1samp(values, 0).confidence_interval())


def test_more_frames_of_the_same_groups_add_no_certainty():
    values = np.random.default_rng(2).normal(size=40)
    groups = [str(i) for i in range(40)]
    alone = statistics.cluster_interval(values, groups)
    assert statistics.cluster_interval(np.repeat(values, 5), np.repeat(groups, 5)) == pytest.approx(alone)
    torn = statistics.cluster_interval(np.repeat(values, 5), [str(i) for i in range(200)])
    assert np.diff(torn) < 0.6 * np.diff(alone)
    assert statistics.wilcoxon(np.repeat(values, 5), np.repeat(groups, 5)) == scipy.stats.wilcoxon(values).pvalue


def test_a_large_group_weighs_as_many_images_as_it_has():
    values, groups = [1.0] * 200 + [0.0] * 20, [*np.repeat(range(20), 10), *range(20, 40)]
    low, high = statistics.cluster_interval(values, groups)
    assert 0.8 < low < 200 / 220 < high < 1
    assert (low + high) / 2 == pytest.approx(200 / 220)
    assert np.isnan(statistics.cluster_interval(values[:10], groups[:10])).all()


@pytest.mark.parametrize("number", [3, 5, 20])
def test_the_interval_covers_the_truth_however_few_groups_there_are(number):
    rng, covered = np.random.default_rng(3), 0
    groups = np.repeat(np.arange(number), 6)
    for _ in range(400):
        low, high = statistics.cluster_interval(rng.normal(size=number)[groups] + rng.normal(size=6 * number), groups)
        covered += low <= 0 <= high
    assert 0.92 <= covered / 400 <= 0.98  # three standard errors; a percentile bootstrap covers 0.7 of three groups


def test_the_interval_is_that_of_a_ratio_estimated_from_clusters():
    # The delete-one jackknife agrees with the linearisation to first order.
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(40), rng.integers(3, 9, 40))
    values = rng.normal(size=40)[groups] + rng.normal(size=len(groups))
    low, high = statistics.cluster_interval(values, groups)
    without = np.array([values[groups != group].mean() for group in range(40)])
    error = np.sqrt(39 / 40 * np.sum((without - without.mean()) ** 2))
    assert (low, high) == pytest.approx(
        values.mean() + scipy.stats.t.interval(0.95, 39)[1] * error * np.array([-1, 1]), rel=0.03
    )


def test_images_with_a_score_of_one_model_alone_are_counted():
    index = pd.MultiIndex.from_product([[0, 1], ["a", "b", "c"]], names=["repeat", "image_id"])
    first = pd.Series([0.5, np.nan, np.nan, 0.7, np.nan, np.nan], index)
    second = pd.Series([0.4, 0.0, np.nan, 0.6, 0.0, np.nan], index)
    found = statistics.over_images(first, second, {"a": "a", "b": "b", "c": "c"})
    assert (found.images, found.one_sided) == (1, 1)
    unfinished = second.drop("a", level="image_id")  # an image that was not tested differs from one without a score
    assert statistics.over_images(first, unfinished, {"a": "a", "b": "b", "c": "c"}).one_sided == 1
    assert statistics.over_images(first.drop("b", level="image_id"), second, {"a": "a", "c": "c"}).one_sided == 0


# The example of R's ?wilcox.test: a depression score of 9 patients, before and after (Hollander & Wolfe 1973, p. 29).
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]


def test_wilcoxon_gives_the_published_example_and_what_is_exact_or_normal_for_ties():
    delta = np.subtract(BEFORE, AFTER)
    assert statistics.wilcoxon(delta, list("abcdefghi")) == pytest.approx(2 * 0.01953, abs=1e-5)  # published one-sided
    assert statistics.wilcoxon([0.0, 0.0, 0.0], ["a", "b", "c"]) == 1
    for values in ([1.0, 2.0, 3.0, 3.0, 0.0], [1.0] * 5, [1.0] * 6, [1.0, -1.0, 2.0, 2.0, 3.0]):
        ranks = scipy.stats.rankdata(np.abs(signed := np.array([value for value in values if value])))
        flips = np.array(list(itertools.product([-1, 1], repeat=len(signed))))
        smaller = np.minimum((flips > 0) @ ranks, (flips < 0) @ ranks)  # the smaller sum of ranks
        exact = np.mean(smaller <= min(ranks[signed > 0].sum(), ranks[signed < 0].sum()))
        assert statistics.wilcoxon(values, [str(n) for n in range(len(values))]) == pytest.approx(exact)
    # Ranks 1 to 12, 13.5, 13.5, all of one sign: V = 105 with mean 52.5 and variance 14 * 15 * 29 / 24 - 6 / 48.
    z = (105 - 52.5 - 0.5) / np.sqrt(14 * 15 * 29 / 24 - 6 / 48)
    assert statistics.wilcoxon([*range(1, 14), 13], list("abcdefghijklmn")) == pytest.approx(2 * scipy.stats.norm.sf(z))


def test_without_a_difference_the_plain_test_finds_one_far_too_often_and_the_corrected_does_not():
    """Differences of 5 x 5 folds: image effects with mean zero, each image tested once a repeat."""
    rng = np.random.default_rng(3)
    rejected = np.zeros(2)
    for _ in range(400):
        images = rng.normal(size=60)
        folds = np.concatenate([rng.permutation(images).reshape(5, 12).mean(axis=1) for _ in range(5)])
        rejected += [statistics.corrected_t(folds, ratio).p < 0.05 for ratio in (0, 1 / 4)]
    assert rejected[0] / 400 > 0.25
    assert rejected[1] / 400 < 0.06


@pytest.mark.parametrize("classes", [2, 3])
def test_image_scores_average_to_the_records(tmp_path, classes):
    sweep = sweep_writer.write(tmp_path, {"unet": sweep_writer.scores(0.7)}, classes=classes)
    scores = statistics.image_scores(sweep, "unet")
    assert len(scores) == 2 * 20
    for metric in ("jaccard", "dice"):
        assert scores[metric].mean() == pytest.approx(sweep.runs[metric].mean())
    assert scores.loc[(1, "i1"), "jaccard"] == sweep_writer.scores(0.7)[1, 0, 0]


def test_comparisons_pair_the_runs_that_both_finished_and_adjust_for_all(tmp_path):
    first, second = sweep_writer.scores(0.8, seed=1), sweep_writer.scores(0.7, seed=2)
    second[1, 4] = np.nan  # nothing to score
    made = {"unet": second, "sharp_unet": first, "wide_unet": second}
    sweep = sweep_writer.write(tmp_path, made, missing=("sharp_unet/repeat0-fold0",), failed=("unet/repeat0-fold1",))
    (twins, other) = statistics.comparisons([(sweep, "sharp_unet", "unet"), (sweep, "unet", "wide_unet")])
    delta = 100 * (first - second).mean(axis=2).ravel()[2:9]
    assert twins.test == pytest.approx(statistics.corrected_t(delta, 4 / 16))
    assert (twins.test.n, twins.higher) == (7, 7)
    assert twins.holm == pytest.approx(2 * twins.test.p)
    assert (other.test.mean, other.test.p, other.holm, other.higher) == (0, 1, 1, 0)


def test_repeats_of_the_same_folds_are_no_new_runs(tmp_path):
    rng = np.random.default_rng(0)
    made = {model: rng.normal(0.7, 0.05, (5, 5, 4)) for model in ("unet", "sharp_unet")}
    sweep = sweep_writer.write(tmp_path, made, grouped=True, group_size=4)
    for cell in sweep.folds["folds"]:  # five groups make five folds in one way only, in any order
        cell["test"] = sweep.cell(0, (cell["fold"] + cell["repeat"]) % 5)["test"]
    sweep = with_folds_of(sweep)
    [found] = statistics.comparisons([(sweep, "sharp_unet", "unet")])
    by_run = 100 * (made["sharp_unet"] - made["unet"]).mean(axis=2)
    of_fold = np.mean([np.roll(by_run[repeat], repeat) for repeat in range(5)], axis=0)
    assert found.test == pytest.approx(statistics.corrected_t(of_fold, 1 / 4))
    assert (found.test.n, found.higher) == (5, (of_fold > 0).sum())
    assert statistics.score(sweep, "unet", "jaccard").n == 5


def test_seeds_of_one_split_have_no_interval(tmp_path):
    sweep = sweep_writer.write(tmp_path, {model: scores_of(model) for model in ("unet", "sharp_unet")})
    for cell in sweep.folds["folds"]:
        cell["test"] = sweep.folds["folds"][0]["test"]
    sweep = with_folds_of(sweep)
    [found] = statistics.comparisons([(sweep, "sharp_unet", "unet")])
    assert (found.test.n, np.isnan(found.test.p), statistics.holds(found)) == (1, True, False)


def with_folds_of(sweep):
    """Write the folds of `sweep`, changed in memory, as if it had been trained on them, and read it again."""
    edit_folds(sweep.workdir, folds=sweep.folds["folds"])
    return records.load(sweep.workdir)


def scores_of(model):
    return np.random.default_rng(len(model)).normal(0.9 if model == "sharp_unet" else 0.5, 0.01, (5, 1, 4))


def test_images_are_paired_and_averaged_over_repeats(tmp_path):
    first, second = sweep_writer.scores(0.8, seed=1), sweep_writer.scores(0.7, seed=2)
    sweep = sweep_writer.write(tmp_path, {"unet": second, "sharp_unet": first}, group_size=2)
    of = [statistics.image_scores(sweep, model)["jaccard"] for model in ("sharp_unet", "unet")]
    images = statistics.over_images(*of, sweep.groups)
    repeats = [np.roll((first - second)[repeat].ravel(), repeat) for repeat in range(2)]
    delta = 100 * np.mean(repeats, axis=0)
    assert images.mean == pytest.approx(delta.mean())
    assert (images.images, images.groups) == (20, 10)
    assert images.p == pytest.approx(scipy.stats.wilcoxon(delta.reshape(10, 2).mean(axis=1)).pvalue)
    assert images.low < images.mean < images.high
    nothing = statistics.over_images(of[0] * np.nan, of[1], sweep.groups)
    assert (nothing.images, nothing.groups) == (0, 0)


@pytest.mark.parametrize(
    ("n", "holm", "holds"), [(4, 0.001, False), (5, 0.001, True), (5, 0.2, False), (0, np.nan, False)]
)
def test_a_difference_holds_after_holm_over_five_runs_or_more(n, holm, holds):
    mean = statistics.Mean(1.0, 0.5, 1.5, 9.0, holm, n)
    assert statistics.holds(statistics.Comparison("a", "b", mean, holm, n)) == holds


def test_a_verdict_counts_what_holds_or_says_that_runs_are_too_few():
    def compared(n, holm):
        return statistics.Comparison("a", "b", statistics.Mean(1.0, 0.5, 1.5, 9.0, holm, n), holm, n)

    def said(*differences):
        return statistics.verdict([compared(*each) for each in differences], "The difference", "pairs")

    assert said((5, 0.01), (5, 0.5)) == "The difference is more than chance explains in 1 of 2 pairs (bold)."
    assert said((5, 0.5), (5, 0.5)) == "The difference is more than chance explains in none of 2 pairs."
    assert said((5, 0.01)) == "The difference is more than chance explains (bold)."
    assert said((9, 0.5)) == "The difference is within what chance explains."
    assert said((4, 0.01)) == "The difference is over too few runs to tell it from chance."
