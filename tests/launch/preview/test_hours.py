"""The hours of a sweep, from steps that are timed."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from launch.preview import hours
from launch.preview.source import Source
from sharp_unet_jax.advice import duration
from sharp_unet_jax.advice.duration import Pace
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.errors import InputError

SOURCE = Source("mine", ["x"] * 100, ["x"] * 100, ("a", "b"), 3, None, {}, "", [], [])
SIZES = np.full((100, 2), 32)
CONFIG = Config(data=Data(size=(32, 32)), models=("unet", "sharp_unet", "wide_unet"), epochs=10, repeats=1)


def test_the_hours_of_two_models_and_the_names_of_the_others(monkeypatch):
    paces = {"unet": Pace(0.0, 2.0, 0.5), "sharp_unet": Pace(0.0, 4.0, 0.5)}
    monkeypatch.setattr(duration, "measure", lambda config, model, **options: paces[model])
    # 5 runs of 10 epochs: 5 steps and 20 images each
    assert hours.text(CONFIG, SOURCE, SIZES, jax.devices()[:1]) == (
        "10 runs of 10 epochs would take 41.7 minutes here, on 1 x cpu: unet 16.7 minutes (2 s per step of 16 images), "
        "sharp_unet 25.0 minutes (4 s per step of 16 images). Early stopping ends most runs before. Not measured: "
        "wide_unet."
    )


def test_groups_of_devices_train_side_by_side(monkeypatch):
    seen = []

    def measure(config, model, *, devices, **options):
        seen.append(len(devices))
        return Pace(0.0, 2.0, 0.5)

    monkeypatch.setattr(duration, "measure", measure)
    config = dataclasses.replace(CONFIG, models=("unet",), devices_per_run=2)
    # 1000 s in all, by two groups of two devices; the fifth device is idle
    assert hours.text(config, SOURCE, SIZES, jax.devices()[:5]).startswith(
        "5 runs of 10 epochs would take 8.3 minutes here"
    )
    assert seen == [2]


@pytest.mark.parametrize("error", [MemoryError(), InputError("no such network")])
def test_a_step_that_cannot_run_fails_nothing(monkeypatch, error):
    def measure(config, model, **options):
        raise error

    monkeypatch.setattr(duration, "measure", measure)
    said = hours.text(CONFIG, SOURCE, SIZES, jax.devices()[:1])
    why = str(error) or "a step of 16 images does not fit into memory, set a smaller batch_size"
    assert said == f"How long it takes is not known: unet: {why}."


@pytest.mark.parametrize(
    ("validate", "said"),
    [
        # 64x64 pixels are 4 crops of 32x32, but 9 tiles: they overlap by a half
        ("images", "All 100 images would be 400 crops per epoch, and are scored by 900 tiles."),
        ("crops", "All 100 images would be 400 crops per epoch, and are scored by crops."),
    ],
)
def test_crops_of_an_epoch_and_tiles_of_a_scoring(monkeypatch, validate, said):
    monkeypatch.setattr(duration, "measure", lambda config, model, **options: Pace(0.0, 2.0, 0.5, 9.0))
    config = dataclasses.replace(CONFIG, models=("unet",), data=Data(fit="crop", size=(32, 32), validate=validate))
    text = hours.text(config, SOURCE, 2 * SIZES, jax.devices()[:1])
    assert text.endswith(said)
    assert "s per step of 16 crops" in text
    # 5 runs of 10 epochs: 20 steps of 16 of 320 crops, and 20 images or 80 crops
    seconds = 5 * 10 * (20 * 2 + (20 if validate == "images" else 80) * 0.5)
    assert f"would take {hours._words(seconds)} here" in text


@pytest.mark.slow  # tests/advice/test_duration.py runs the same steps
@pytest.mark.usefixtures("tiny_models")
def test_steps_are_run():
    said = hours.text(CONFIG, SOURCE, SIZES, jax.devices()[:1])
    assert re.search(r"unet \d[\d.]* (seconds|minutes) \([\d.e-]+ s per step", said)


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.2, "3 seconds"), (90, "1.5 minutes"), (7200, "2.0 hours"), (200000, "2.3 days")]
)
def test_a_time_in_the_unit_that_suits_it(seconds, words):
    assert hours._words(seconds) == words
