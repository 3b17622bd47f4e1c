"""The hours that a sweep takes on this machine, measured by a few training steps."""

from collections.abc import Sequence

import jax
import numpy as np
from numpy.typing import NDArray

from launch.preview.source import Source
from sharp_unet_jax.advice import duration
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import crops, neighbours
from sharp_unet_jax.errors import InputError, is_out_of_memory
from sharp_unet_jax.sweeps import device_groups

MEASURED = 2  # models at most: each is compiled, which takes half a minute on a slow machine


def text(config: Config, source: Source, sizes: NDArray[np.int64], devices: Sequence[jax.Device]) -> str:
    """Measure the first models of the config, and say how long their runs take at most: without early stopping.

    `sizes` are heights and widths of the images at the resolution of training, (n, 2).
    Where a step cannot be run, say why: it is no fault of the data.
    """
    measured, said, seconds = config.models[:MEASURED], [], 0.0
    groups = device_groups.split(devices, config.devices_per_run)  # each trains runs of its own
    channels = neighbours.channels(source.channels, config.data.context)
    what = "crops" if config.data.fit == "crop" else "images"
    tiles = 0.0  # of an image, if it is scored by them
    for model in measured:
        try:
            pace = duration.measure(
                config, model, sizes=sizes, channels=channels, classes=source.classes, devices=groups[0]
            )
        except Exception as error:
            if not (isinstance(error, InputError) or is_out_of_memory(error)):
                raise
            few = f"a step of {config.batch_size} {what} does not fit into memory, set a smaller batch_size"
            return f"How long it takes is not known: {model}: {error if isinstance(error, InputError) else few}."
        took = duration.sweep(config, pace, sizes)
        seconds, tiles = seconds + took, pace.tiles
        said.append(f"{model} {_words(took)} ({pace.training:.3g} s per step of {config.batch_size} {what})")
    others, epochs = ", ".join(config.models[MEASURED:]), f"{config.epochs} epoch{'s' * (config.epochs > 1)}"
    runs = len(measured) * config.repeats * config.folds
    return (
        f"{runs} runs of {epochs} would take "
        f"{_words(seconds / min(len(groups), runs))} here, on {len(devices)} x {devices[0].device_kind}: "
        f"{', '.join(said)}{', one after another' * (len(groups) > 1)}. Early stopping ends "
        f"most runs before.{f' Not measured: {others}.' if others else ''}{_of_crops(config, sizes, tiles)}"
    )


def _of_crops(config: Config, sizes: NDArray[np.int64], tiles: float) -> str:
    """Say how many crops an epoch of all images has, and by how many tiles these are scored."""
    if config.data.fit != "crop":
        return ""
    scored = "crops" if config.data.validate == "crops" else f"{round(tiles * len(sizes))} tiles"
    number = crops.count(config.data, sizes)
    return f" All {len(sizes)} images would be {number} crops per epoch, and are scored by {scored}."


def _words(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
