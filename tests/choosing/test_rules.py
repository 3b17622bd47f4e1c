"""The search for a rule: the same as by trying everything, and none where nothing gains."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from sharp_unet_jax.choosing import rules
from sharp_unet_jax.cleaning import clean
from sharp_unet_jax.decision import Rule

PLAIN = Rule(0.5)
SIZES = [4, 8]


def scorer(probabilities, truths):
    """Return a function that scores rules on images (n, h, w), written apart from the library's."""

    def scores(candidates):
        table = np.empty((len(candidates), len(truths)))
        for (row, rule), (column, truth) in itertools.product(enumerate(candidates), enumerate(truths)):
            found = clean((probabilities[column] > rule.threshold).astype(np.uint8), rule) > 0
            either = np.sum(found | truth)
            table[row, column] = np.sum(found & truth) / either if either else 1.0
        return table

    return scores


def low(gain, groups):
    """The lower end of the interval of a mean over groups of one size, by its textbook formula."""
    means = np.array([np.mean(gain[np.array(groups) == group]) for group in dict.fromkeys(groups)])
    error = means.std(ddof=1) / np.sqrt(len(means))
    return means.mean() - error * scipy.stats.t.ppf(0.975, len(means) - 1)


def by_hand(scores, groups, rule=PLAIN):
    """The search, a step after another, as the documentation describes it."""
    steps = {
        "threshold": [round(0.05 * k, 2) for k in range(1, 20)],
        "fill": [True],
        "smallest": SIZES,
        "largest": [True],
    }
    for field, values in steps.items():
        now = scores([rule])[0]
        best = rule
        for value in sorted(values, key=lambda v: abs(v - getattr(rule, field))):
            candidate = rule._replace(**{field: value})
            if scores([candidate])[0].mean() > scores([best])[0].mean():
                best = candidate
        if best != rule and low(scores([best])[0] - now, groups) > 0:
            rule = best
    return rule


@pytest.mark.parametrize("seed", range(6))
def test_the_search_is_that_by_hand(seed):
    rng = np.random.default_rng(seed)
    truths = np.zeros((12, 12, 12), bool)
    for truth in truths:
        top, left = rng.integers(0, 6, 2)
        truth[top : top + 6, left : left + 6] = True
    noise = rng.normal(0, 0.12, truths.shape) + (rng.random(truths.shape) < 0.03) * rng.choice([-0.6, 0.6])
    probabilities = np.clip(0.25 + 0.1 * seed + 0.3 * truths + noise, 0, 1)
    groups = [f"g{index // 2}" for index in range(12)]
    scores = scorer(probabilities, truths)
    found = rules.search(PLAIN, SIZES, True, scores, groups)
    assert found == by_hand(scores, groups)
    assert found != PLAIN


def test_each_step_is_found_where_it_helps():
    truth = np.zeros((16, 16), bool)
    truth[2:9, 2:9] = True
    holes, specks, twins = truth.copy(), truth.copy(), truth.copy()
    holes[4:6, 4:6], specks[12, 12], twins[11:15, 2:12] = False, True, True
    right = np.where(truth, 0.9, 0.1)

    def search(image):
        images = np.stack([*[np.where(image, 0.9, 0.1)] * 5, right])
        return rules.search(PLAIN, SIZES, True, scorer(images, np.stack([truth] * 6)), list("abcdef"))

    assert search(holes) == Rule(0.5, fill=True)
    assert search(specks) == Rule(0.5, smallest=4)
    assert search(twins) == Rule(0.5, largest=True)
    assert search(truth) == PLAIN


def test_the_nearest_of_equal_thresholds_is_taken():
    truth = np.arange(16).reshape(4, 4) > 7
    for right, wrong, nearest in ((0.44, 0.02, 0.4), (0.97, 0.56, 0.6)):
        images = np.stack([np.where(truth, right, wrong)] * 4 + [np.where(truth, 0.9, 0.02)])
        found = rules.search(PLAIN, [], True, scorer(images, np.stack([truth] * 5)), list("abcde"))
        assert found == Rule(nearest)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.booleans())
def test_a_rule_never_scores_lower_on_the_images_that_choose(seed, images, binary):
    """Any table of scores will do, with images that have none."""
    rng = np.random.default_rng(seed)
    known: dict[Rule, np.ndarray] = {}

    def scores(candidates):
        for rule in candidates:
            known.setdefault(rule, np.where(rng.random(images) < 0.1, np.nan, rng.random(images)))
        return np.stack([known[rule] for rule in candidates])

    found = rules.search(PLAIN, SIZES, binary, scores, [f"g{index // 2}" for index in range(images)])
    if found != PLAIN:
        means = [np.nanmean(known[rule]) if np.isfinite(known[rule]).any() else -1 for rule in (found, PLAIN)]
        assert means[0] > means[1]
        assert images > 1
    assert binary or found.threshold == PLAIN.threshold


def pieces(mask):
    """Return the sizes of pieces of a mask, by walking from each pixel to its eight neighbours."""
    left, sizes = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        waiting, size = [left.pop()], 0
        while waiting:
            y, x = waiting.pop()
            size += 1
            near = {(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1)} & left
            left -= near
            waiting += near
        sizes.append(size)
    return sizes


def test_the_ladder_ends_at_the_median_object():
    rng = np.random.default_rng(0)
    masks = [np.kron(rng.integers(0, 3, (6, 6)), np.ones((3, 3), int)).astype(np.uint8) for _ in range(5)]
    masks[0][0, :9] = 255  # is no object
    sizes = [size for mask in masks for label in (1, 2) for size in pieces(mask == label)]
    ladder = rules.ladder(masks)
    assert ladder[0] == 4
    assert ladder[-1] <= np.median(sizes) < 2 * ladder[-1]
    assert np.all(np.diff(np.log2(ladder)) == 1)
    assert rules.ladder([np.zeros((4, 4), np.uint8)]) == []
