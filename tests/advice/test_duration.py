"""The time of a sweep, from timed steps."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from sharp_unet_jax.advice import duration
from sharp_unet_jax.advice.duration import Pace
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.training import epochs


def measured(config, sizes):
    classes = ("a", "b", "c")
    return duration.measure(
        config, "unet", sizes=np.array(sizes), channels=2, classes=classes, devices=jax.devices()[:1]
    )


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(
    ("size", "loop"),  # True on a GPU
    [
        ({"batch_size": 1}, False),
        ({"batch_size": 3, "accumulate": 2}, True),
        pytest.param({"batch_size": 2}, True, marks=pytest.mark.slow),
        pytest.param({"batch_size": 3, "accumulate": 2}, False, marks=pytest.mark.slow),
    ],
)
def test_steps_are_run_and_timed(monkeypatch, loop, size):
    monkeypatch.setattr(epochs, "build", functools.partial(epochs.build, loop=loop))
    config = Config(data=Data(size=(32, 32)), **size)
    pace = measured(config, [(32, 32)])
    assert pace.compiling > pace.training > 0  # a step of a tiny network takes milliseconds, its compiler seconds
    assert pace.scoring > 0


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(
    ("validate", "loop"),
    [
        ("images", False),
        ("crops", True),
        pytest.param("images", True, marks=pytest.mark.slow),
        pytest.param("crops", False, marks=pytest.mark.slow),
    ],
)
def test_steps_on_crops_are_timed_and_tiles_counted(monkeypatch, loop, validate):
    monkeypatch.setattr(epochs, "build", functools.partial(epochs.build, loop=loop))
    config = Config(data=Data(size=(32, 32), fit="crop", validate=validate), batch_size=2)
    pace = measured(config, [(32, 32), (32, 48), (96, 96)])
    assert pace.compiling > pace.training > 0
    assert pace.scoring > 0
    # tiles at most half a tile apart: 1, 1 x 2 and 5 x 5
    assert pace.tiles == (pytest.approx(28 / 3) if validate == "images" else 1)


SIZES = np.full((100, 2), 64)


def test_the_time_of_a_sweep_by_hand():
    config = Config(folds=5, repeats=2, epochs=10, batch_size=16, protocol="paper")
    pace = Pace(compiling=7.0, training=2.0, scoring=0.5)
    # 100 images: 80 are trained on in 5 steps, 20 are scored; 10 runs of 10 epochs
    assert duration.sweep(config, pace, SIZES) == 10 * 10 * (5 * 2.0 + 20 * 0.5) + 7
    nested = dataclasses.replace(config, protocol="nested", inner_validation=0.2)
    # 64 are trained on in 4 steps, 16 validate and 20 test
    assert duration.sweep(nested, pace, SIZES) == 10 * 10 * (4 * 2.0 + 36 * 0.5) + 7
    authors = dataclasses.replace(config, split="authors", folds=1)
    assert duration.sweep(authors, pace, SIZES) == 2 * 10 * (5 * 2.0 + 20 * 0.5) + 7
    crops = dataclasses.replace(config, data=Data(size=(32, 32), fit="crop"))
    # 80 images of 64x64 have the pixels of 320 crops, which are 20 steps; 20 images are scored whole
    assert duration.sweep(crops, pace, SIZES) == 10 * 10 * (20 * 2.0 + 20 * 0.5) + 7
    by_crops = dataclasses.replace(crops, data=dataclasses.replace(crops.data, validate="crops", crops=32))
    assert duration.sweep(by_crops, pace, SIZES) == 10 * 10 * (2 * 2.0 + 32 * 0.5) + 7
