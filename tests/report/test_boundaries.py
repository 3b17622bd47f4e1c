"""Distances between boundaries against all pairs of boundary pixels, and masks without a boundary."""

import numpy as np
import pytest
from scipy import ndimage

from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report import boundaries
from tests.conftest import squares
from tests.report import synthetic


def blobs(n, size, seed):
    rng = np.random.default_rng(seed)
    return ndimage.gaussian_filter(rng.normal(size=(n, *size)), (0, 2, 2)) > 0.05


def brute_force(truth, predicted):
    """Return HD95 and ASSD of two masks (H, W) from the distances of all pairs of boundary pixels."""
    cross = ndimage.generate_binary_structure(2, 1)
    a, b = (np.argwhere(mask & ~ndimage.binary_erosion(mask, cross)) for mask in (truth, predicted))
    every = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    there, back = every.min(axis=1), every.min(axis=0)
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return hd95, (there.sum() + back.sum()) / (len(a) + len(b))


def test_distances_are_those_of_all_pairs_of_boundary_pixels():
    truth, predicted = blobs(6, (20, 31), seed=0), blobs(6, (20, 31), seed=1)
    for pair in zip(truth, predicted, strict=True):
        outcome, *found = boundaries.distances(*pair)
        assert outcome == "measured"
        np.testing.assert_allclose(found, brute_force(*pair))


def test_the_distance_of_a_shifted_line_is_the_shift():
    mask = np.zeros((30, 30), bool)
    mask[5:20, 5:6] = True  # a line: each of its pixels is equally far from the other
    assert boundaries.distances(mask, np.roll(mask, 7, axis=1)) == ("measured", 7, 7)
    assert boundaries.distances(mask, mask) == ("measured", 0, 0)


def test_hd95_leaves_out_the_farthest_five_per_cent():
    mask = np.zeros((60, 60), bool)
    mask[10, :50] = True
    stray = mask.copy()
    stray[50, 0] = True
    assert boundaries.distances(mask, stray).hd95 == 0


def test_an_empty_mask_has_no_distance():
    some, none = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    for truth, predicted, outcome in ((some, none, "missed"), (none, some, "false positive"), (none, none, "absent")):
        found = boundaries.distances(truth, predicted)
        assert found.outcome == outcome
        assert np.isnan(found.hd95)
        assert np.isnan(found.assd)


def test_the_table_counts_what_it_leaves_out(tmp_path):
    dataset = squares(n=8, size=(16, 24))
    dataset.masks[0] = 0  # a false positive: a square is predicted and none is there

    def predict(run, masks):
        result = np.zeros((*masks.shape, 1), np.uint8)
        result[:, 4:10, 4:12] = 200
        result[masks[:, 0, 0] == IGNORE] = 0
        return result

    dataset.masks[1, 0, 0] = IGNORE  # marks the image in which nothing is predicted
    sweep = synthetic.sweep(tmp_path, dataset, predict)
    values = boundaries.per_image(sweep).set_index("image_id")
    assert values["outcome"].drop(["000", "001"]).eq("measured").all()
    assert (values.loc["000", "outcome"], values.loc["001", "outcome"]) == ("false positive", "missed")
    table = boundaries.table(sweep)
    (row,) = table.frame.to_dict("records")
    assert [row[name] for name in boundaries.OUTCOMES] == [6, 1, 1, 0]
    runs = values.groupby("run")["hd95"].mean()
    assert row["HD95 (px)"] == f"{runs.mean():.2f} ± {runs.std():.2f}"
    diagonal = np.hypot(15, 23)
    runs = values["hd95"].fillna(diagonal).groupby(values["run"]).mean()
    assert row["HD95, misses at the diagonal (px)"] == f"{runs.mean():.2f} ± {runs.std():.2f}"
    assert "16x24" in table.note


