"""Overlaps against scikit-learn and against fractions computed by hand, and the rule for empty masks."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from sharp_unet_jax import metrics

# Truth and prediction as rows of a picture, with Jaccard and Dice computed by hand.
BY_HAND = [
    ("##..", "##..", Fraction(1), Fraction(1)),
    ("##..", ".##.", Fraction(1, 3), Fraction(1, 2)),
    ("####", "#...", Fraction(1, 4), Fraction(2, 5)),
    ("###.", ".###", Fraction(1, 2), Fraction(2, 3)),
    ("##..", "..##", Fraction(0), Fraction(0)),
    ("....", "#...", Fraction(0), Fraction(0)),
    ("#...", "....", Fraction(0), Fraction(0)),
]


def picture(rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in rows]])


@pytest.mark.parametrize(("truth", "predicted", "jaccard", "dice"), BY_HAND)
@pytest.mark.parametrize("empty", ["one", "zero", "nan"])
def test_masks_by_hand(truth, predicted, jaccard, dice, empty):
    assert metrics.jaccard(picture(truth), picture(predicted), empty=empty) == pytest.approx(float(jaccard), abs=1e-15)
    assert metrics.dice(picture(truth), picture(predicted), empty=empty) == pytest.approx(float(dice), abs=1e-15)


@pytest.mark.parametrize(("empty", "expected"), [("one", 1.0), ("zero", 0.0), ("nan", np.nan)])
@pytest.mark.parametrize("measure", [metrics.jaccard, metrics.dice])
def test_two_empty_masks_score_what_the_rule_says(measure, empty, expected):
    nothing = np.zeros((2, 3), bool)
    np.testing.assert_equal(measure(nothing, nothing, empty=empty), expected)
    assert measure(nothing, nothing) == 1.0  # the default


@pytest.mark.parametrize("classes", [2, 4])
def test_masks_agree_with_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    truth, predicted = rng.integers(0, classes, (2, 5, 9, 7))
    for c in range(classes):
        ours = metrics.jaccard(truth == c, predicted == c), metrics.dice(truth == c, predicted == c)
        assert ours[0].shape == (5,)
        assert ours[0].dtype == np.float64
        for image in range(5):
            a, b = (truth[image] == c).ravel(), (predicted[image] == c).ravel()
            assert ours[0][image] == pytest.approx(jaccard_score(a, b), abs=1e-12)
            assert ours[1][image] == pytest.approx(f1_score(a, b), abs=1e-12)


@pytest.mark.parametrize("empty", ["one", "zero", "nan"])
@pytest.mark.parametrize("classes", [2, 4])
def test_every_overlap_agrees_with_scikit_learn(classes, empty):
    """Specificity is the sensitivity of the complement; 0/0 is scikit-learn's default, except where both agree."""
    rng = np.random.default_rng(classes)
    truth, predicted = rng.integers(0, classes, (2, 6, 5, 4))
    truth[0], predicted[1], truth[2], predicted[2] = 0, 0, 1, 1
    counts = np.array(
        [
            [[np.sum((t == c) & (p == c)), np.sum(t == c), np.sum(p == c)] for c in range(classes)]
            for t, p in zip(truth, predicted, strict=True)
        ]
    )
    found = metrics.overlaps(counts, empty=empty)
    division = {"one": 1.0, "zero": 0.0, "nan": np.nan}[empty]
    measures = {
        "jaccard": jaccard_score,
        "dice": f1_score,
        "sensitivity": recall_score,
        "precision": precision_score,
        "specificity": lambda t, p, **options: recall_score(~t, ~p, **options),
    }
    assert found.keys() == measures.keys()
    for name, measure in measures.items():
        for image, c in np.ndindex(len(truth), classes):
            t, p = (truth[image] == c).ravel(), (predicted[image] == c).ravel()
            nothing = t.all() if name == "specificity" else not t.any()
            expected = division if nothing and (t == p).all() else measure(t, p, zero_division=0.0)
            np.testing.assert_allclose(found[name][image, c], expected, atol=1e-12)
            by_masks = metrics.of_masks(name, truth[image] == c, predicted[image] == c, empty=empty)
            np.testing.assert_array_equal(by_masks, found[name][image, c])


@pytest.mark.parametrize("convert", [np.uint8, np.float32, jnp.asarray])
def test_masks_may_be_zeros_and_ones_of_any_kind(convert):
    assert metrics.jaccard(convert(picture("##..")), convert(picture(".##."))) == pytest.approx(1 / 3)


