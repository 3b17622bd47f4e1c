"""Overlays pixel by pixel, and the choice of images for scores written by hand."""

import tracemalloc
import zlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sharp_unet_jax import metrics, ragged
from sharp_unet_jax.data.pixels import shown
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.palette import FALSE_NEGATIVE, FALSE_POSITIVE, IGNORED, OTHER_CLASS, rgb
from sharp_unet_jax.report import overlays, records
from tests.conftest import squares
from tests.edits import edit_record
from tests.report import whole


def test_every_wrong_pixel_has_one_colour():
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, IGNORE], (20, 30)).astype(np.uint8)
    predicted = rng.choice([0, 1, 2], (20, 30)).astype(np.uint8)
    masks = overlays.errors(truth, predicted)
    for (row, column), label in np.ndenumerate(truth):
        other = predicted[row, column]
        expected = {
            FALSE_POSITIVE: label == 0 and other > 0,
            FALSE_NEGATIVE: label in (1, 2) and other == 0,
            OTHER_CLASS: (label, other) in {(1, 2), (2, 1)},
        }
        assert {colour: mask[row, column] for colour, mask in masks.items()} == expected


def test_pixels_that_are_not_scored_have_a_colour_and_no_error():
    truth = np.array([[0, 1, IGNORE]])
    (colour, mask), *rest = overlays.ignored(truth).items()
    assert (colour, mask.tolist(), rest) == (IGNORED, [[False, False, True]], [])
    assert not any(errors[0, 2] for errors in overlays.errors(truth, np.array([[0, 1, 1]])).values())
    painted = overlays.paint(np.zeros((1, 3, 1), np.uint8), overlays.ignored(truth))
    assert painted[0].tolist() == [[0, 0, 0], [0, 0, 0], [round(0.75 * value) for value in rgb(IGNORED)]]


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_paint_colours_the_mask_alone(channels):
    image = np.random.default_rng(0).integers(0, 256, (6, 8, channels), np.uint8)
    mask = np.zeros((6, 8), bool)
    mask[2:4, 3:5] = True
    painted = overlays.paint(image, {"#ff8000": mask})
    mixed = (shown(image)[mask] + 3 * np.array([255.0, 128, 0])) / 4
    np.testing.assert_allclose(painted[mask], np.broadcast_to(mixed, (4, 3)), atol=0.5)
    np.testing.assert_array_equal(painted[~mask], np.broadcast_to(shown(image), (6, 8, 3))[~mask])


def test_predictions_are_of_the_first_repeat_with_the_score_of_the_records(tmp_path):
    data = squares(n=8)
    predicted = overlays.predictions(whole.sweep(tmp_path, data))
    assert set(predicted) == {"unet", "sharp_unet"}
    for model, of_model in predicted.items():
        assert set(of_model) == set(data.ids)
        for image, found in of_model.items():
            truth = data.masks[data.ids.index(image)] == 1
            np.testing.assert_array_equal(found.labels, np.roll(truth, 1 if model == "sharp_unet" else 3, axis=0))
            both, either = truth & (found.labels == 1), truth | (found.labels == 1)
            assert found.jaccard == pytest.approx(both.sum() / either.sum())
            assert found.repeat == 0


def test_without_kept_predictions_there_are_none(tmp_path):
    sweep = whole.sweep(tmp_path)
    for path in tmp_path.rglob("predictions.npz"):
        path.unlink()
    assert overlays.predictions(sweep) == {}


def test_neither_label_maps_nor_the_runs_before_stay_in_memory():
    """One byte per pixel of the data set and model would be 2; the predictions of one run are 0.2."""
    n, side = 20, 400
    runs = {f"{model}/{fold}": [f"{fold}-{k}" for k in range(n)] for model in ("a", "b") for fold in range(5)}
    rows = [
        {"model": run[0], "class": "lesion", "repeat": 0, "image_id": image} | dict.fromkeys(metrics.OVERLAPS, 0.5)
        for run, ids in runs.items()
        for image in ids
    ]

    def predictions(run):
        probabilities = np.zeros((n, side, side, 1), np.uint8)
        probabilities[:, int(run[2]) : 150, 50:150] = 255
        return ragged.Ragged(probabilities.reshape(-1, 1), np.tile([side, side], (n, 1)))

    sweep = SimpleNamespace(
        has_images=True,
        config={"threshold": 0.5},
        models=["a", "b"],
        classes=["background", "lesion"],
        per_image=pd.DataFrame(rows),
        runs=pd.DataFrame({"model": [run[0] for run in runs], "repeat": 0}, index=list(runs)),
        test_ids=runs.__getitem__,
        predictions=predictions,
    )
    tracemalloc.start()
    try:
        found = overlays.predictions(sweep)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 0.1 * 5 * n * side**2
    assert peak < 0.3 * 5 * n * side**2
    assert [found["b"][f"{fold}-3"].labels.sum() for fold in range(5)] == [100 * (150 - fold) for fold in range(5)]


def prediction(jaccard):
    return overlays.Prediction(zlib.compress(b"0"), (1, 1), jaccard, 0, "run", jaccard, 1)


def test_a_score_is_rounded_once():
    assert prediction(0.93749).score == "93.7 %"  # to four digits first it would be 93.8 %
    assert prediction(float("nan")).score == "-"


def test_images_are_chosen_by_score_each_once_and_with_something_to_find(tmp_path):
    data = squares(n=8)
    data.masks[7] = 0
    sweep = whole.sweep(tmp_path, data)
    sharp = dict(zip(data.ids, (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1, 1.0), strict=True))
    plain = dict(zip(data.ids, (0.2, 0.8, 0.1, 0.7, 0.5, 0.9, 0.1, 1.0), strict=True))
    predicted = {
        "unet": {image: prediction(score) for image, score in plain.items()},
        "sharp_unet": {image: prediction(score) for image, score in sharp.items()},
    }
    assert overlays.choose(sweep, predicted, ["unet", "sharp_unet"]) == [
        ("best of sharp_unet", data.ids[0]),  # not the empty one
        ("median of sharp_unet", data.ids[3]),
        ("worst of sharp_unet", data.ids[6]),
        ("largest lead of sharp_unet", data.ids[2]),  # 0.6; the best image leads by more but is taken
        ("largest lead of unet", data.ids[5]),
    ]
    assert [choice.why for choice in overlays.choose(sweep, predicted, ["unet"])] == [
        "best of unet",
        "median of unet",
        "worst of unet",
    ]


def test_images_of_a_run_that_failed_are_shown_as_a_later_repeat_predicts_them(tmp_path):
    data = squares(n=8)
    whole.sweep(tmp_path, data, repeats=2, seed=1)  # whose second repeat tests some of the lost images with others
    edit_record(tmp_path / "runs/unet/repeat0-fold0/record.json", status="failed")
    found = overlays.predictions(records.load(tmp_path))["unet"]
    assert set(found) == set(data.ids)
    assert {one.repeat for one in found.values()} == {0, 1}
