"""Sweeps on crops: the same bytes however they are trained, and records that say what was scored."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from sharp_unet_jax import decision, metrics, ragged
from sharp_unet_jax.config import MAY_CHANGE, Augment
from sharp_unet_jax.data import resize
from sharp_unet_jax.storage import run_files
from sharp_unet_jax.storage.description import read
from sharp_unet_jax.sweeps.events import EpochEnded, Started
from tests.conftest import squares
from tests.tiny_sweep import files, make, stopped_after
from tests.uneven import CROPS, uneven

pytestmark = pytest.mark.usefixtures("tiny_programs")
FEW = dataclasses.replace(CROPS, models=("sharp_unet",), epochs=3, augment=Augment(flip=0.5, rotate=20, elastic=1))


def data(config, **changes):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))


@pytest.fixture(scope="module")
def whole(tiny_programs, tmp_path_factory):
    """The folder of the sweep FEW, trained without a stop."""
    folder = tmp_path_factory.mktemp("whole") / "w"
    make(folder, uneven(), FEW)
    return folder


@pytest.mark.parametrize("epochs", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_stopped_sweep_is_resumed_to_the_same_bytes(tmp_path, whole, epochs):
    before = stopped_after(epochs, tmp_path / "w", uneven(), FEW)
    after = make(tmp_path / "w", uneven(), FEW)
    assert sum(isinstance(event, EpochEnded) for event in (*before, *after)) == 6
    assert files(tmp_path / "w") == files(whole)


def test_predictions_are_written_image_by_image_one_after_another(tmp_path, whole):
    (path, *_) = sorted(whole.glob("runs/*/*/predictions.npz"))
    kept = run_files.read_predictions(read(whole), json.loads((path.parent / "record.json").read_text()))
    joined = ragged.of(list(kept))
    with open(tmp_path / "again.npz", "wb") as file:
        np.savez_compressed(file, probabilities=joined.flat, sizes=joined.sizes)
    assert path.read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_crops_that_are_read_as_they_go_leave_the_same_bytes(tmp_path, whole):
    make(tmp_path / "w", uneven(), data(FEW, resident_gb=0.0))
    ours, theirs = files(tmp_path / "w"), files(whole)
    assert {name for name in theirs if ours[name] != theirs[name]} == {"config.json"}


@pytest.mark.slow
def test_groups_of_one_device_leave_the_same_bytes(tmp_path, whole):
    make(tmp_path / "w", uneven(), FEW, devices=2)
    assert files(tmp_path / "w") == files(whole)


@pytest.mark.parametrize("classes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_reported_counts_are_those_of_the_kept_probabilities(tmp_path, classes):
    """Whole images at their own size, by tiles; an epoch was scored on crops."""
    dataset, config = uneven(classes=classes), dataclasses.replace(data(FEW, validate="crops", crops=13), max_runs=1)
    (started,) = (event for event in make(tmp_path / "w", dataset, config) if isinstance(event, Started))
    assert (started.train_images, started.unit) == (13, "crops")
    check_counts(tmp_path / "w", dataset, dataset.masks, config)


@pytest.mark.parametrize("fit", [pytest.param("crop", marks=pytest.mark.slow), "stretch"])
def test_the_counts_at_the_resolution_of_the_files_are_those_of_the_kept_probabilities(tmp_path, fit):
    dataset = uneven(native=True)
    if fit == "stretch":
        dataset = dataclasses.replace(squares(n=8), native=uneven(native=True).native)
    config = dataclasses.replace(data(FEW, fit=fit, score="native"), max_runs=1)
    make(tmp_path / "w", dataset, config)
    record = check_counts(tmp_path / "w", dataset, dataset.native, config)
    assert record["config"]["data.score"] == "native"


def check_counts(folder, dataset, masks, config):
    """Compare per_image.parquet with predictions.npz, which is rounded to 255ths; return the record."""
    (path,) = folder.glob("runs/*/*/record.json")
    record, table = json.loads(path.read_text()), pd.read_parquet(path.parent / "per_image.parquet")
    kept = run_files.read_predictions(read(folder), record)
    classes = len(dataset.classes)
    counts = table[["intersection", "truth", "predicted"]].to_numpy().reshape(len(kept), classes, 3)
    for image, probabilities, found in zip(table["image_id"].unique(), kept, counts, strict=True):
        truth = masks[dataset.ids.index(image)]
        restored = resize.restore(probabilities.astype(np.float32) / 255, truth.shape, config.data.fit)
        unsure = (
            np.abs(restored[..., 0] - 0.5) < 0.005 if classes == 2 else np.ptp(np.sort(restored)[..., -2:], -1) < 0.01
        )
        expected = metrics.count(decision.labels(restored, 0.5), truth, classes)
        np.testing.assert_array_equal(found[:, 1], expected[:, 1])
        assert abs(found - expected).max() <= unsure.sum()
        assert unsure.mean() < 0.5 or truth.size < 10
    score = metrics.score(counts, empty="one", binary=classes == 2)
    assert record["jaccard"] == pytest.approx(score.means["jaccard"], abs=1e-9)
    return record


NEW = ("score", "scale", "spacing", "crops", "share", "foreground", "validate")


@pytest.mark.parametrize("name", [f"data.{name}" for name in (*NEW, "fit", "size")])
def test_what_decides_on_crops_or_scores_may_not_change(name):
    assert name not in MAY_CHANGE
