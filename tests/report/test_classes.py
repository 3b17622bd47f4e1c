"""Scores by class, against means computed by hand."""

import numpy as np
import pytest

from sharp_unet_jax.report import classes
from tests.conftest import squares
from tests.report import whole


def test_a_class_is_scored_over_all_images_and_over_those_that_have_it(tmp_path):
    data = squares(n=8, classes=3)
    data.masks[:3][data.masks[:3] == 2] = 0
    sweep = whole.sweep(tmp_path, data, repeats=1)
    table = classes.table(sweep)
    frame = table.frame.set_index(["class", "model"])
    assert len(frame) == 3 * 2
    assert frame["images with it"].tolist() == [8, 8, 8, 8, 5, 5]
    scores = sweep.per_image[sweep.per_image["model"] == "unet"]
    for label in sweep.classes:
        own = scores[scores["class"] == label]
        runs = [100 * part["jaccard"].mean() for _, part in own.groupby("fold")]
        cell = frame.loc[(label, "unet"), "Jaccard (%)"]
        assert cell == f"{np.mean(runs):.2f} ± {np.std(runs, ddof=1):.2f}"
    there = scores[(scores["class"] == "other") & (scores["truth"] > 0)]
    dice = [100 * part["dice"].mean() for _, part in there.groupby("fold")]
    assert frame.loc[("other", "unet"), "where it is: Dice (%)"].startswith(f"{np.mean(dice):.2f} ±")
    reported = [float(frame.loc[(label, "unet"), "Jaccard (%)"].split()[0]) for label in sweep.classes]
    assert np.mean(reported) == pytest.approx(
        100 * sweep.runs.loc[sweep.runs["model"] == "unet", "jaccard"].mean(), abs=0.01
    )


def test_two_classes_have_no_such_table(tmp_path):
    assert classes.table(whole.sweep(tmp_path, repeats=1)) is None