def test_arrays_that_are_no_masks_are_refused():
    mask = picture("##..")
    with pytest.raises(ValueError, match=r"truth holds values other than 0 and 1 \(from 0 to 255\)"):
        metrics.jaccard(mask * np.uint8(255), mask)
    with pytest.raises(ValueError, match="predicted holds values other"):
        metrics.dice(mask, mask * 0.7)
    with pytest.raises(ValueError, match=r"\(1, 4\) and \(4, 1\)"):
        metrics.jaccard(mask, mask.T)
    with pytest.raises(ValueError, match="'half'"):
        metrics.jaccard(mask, mask, empty="half")


masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6))


@given(st.data(), masks)
def test_jaccard_follows_from_dice(data, truth):
    predicted = data.draw(hnp.arrays(bool, truth.shape))
    j, d = metrics.jaccard(truth, predicted), metrics.dice(truth, predicted)
    assert np.all((j >= 0) & (j <= d) & (d <= 1))
    np.testing.assert_allclose(j, d / (2 - d), atol=1e-12)
    np.testing.assert_array_equal(j, metrics.jaccard(predicted, truth))
    assert np.all(metrics.jaccard(truth, truth) == 1)


# Two images, two classes: intersection, truth, predicted. Image 1 has no foreground at all.
BINARY = np.array([[[2, 4, 3], [1, 2, 3]], [[6, 6, 6], [0, 0, 0]]])


@pytest.mark.parametrize(
    ("empty", "jaccard", "dice", "images", "dropped"),
    [
        ("one", (Fraction(1, 4) + 1) / 2, (Fraction(2, 5) + 1) / 2, 2, 0),
        ("zero", Fraction(1, 8), Fraction(1, 5), 2, 0),
        ("nan", Fraction(1, 4), Fraction(2, 5), 1, 1),
    ],
)
def test_binary_score_by_hand(empty, jaccard, dice, images, dropped):
    result = metrics.score(BINARY, empty=empty, binary=True)
    found = [result.means["jaccard"], result.means["dice"]]
    np.testing.assert_allclose(found, [float(jaccard), float(dice)], rtol=1e-14)
    assert (result.images, result.dropped) == (images, dropped)


@pytest.mark.parametrize(
    ("empty", "jaccard", "images", "dropped"),
    [
        ("one", (Fraction(2, 5) / 2 + Fraction(1, 4) / 2 + 1) / 2, 2, 0),
        ("nan", (Fraction(2, 5) / 2 + Fraction(1, 4) / 2 + 1) / 2, 2, 1),
        ("zero", (Fraction(2, 5) / 2 + Fraction(1, 4) / 2 + Fraction(1, 2)) / 2, 2, 0),
    ],
)
def test_score_of_all_classes_by_hand(empty, jaccard, images, dropped):
    result = metrics.score(BINARY, empty=empty, binary=False)
    assert result.means["jaccard"] == pytest.approx(float(jaccard), abs=1e-14)
    assert (result.images, result.dropped) == (images, dropped)


def test_score_of_nothing_to_score_is_nan():
    result = metrics.score(np.zeros((3, 2, 3), int), empty="nan", binary=True)
    assert np.all(np.isnan(list(result.means.values())))
    assert (result.images, result.dropped) == (0, 3)


def test_counts_do_not_overflow():
    result = metrics.score(np.full((3, 2, 3), 2**31 - 1, np.int32), empty="zero", binary=True)
    assert set(result.means.values()) == {1}
    small = metrics.score(np.full((3, 2, 3), 200, np.uint8), empty="zero", binary=True)
    assert small == result


@pytest.mark.parametrize(
    ("shape", "binary", "line"),
    [
        ((0, 2, 3), True, r"at least one image, got \(0, 2, 3\)"),
        ((4, 2), False, r"got \(4, 2\)"),
        ((4, 5, 3), True, "counts of 2 classes, got 5"),
    ],
)
def test_score_refuses(shape, binary, line):
    with pytest.raises(ValueError, match=line):
        metrics.score(np.zeros(shape, int), empty="one", binary=binary)


@pytest.mark.parametrize("empty", ["one", "zero", "nan"])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_mean_over_images_is_the_score_of_a_fold(empty, classes):
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, classes, (2, 9, 2, 3))
    truth[:2] = found[:2] = 0  # empty in both
    counts = metrics.count(found, truth, classes)
    each = metrics.image_jaccard(counts, empty=empty, binary=classes == 2)
    assert each.shape == (9,)
    assert np.isnan(each[:2]).any() == (empty == "nan" and classes == 2)
    assert np.nanmean(each) == pytest.approx(metrics.score(counts, empty=empty, binary=classes == 2).means["jaccard"])
