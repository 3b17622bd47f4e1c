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

STEPS = 3  # that are timed, of training
LONG = 20.0  # seconds after which no further step is begun


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
    state = program.init(0)
    index, weight = train.batches(np.arange(n), config.batch_size, program.batch_size)  # no more steps than an epoch's
    ends = [time.perf_counter()]
    while len(ends) < 2 + STEPS and (len(ends) < 3 or ends[-1] - ends[1] < LONG):  # the first call compiles
        draw = np.array([0, len(ends)], np.uint32)
        state, totals = program.train(state, index, weight, config.learning_rate, False, draw)
        jax.block_until_ready(totals)
        ends.append(time.perf_counter())
    each = (ends[-1] - ends[1]) / (len(ends) - 2)
    train.evaluate(program, state, np.arange(n))
    compiled = time.perf_counter()
    train.evaluate(program, state, np.arange(n))
    ended = time.perf_counter()
    compiling = max(ends[1] - ends[0] - each, 0) + max(compiled - ends[-1] - (ended - compiled), 0)
    return Pace(compiling, each / len(index), (ended - compiled) / n)


def sweep(config: Config, pace: Pace, images: int) -> float:
    """Return the seconds of one model's runs, one after another, with all `config.epochs`: without early stopping."""
    test = images / config.folds if config.folds > 1 else images / 5  # one fold is the authors' split
    training = (images - test) * (1 - config.inner_validation if config.protocol == "nested" else 1)
    scored = test + (images - test - training)
    epoch = math.ceil(training / config.batch_size) * pace.training + scored * pace.scoring
    return config.repeats * config.folds * config.epochs * epoch + pace.compiling
