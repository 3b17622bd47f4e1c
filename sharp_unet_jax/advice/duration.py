"""The time that a sweep takes on these devices, from a few steps that are run and timed."""

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax import ragged
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import crops, tiles
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.training import epochs, train

STEPS = 3  # that are timed, of training
LONG = 20.0  # seconds after which no further step is begun


class Pace(NamedTuple):
    """Measured seconds of a model."""

    compiling: float  # until the first step of training and of evaluation has ended
    training: float  # a step
    scoring: float  # an image on average, or a crop if epochs are scored on crops
    tiles: float = 1.0  # of an image on average


def measure(
    config: Config,
    model: str,
    *,
    sizes: NDArray[np.int64],
    channels: int,
    classes: Sequence[str],
    devices: Sequence[jax.Device],
) -> Pace:
    """Compile `model`, train it on noise for a few steps on `devices`, and time them.

    Args:
        config: its batch size, size, precision and loss.
        model: a name in `models.MODELS`.
        sizes: heights and widths of the images at the resolution of training, (n, 2).
        channels: of the images.
        classes: names, background first.
        devices: they share every batch.
    """
    n = max(config.batch_size, 2)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, crops=n))
    noise = _noise(config, n, sizes, channels, classes)
    program = epochs.build(config, model, noise, epochs.put(noise, devices), devices)
    state, images = program.init(0), np.arange(len(noise.ids))
    order = train.order_of(noise, config, images, 0, 1)
    index, weight = train.batches(order, config.batch_size, program.batch_size)  # no more steps than an epoch's
    ends = [time.perf_counter()]
    while len(ends) < 2 + STEPS and (len(ends) < 3 or ends[-1] - ends[1] < LONG):  # the first call compiles
        draw = np.array([0, len(ends)], np.uint32)
        state, totals = program.train(state, index, weight, config.learning_rate, False, draw)
        jax.block_until_ready(totals)
        ends.append(time.perf_counter())
    each = (ends[-1] - ends[1]) / (len(ends) - 2)
    whole = config.data.fit == "crop" and config.data.validate == "images"

    def score() -> None:
        if whole:
            train.evaluate_whole(program, state.params, state.stats, images)
        else:
            train.evaluate(program, state, order)

    score()
    compiled = time.perf_counter()
    score()
    ended = time.perf_counter()
    compiling = max(ends[1] - ends[0] - each, 0) + max(compiled - ends[-1] - (ended - compiled), 0)
    if not whole:
        return Pace(compiling, each / len(index), (ended - compiled) / n)
    size, stride = config.data.size, program.definition.stride
    here, on_average = (tiles_of(some, size, stride) for some in (noise.sizes, sizes))
    return Pace(compiling, each / len(index), (ended - compiled) / len(images) * on_average / here, on_average)


def _noise(config: Config, n: int, sizes: NDArray[np.int64], channels: int, classes: Sequence[str]) -> Dataset:
    """Return n images of noise; for crops one image of a few tiles."""
    rng, size = np.random.default_rng(0), config.data.size
    if config.data.fit == "crop":
        height, width = np.minimum(np.max(sizes, axis=0), 2 * np.array(size)).tolist()
        n, size = 1, (height, width)
    images = rng.integers(0, 256, (n, *size, channels), np.uint8)
    masks = rng.integers(0, len(classes), (n, *size), np.uint8)
    names = tuple(map(str, range(n)))
    if config.data.fit == "crop":
        return Dataset("noise", ragged.of([*images]), ragged.of([*masks]), names, names, tuple(classes))
    return Dataset("noise", images, masks, names, names, tuple(classes))


def tiles_of(sizes: NDArray[np.int64], tile: tuple[int, int], stride: int) -> float:
    """Return the mean number of tiles of images with these heights and widths (n, 2)."""
    rows, columns = (
        np.array([len(tiles.starts(length, side, stride)) for length in lengths.tolist()])
        for lengths, side in zip(sizes.T, tile, strict=True)
    )
    return float(np.mean(rows * columns))


def seen(config: Config, sizes: NDArray[np.int64], images: float) -> float:
    """Return the number of images, or crops, that an epoch on so many of all images has.

    `sizes` (n, 2) are of all, at the resolution of training.
    """
    if config.data.fit != "crop":
        return images
    return config.data.crops or images / len(sizes) * crops.count(config.data, sizes)


def sweep(config: Config, pace: Pace, sizes: NDArray[np.int64]) -> float:
    """Return the seconds of one model's runs, one after another, with all `config.epochs`: without early stopping.

    `sizes` are those of `seen`.
    """
    images = len(sizes)
    test = images / config.folds if config.folds > 1 else images / 5  # one fold is the authors' split
    training = (images - test) * (1 - config.inner_validation if config.protocol == "nested" else 1)
    parts = [test, images - test - training]  # are scored
    if config.data.validate == "crops":
        parts = [seen(config, sizes, part) for part in parts if part]
    steps = math.ceil(seen(config, sizes, training) / config.batch_size)
    epoch = steps * pace.training + sum(parts) * pace.scoring
    return config.repeats * config.folds * config.epochs * epoch + pace.compiling
