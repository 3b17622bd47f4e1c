"""Scores of a test set: distances in mm, what has no score, averages by image, by group and by pixel."""

import numpy as np
import pandas as pd
import pytest

from sharp_unet_jax import metrics
from sharp_unet_jax.report import evaluated, statistics
from sharp_unet_jax.report.evaluated import Scored


def square(top, left, side=4, label=1, size=(16, 20)):
    mask = np.zeros(size, np.uint8)
    mask[top : top + side, left : left + side] = label
    return mask


def scored(pairs, groups=None, classes=("ground", "one"), **more):
    cases = [
        evaluated.case(f"i{n}", groups[n] if groups else f"i{n}", *pair, len(classes)) for n, pair in enumerate(pairs)
    ]
    return Scored(cases, classes, more.pop("empty", "one"), **more)


def test_distances_have_the_units_of_the_spacing():
    truth, moved = square(4, 4), square(6, 4)
    (down,) = evaluated.case("a", "a", truth, moved, 2, (2.5, 0.5)).distances
    (right,) = evaluated.case("a", "a", truth, square(4, 6), 2, (2.5, 0.5)).distances
    assert (down.hd95, right.hd95) == (5.0, 1.0)


def test_ignored_pixels_are_neither_counted_nor_a_boundary():
    truth, predicted = square(4, 4), square(4, 4)
    truth[0], predicted[0] = metrics.IGNORE, 1
    one = evaluated.case("a", "a", truth, predicted, 2)
    assert one.counts.sum(axis=0)[1] == truth.size - 20
    assert (one.counts[1] == 16).all()
    assert one.distances[0].hd95 == 0


def test_an_interval_is_that_of_groups_and_of_images_without_groups():
    pairs = [(square(4, 4), square(4, 4 + n)) for n in (0, 0, 1, 1, 2, 2)]
    names = ["a", "a", "b", "b", "c", "c"]
    values = scored(pairs).by_image([1])["jaccard"].tolist()
    assert values == pytest.approx([1, 1, 12 / 20, 12 / 20, 8 / 24, 8 / 24])
    for groups in (names, [f"i{n}" for n in range(6)]):
        found = scored(pairs, groups).estimates([1])["jaccard"]
        low, high = statistics.cluster_interval(values, groups)
        assert found[:4] == pytest.approx((np.mean(values), max(0, low), min(1, high), 6))
    one_group = scored(pairs, ["a"] * 6).estimates([1])["jaccard"]
    assert np.isnan([one_group.low, one_group.high]).all()


def test_disagreement_foretells_the_jaccard_by_spearmans_correlation():
    rng = np.random.default_rng(0)
    values = rng.random((12, 2)).round(1)  # with ties
    truths = [square(4, 4) + square(9, 9, label=2) for _ in values]
    moved = [square(4, 4 + n % 5) + square(9, 9 - n % 3, label=2) for n in range(12)]
    cases = [
        evaluated.case(f"i{n}", "g", *pair, 3, disagreement=tuple(values[n]))
        for n, pair in enumerate(zip(truths, moved, strict=True))
    ]
    test = Scored(cases, ("ground", "one", "two"), "one")
    jaccard = test.by_image([0, 1, 2])["jaccard"]
    expected = pd.Series(values.mean(axis=1)).rank().corr(jaccard.rank())
    found = evaluated.foretelling(test)
    assert found == (pytest.approx(expected), 12)
    assert evaluated.scores(test)["disagreement"] == {"spearman": found.spearman, "images": 12}
    table = evaluated.per_image(test).set_index(["id", "class"])["disagreement"]
    assert [table["i3", name] for name in ("one", "two")] == values[3].tolist()
    assert np.isnan(table["i3", "ground"])
    assert evaluated.foretelling(Scored(cases[:9], test.classes, "one")) is None, "too few images"
    same = [one._replace(disagreement=(0.5, 0.5)) for one in cases]
    assert evaluated.foretelling(Scored(same, test.classes, "one")) is None, "no ranks"
    alone = [one._replace(disagreement=()) for one in cases]
    assert "disagreement" not in evaluated.scores(Scored(alone, test.classes, "one"))


def test_groups_and_pixels_weigh_images_otherwise():
    pairs = [(square(1, 1, 8), square(1, 1, 8)), (square(1, 1, 8), square(1, 1, 8)), (square(1, 1, 2), square(9, 9, 2))]
    test = scored(pairs, ["a", "a", "b"])
    assert test.estimates([1])["dice"].mean == pytest.approx(2 / 3)
    groups = test.by_group([1])
    assert groups["dice"].to_dict() == {"a": 1.0, "b": 0.0}
    assert evaluated.over_groups(groups)["dice"].mean == 0.5
    assert test.pooled([1])["dice"] == pytest.approx(128 / 132)


def test_empty_masks_follow_the_rule_and_have_no_distance():
    nothing = np.zeros((16, 20), np.uint8)
    pairs = [(nothing, nothing), (square(4, 4), nothing), (nothing, square(4, 4)), (square(4, 4), square(4, 4))]
    for empty, mean, n in (("one", 2 / 4, 4), ("zero", 1 / 4, 4), ("nan", 1 / 3, 3)):
        found = scored(pairs, empty=empty).estimates([1])
        assert found["jaccard"].mean == pytest.approx(mean)
        assert found["jaccard"].n == n
        assert (found["hd95"].mean, found["hd95"].n) == (0, 1)
    outcomes = scored(pairs).outcomes([1])
    assert [outcomes[name] for name in ("measured", "missed", "false positive", "absent")] == [1, 1, 1, 1]


def test_the_page_shows_images_with_a_foreground_and_none_twice():
    nothing = np.zeros((16, 20), np.uint8)
    pairs = [(nothing, nothing), *((square(4, 4), square(4, 4 + n)) for n in (2, 0, 3, 1, 4))]
    assert evaluated.chosen(scored(pairs)) == {"best": 2, "median": 1, "worst": 5}
    assert evaluated.chosen(scored(pairs[:2])) == {"best": 1}
    assert evaluated.chosen(scored(pairs[:1])) == {}


def test_tables_have_a_row_a_class_and_one_of_groups_where_there_are_some():
    pairs = [(square(4, 4), square(4, 5)), (square(4, 4, label=2), square(4, 4, label=2))]
    classes, counting = evaluated.tables(scored(pairs, classes=("ground", "one", "two")))
    assert classes.frame["class"].tolist() == ["mean of all 3 classes", "mean without ground", "ground", "one", "two"]
    assert counting.frame.iloc[:, 0].tolist() == ["each image", "each pixel of the set"]
    *_, groups = evaluated.tables(scored(pairs, ["g", "g"], classes=("ground", "one", "two")))
    assert groups.frame["group"].tolist() == ["g"]


def test_distances_of_cells_are_not_rounded_to_nothing():
    one = evaluated.case("a", "a", square(4, 4), square(5, 4), 2, spacing=(0.0005, 0.0005))
    test = Scored([one], ("ground", "cell"), "one", "mm")
    assert evaluated.plain(test.estimates([1])["hd95"]) == "0.0005"
    assert [evaluated.text(value) for value in (0.0, 0.1, 12.345, 0.04567, -0.00012345)] == [
        "0.00", "0.10", "12.35", "0.046", "-0.00012"
    ]  # fmt: skip