def test_every_foreground_class_has_a_row_and_padding_is_outside(tmp_path):
    dataset = squares(n=4, classes=3)
    dataset.masks[:, :4] = IGNORE

    def predict(run, masks):
        right = 255 * (masks[..., None] == np.arange(3)).astype(np.uint8)
        right[masks == IGNORE, 1] = 255  # extends into the padding, where nothing is scored
        return right

    values = boundaries.per_image(synthetic.sweep(tmp_path, dataset, predict))
    assert list(values["class"].unique()) == ["square", "other"]
    measured = values[values["outcome"] == "measured"]
    assert len(measured) >= 4
    assert measured["hd95"].eq(0).all()
    assert set(values["outcome"]) <= {"measured", "absent"}


def test_ignored_sides_are_beyond_the_image():
    truth, predicted = blobs(6, (20, 31), seed=0), blobs(6, (20, 31), seed=1)
    sides = (0, 0), (3, 1), (0, 5)
    ignored = np.pad(np.zeros_like(truth), sides, constant_values=True)
    some = np.random.default_rng(0).random(ignored.shape) > 0.5  # what lies under ignored pixels changes nothing
    padded = [np.pad(mask, sides) | (ignored & some) for mask in (truth, predicted)]
    for alone, beside in zip(zip(truth, predicted, strict=True), zip(*padded, ignored, strict=True), strict=True):
        assert boundaries.distances(*beside) == boundaries.distances(*alone)


def test_ignored_pixels_inside_the_image_make_no_boundary():
    truth = np.zeros((20, 20), bool)
    truth[5:15, 5:15] = True
    ignored, hidden = np.zeros_like(truth), truth.copy()
    ignored[8:12] = True  # a band across the object
    hidden[ignored] = False
    edge = boundaries.boundary(truth, np.zeros_like(truth))
    np.testing.assert_array_equal(boundaries.boundary(hidden, ignored), edge & ~ignored)
    assert boundaries.distances(truth, np.roll(truth, 2, axis=1), ignored).hd95 == 2


def test_where_the_boundary_is_ignored_there_is_no_distance(tmp_path):
    dataset = squares(n=4, size=(16, 24))
    around = ndimage.binary_dilation(dataset.masks == 1, np.ones((1, 3, 3), bool)) & (dataset.masks == 0)
    dataset.masks[around] = IGNORE
    assert (dataset.masks == 1).any(axis=(1, 2)).all()
    sweep = synthetic.sweep(tmp_path, dataset, lambda run, masks: 255 * (masks == 1).astype(np.uint8)[..., None])
    assert boundaries.per_image(sweep)["outcome"].eq("unknown").all()
    table = boundaries.table(sweep)
    assert table.frame["unknown"].tolist() == [4]
    assert table.note.endswith("Unknown: a boundary lies in pixels that are not scored.")


@pytest.mark.parametrize(("threshold", "levels"), [(0.3, (76, 77)), (0.5, (127, 128))])
def test_the_threshold_is_the_sweeps(tmp_path, threshold, levels):
    dataset = squares(n=4)

    def predict(run, masks):
        return np.where(masks == 1, levels[run.fold], 0).astype(np.uint8)[..., None]

    values = boundaries.per_image(synthetic.sweep(tmp_path, dataset, predict, threshold=threshold))
    outcomes = values.groupby("run")["outcome"].unique()
    assert [list(each) for each in outcomes] == [["missed"], ["measured"]]


def test_without_predictions_there_is_no_table(tmp_path):
    assert boundaries.table(synthetic.sweep(tmp_path, squares())) is None


def test_without_the_prepared_masks_there_is_no_table(tmp_path):
    sweep = synthetic.sweep(tmp_path, squares(), lambda run, masks: np.full((*masks.shape, 1), 200, np.uint8))
    (tmp_path / "data.json").unlink()
    assert boundaries.table(sweep) is None


@pytest.mark.parametrize("seed", range(3))
def test_boundaries_are_the_pixels_that_erosion_removes(seed):
    (mask,) = blobs(1, (9, 14), seed)
    cross = ndimage.generate_binary_structure(2, 1)
    found = boundaries.boundary(mask, np.zeros_like(mask))
    np.testing.assert_array_equal(found, mask & ~ndimage.binary_erosion(mask, cross))
