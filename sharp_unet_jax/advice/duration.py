"""The time that a sweep takes on these devices, from a few steps that are run and timed."""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.training import epochs, train

STEPS = 3  # that are timed, of each kind


class Pace(NamedTuple):
    """Measured seconds of a model."""

    compiling: float  # until the first step of training and of evaluation has ended
    training: float  # a step
    scoring: float  # an image


def measure(
    config: Config, model: str, *, channels: int, classes: Sequence[str], devices: Sequence[jax.Device]
) -> Pace:
    """Compile `model`, train it on noise for a few steps on `devices`, and time them.

    Args:
        config: its batch size, image size, precision and loss.
        model: a name in `models.MODELS`.
        channels: of the images.
        classes: names, background first.
        devices: they share every batch.
    """
    rng, n = np.random.default_rng(0), max(config.batch_size, 2)
    images = rng.integers(0, 256, (n, *config.data.size, channels), np.uint8)
    masks = rng.integers(0, len(classes), (n, *config.data.size), np.uint8)
    names = tuple(map(str, range(n)))
    noise = Dataset("noise", images, masks, names, names, tuple(classes))
    program = epochs.build(config, model, noise, epochs.put(noise, devices), devices)
    state, order = program.init(0), np.tile(np.arange(n), STEPS)[: STEPS * config.batch_size]
    index, weight = train.batches(order, config.batch_size, program.batch_size)
    began = time.perf_counter()
    for draw in range(2):  # the first call compiles
        ended = time.perf_counter()
        state, totals = program.train(state, index, weight, config.learning_rate, False, np.array([0, draw], np.uint32))
        jax.block_until_ready(totals)
        training = (time.perf_counter() - ended) / len(index)
    train.evaluate(program, state, np.arange(n))
    compiled = time.perf_counter()
    train.evaluate(program, state, np.arange(n))
    scoring = (time.perf_counter() - compiled) / n
    return Pace(compiled - began - len(index) * training, training, scoring)


def sweep(config: Config, pace: Pace, images: int) -> float:
    """Return the seconds that one model's runs take at most: those of all `config.epochs`, without early stopping."""
    test = images / config.folds if config.folds > 1 else images / 5  # one fold is the authors' split
    training = (images - test) * (1 - config.inner_validation if config.protocol == "nested" else 1)
    scored = test + (images - test - training)
    epoch = math.ceil(training / config.batch_size) * pace.training + scored * pace.scoring
    return config.repeats * config.folds * config.epochs * epoch + pace.compiling
