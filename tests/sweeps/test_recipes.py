"""Sweeps with every setting of a recipe: stopped, sharded, streamed, on several devices; and what is refused."""

import dataclasses

import jax
import numpy as np
import pytest

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.sweeps import sweep, workdir
from tests.conftest import squares
from tests.tiny_sweep import CONFIG, files, make, stopped_after

pytestmark = pytest.mark.usefixtures("tiny_programs")
# Two runs of four epochs, of two steps each.
RECIPE = dataclasses.replace(
    CONFIG,
    models=("sharp_unet",),
    epochs=4,
    optimizer="sgd",
    learning_rate=0.02,
    schedule="poly",
    warmup=1.5,
    weight_decay=1e-3,
    clip=0.5,
    ema=0.7,
    class_weights="inverse",
    checkpoint_minutes=0,
)


@pytest.fixture(scope="module")
def whole(tiny_programs, tmp_path_factory):
    """The files of the sweep RECIPE, trained without a stop."""
    folder = tmp_path_factory.mktemp("whole") / "w"
    make(folder, squares(), RECIPE)
    return files(folder)


@pytest.mark.parametrize(
    "changes",
    [pytest.param({}, marks=pytest.mark.slow), {"optimizer": "adamw", "learning_rate": 1e-3, "schedule": "cosine"}],
)
def test_a_stopped_sweep_is_resumed_to_the_same_bytes(tmp_path, dataset, changes):
    config = dataclasses.replace(RECIPE, **changes)
    make(tmp_path / "whole", dataset, config)
    stopped_after(3, tmp_path / "w", dataset, config)
    assert len(list((tmp_path / "w").glob("runs/*/*/resume/*"))) == 2
    make(tmp_path / "w", dataset, config)
    assert files(tmp_path / "w") == files(tmp_path / "whole")


@pytest.mark.slow
def test_shards_leave_the_same_bytes(tmp_path, dataset, whole):
    for i in (1, 0):
        list(sweep.train(RECIPE, dataset, tmp_path / "w", jax.devices()[:1], shard=(i, 2)))
        workdir.collect(tmp_path / "w", RECIPE)
    assert files(tmp_path / "w") == whole


@pytest.mark.slow
def test_runs_side_by_side_and_read_from_the_disk_leave_the_same_bytes(tmp_path, dataset, whole):
    """Class weights are of a fold, not of a program."""
    config = dataclasses.replace(RECIPE, data=dataclasses.replace(RECIPE.data, resident_gb=0.0))
    make(tmp_path / "w", dataset, config, devices=2)
    found = files(tmp_path / "w")
    assert {name: found[name] for name in whole if name != "config.json"} == {
        name: data for name, data in whole.items() if name != "config.json"
    }


@pytest.mark.slow
def test_devices_that_share_a_batch_train_alike(tmp_path, dataset):
    outputs = []
    for devices in (1, 2):
        config = dataclasses.replace(RECIPE, devices_per_run=devices)
        make(tmp_path / str(devices), dataset, config, devices=devices)
        run = tmp_path / str(devices) / "runs/sharp_unet/repeat0-fold1"
        outputs.append(np.load(run / "predictions.npz")["probabilities"].astype(float))
    np.testing.assert_allclose(*outputs, atol=1)  # in 255ths


def test_class_weights_of_other_classes_are_refused_before_training(tmp_path, dataset):
    config = dataclasses.replace(RECIPE, class_weights=(1.0, 2.0, 3.0))
    with pytest.raises(InputError, match="class_weights: give 2 numbers, for background, square; got"):
        make(tmp_path / "w", dataset, config)
    assert not (tmp_path / "w").exists()
