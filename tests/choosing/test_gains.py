"""Gains with intervals, against other statements of the same."""

import numpy as np
import pytest
import scipy.stats

from sharp_unet_jax.choosing import gains

AFTER, BEFORE = np.array([0.9, 0.8, 0.7, 0.95, 0.6, 0.85]), np.array([0.7, 0.7, 0.7, 0.8, 0.5, 0.7])


def test_three_groups_are_what_was_drawn():
    groups = ["a", "a", "b", "b", "c", "c"]
    low, high = gains.interval(AFTER, BEFORE, groups)
    means = (AFTER - BEFORE).reshape(3, 2).mean(axis=1)
    expected = scipy.stats.t.interval(0.95, 2, means.mean(), scipy.stats.sem(means))
    assert (low, high) == pytest.approx(expected)


def test_of_two_groups_each_image_counts():
    expected = scipy.stats.t.interval(0.95, 5, np.mean(AFTER - BEFORE), scipy.stats.sem(AFTER - BEFORE))
    assert gains.interval(AFTER, BEFORE, list("aaabbb")) == pytest.approx(expected)
    assert gains.holds(AFTER, BEFORE, list("aaabbb"))
    assert not gains.holds(BEFORE, AFTER, list("aaabbb"))


def test_images_without_a_score_are_left_out():
    after, before = np.append(AFTER, [np.nan, 0.0]), np.append(BEFORE, [0.0, np.nan])
    found = gains.over_images(after, before, list("aabbccdd"), runs=2)
    assert found["gain"] == pytest.approx(np.mean(AFTER - BEFORE))
    assert found["jaccard"] == pytest.approx(np.mean(np.append(AFTER, 0)))
    assert (found["images"], found["groups"], found["runs"]) == (6, 3, 2)
    assert (found["low"], found["high"]) == pytest.approx(gains.interval(AFTER, BEFORE, list("aabbcc")))


@pytest.mark.parametrize("images", [0, 1])
def test_no_interval_is_null(images):
    found = gains.over_images(AFTER[:images], BEFORE[:images], ["a"] * images, runs=1)
    assert found["low"] is found["high"] is None
    assert found["gain"] == (pytest.approx(0.2) if images else None)
    assert not gains.holds(AFTER[:images], BEFORE[:images], ["a"] * images)


def test_over_runs_the_difference_is_that_of_their_scores():
    runs = [AFTER[:2], AFTER[2:4], np.append(AFTER[4:], np.nan)]
    without = [BEFORE[:2], BEFORE[2:4], np.append(BEFORE[4:], 0.0)]
    found = gains.over_runs(runs, without, ["ab", "cd", "efg"], 4, ratio=0.5)
    differences = np.array([0.15, 0.075, np.mean(AFTER[4:]) - np.mean([0.5, 0.7, 0.0])])
    half = scipy.stats.t.ppf(0.975, 2) * np.sqrt((1 / 3 + 0.5) * differences.var(ddof=1))
    assert found["gain"] == pytest.approx(differences.mean())
    assert (found["low"], found["high"]) == pytest.approx((differences.mean() - half, differences.mean() + half))
    assert (found["images"], found["groups"], found["runs"]) == (7, 4, 3)
    two = gains.over_runs(runs[:2], without[:2], ["ab", "cd"], 4, ratio=0.5)
    assert two["gain"] == pytest.approx(0.1125)
    assert two["low"] is two["high"] is None
    again = gains.over_runs([*runs, *runs], [*without, *without], ["ab", "cd", "efg", "ba", "cd", "efg"], 4, ratio=0.5)
    assert again == found  # six runs of three test folds


def test_an_interval_of_few_images_ends_at_the_largest_gain_that_there_is():
    after, before = np.array([0.9, 0.1]), np.array([0.1, 0.0])
    assert gains.interval(after, before, ["a", "b"])[1] > 1
    found = gains.over_images(after, before, ["a", "b"], runs=1)
    assert (found["low"], found["high"]) == (-1, 1)
