"""Predictions that look at no image, against scikit-learn and the definition of micro averages."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report import baselines
from tests.conftest import squares
from tests.report import synthetic
from tests.report.test_conventions import noisy, three_classes


@pytest.fixture(scope="module", params=[2, 3])
def sweep(request, tmp_path_factory):
    dataset = squares(n=9, classes=request.param)
    dataset.masks[:, :, :2] = IGNORE
    folder = tmp_path_factory.mktemp("sweep")
    return synthetic.sweep(folder, dataset, noisy if request.param == 2 else three_classes, repeats=2)


def expected(sweep, predict):
    """Return the four columns, in per cent, of predict(training masks, masks of the test images)."""
    _, masks, row = sweep.prepared
    labels = [1] if len(sweep.classes) == 2 else range(len(sweep.classes))
    folds = []
    for name in sweep.finished:
        test = [row[image] for image in sweep.test_ids(name)]
        training = np.setdiff1d(np.arange(len(masks)), test)
        images = []
        for truth, mask in zip(masks[test], predict(masks[training], masks[test]), strict=True):
            pair = truth[truth != IGNORE], mask[truth != IGNORE]
            macro = {"average": "macro", "labels": list(labels), "zero_division": 1.0}
            micro = {"average": "micro", "labels": range(len(sweep.classes))}
            images.append([score(*pair, **rule) for rule in (macro, micro) for score in (jaccard_score, f1_score)])
        folds.append(np.mean(images, axis=0))
    return 100 * np.mean(folds, axis=0)


def cells(sweep, row):
    frame = baselines.table(sweep).frame.set_index("prediction")
    return [float(cell.split(" ± ")[0]) for cell in frame.loc[row]]


def test_one_class_everywhere(sweep):
    for label, name in enumerate(sweep.classes):
        found = expected(sweep, lambda _, masks, label=label: np.full_like(masks, label))
        assert cells(sweep, f"all {name}") == pytest.approx(found, abs=0.006)


def test_the_mean_mask_is_that_of_the_training_images(sweep):
    def predict(training, masks):
        votes = np.stack([(training == label).sum(axis=0) for label in range(len(sweep.classes))])
        return np.broadcast_to(votes.argmax(axis=0), masks.shape)

    assert cells(sweep, baselines.MEAN_MASK) == pytest.approx(expected(sweep, predict), abs=0.006)


def test_masks_are_counted_one_by_one():
    """The masks of all folds are 1; a byte per pixel of a fold would be 0.5."""
    masks = np.random.default_rng(0).integers(0, 2, (400, 32, 32), np.uint8)
    ids = [f"{k}" for k in range(400)]
    sweep = SimpleNamespace(
        prepared=(None, masks, {image: row for row, image in enumerate(ids)}),
        classes=["background", "lesion"],
        training_ids=lambda _: ids[:200],
        test_ids=lambda _: ids[200:],
    )
    tracemalloc.start()
    try:
        counts = baselines._mean_mask(sweep, "run")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.4 * masks.nbytes
    mean = masks[:200].mean(axis=0) > 0.5
    np.testing.assert_array_equal(counts[:, 1, 0], (masks[200:] & mean).sum(axis=(1, 2)))
    np.testing.assert_array_equal(counts[:, 1, 2], np.full(200, mean.sum()))


def test_models_come_first_with_their_reported_scores(sweep):
    frame = baselines.table(sweep).frame
    assert frame["prediction"].tolist() == ["unet", *(f"all {name}" for name in sweep.classes), baselines.MEAN_MASK]
    assert cells(sweep, "unet")[0] == pytest.approx(100 * sweep.runs["jaccard"].mean(), abs=0.006)


def test_all_background_scores_high_by_the_micro_average_alone():
    """An object of 10 pixels in an image of 100: micro Jaccard 90 / 110."""
    counts = baselines.everywhere(np.array([[90, 10]]), 0)
    scores = baselines.conventions.from_counts(counts, empty="one", batch=1)
    assert scores[baselines.conventions.MICRO]["jaccard"] == pytest.approx(90 / 110)
    assert scores[baselines.conventions.REPORTED]["jaccard"] == 0


def test_without_prepared_masks_there_is_no_mean_mask(tmp_path):
    sweep = synthetic.sweep(tmp_path, squares(), noisy)
    (tmp_path / "data.json").unlink()
    assert baselines.MEAN_MASK not in baselines.table(sweep).frame["prediction"].tolist()
