"""Calibration against scikit-learn's bins, and against pixels counted one by one."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report import calibration
from tests.conftest import squares
from tests.report import synthetic


def noisy(run, masks):
    rng = np.random.default_rng(run.fold)
    return np.clip(rng.normal(60 + 90 * (masks == 1), 70), 0, 255).astype(np.uint8)[..., None]


def histogram(levels, labels):
    """Return the histogram of probabilities (n, H, W, num_classes) in 255ths and labels (n, H, W)."""
    return calibration.histogram(list(zip(levels, labels, strict=True)))


def error(right, probability):
    """Return the expected calibration error of a vector of pixels: 15 bins, closed above."""
    bins = np.clip(np.ceil(np.round(15 * probability, 9)) - 1, 0, None)
    gaps = [
        abs(probability[bins == number].mean() - right[bins == number].mean()) * (bins == number).mean()
        for number in np.unique(bins)
    ]
    return sum(gaps)


def pixels(sweep):
    """Yield labels (n, H, W) and probabilities (n, H, W, num_classes) of each run."""
    _, masks, row = sweep.prepared
    for name in sweep.finished:
        yield masks[[row[image] for image in sweep.test_ids(name)]], sweep.predictions(name) / 255


def test_bins_are_scikit_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (2, 40, 50)).astype(np.uint8)
    levels = np.clip(rng.normal(100 + 60 * labels, 60), 0, 255).astype(np.uint8)
    levels[0, 0, :16] = 17 * np.arange(16)  # the bins' edges
    counted, probability, right = calibration.bins(histogram(levels[..., None], labels).sum(axis=0))
    # Slightly lower, as 17 / 255 and scikit-learn's own 1 / 15 differ in the last bit.
    expected = calibration_curve(labels.ravel(), np.clip(levels.ravel() / 255 - 1e-12, 0, 1), n_bins=15)
    np.testing.assert_allclose(right, expected[0])
    np.testing.assert_allclose(probability, expected[1], atol=1e-9)
    assert counted.sum() == labels.size


def test_the_table_of_two_classes(tmp_path):
    dataset = squares(n=8, size=(24, 32))
    dataset.masks[:, :, -3:] = IGNORE
    dataset.masks[0][dataset.masks[0] == 1] = 0  # no object, so nothing is near one
    sweep = synthetic.sweep(tmp_path, dataset, noisy)
    every, signed, close = [], [], []
    for labels, probabilities in pixels(sweep):
        p, scored = probabilities[..., 0], labels != IGNORE
        every.append(error(labels[scored] == 1, p[scored]))
        signed.append(np.mean(p[scored] - (labels[scored] == 1)))
        box = np.zeros(labels.shape, bool)
        for index, label in enumerate(labels):
            rows, columns = np.nonzero(label == 1)
            if len(rows):
                height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
                top, left = max(rows.min() - height // 2, 0), max(columns.min() - width // 2, 0)
                box[index, top : rows.max() + 1 + height // 2, left : columns.max() + 1 + width // 2] = True
        assert box[scored].mean() < 0.5
        close.append(error(labels[scored & box] == 1, p[scored & box]))
    (row,) = calibration.table(sweep).frame.to_dict("records")
    assert row["ECE (%)"] == cell(every)
    assert row["probability minus share (points)"] == cell(signed)
    assert row["ECE near the object (%)"] == cell(close)


def cell(shares):
    return f"{100 * np.mean(shares):.2f} ± {100 * np.std(shares, ddof=1):.2f}"


def test_more_classes_are_judged_by_the_most_probable_one(tmp_path):
    def predict(run, masks):
        rng = np.random.default_rng(run.fold)
        raw = rng.random((*masks.shape, 3)) + 0.3 * (masks[..., None] == np.arange(3))
        return np.round(255 * raw / raw.sum(-1, keepdims=True)).astype(np.uint8)

    sweep = synthetic.sweep(tmp_path, squares(n=6, classes=3), predict)
    expected = [error((p.argmax(-1) == labels).ravel(), p.max(-1).ravel()) for labels, p in pixels(sweep)]
    table = calibration.table(sweep)
    assert table.frame["ECE (%)"].item() == cell(expected)
    assert "most probable class" in table.note


def test_a_calibrated_prediction_has_no_error():
    """Foreground is a fifth of the pixels at 0.2 and four fifths of those at 0.8."""
    labels = np.zeros((1, 10, 10), np.uint8)
    labels[:, :5, :2] = labels[:, 5:, :8] = 1
    levels = np.full((1, 10, 10, 1), 51, np.uint8)
    levels[:, 5:] = 204
    run = histogram(levels, labels).sum(axis=0)
    assert calibration.summary(run) == pytest.approx((0, 0))
    too_sure = histogram(np.where(levels > 100, 255, 51).astype(np.uint8), labels).sum(axis=0)
    assert calibration.summary(too_sure) == pytest.approx((0.1, 0.1))


def test_a_run_without_any_object_has_no_error_near_objects():
    levels = histogram(np.full((1, 4, 4, 1), 51, np.uint8), np.zeros((1, 4, 4), np.uint8))
    assert calibration.summary(levels.sum(axis=0)) == pytest.approx((0.2, 0.2))
    assert np.isnan(calibration.summary(levels[1])).all()


def test_the_diagram_draws_what_the_bins_hold(tmp_path):
    sweep = synthetic.sweep(tmp_path, squares(), noisy, models=("unet", "sharp_unet"))
    (drawn,) = calibration.draw(sweep)
    upper, lower = drawn.figure.axes
    line = next(line for line in upper.lines if line.get_label() == "unet")
    runs = [calibration.histogram(sweep.scored(name)) for name in sweep.finished if name.startswith("unet/")]
    counted, probability, right = calibration.bins(np.sum(runs, axis=(0, 1)))
    np.testing.assert_allclose(line.get_xydata(), np.stack([probability, right], axis=-1)[counted > 0])
    np.testing.assert_allclose(lower.patches[0].get_data().values, counted / counted.sum())
    lower.set_ylim(0.2, 0.9)  # within a decade, where Matplotlib would label the minor ticks by formulas
    drawn.figure.draw_without_rendering()
    assert not any(label.get_text() for label in lower.yaxis.get_minorticklabels())


def test_without_predictions_there_is_nothing(tmp_path):
    sweep = synthetic.sweep(tmp_path, squares())
    assert calibration.table(sweep) is None
    assert calibration.draw(sweep) == []
