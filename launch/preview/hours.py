"""The hours that a sweep takes on this machine, measured by a few training steps."""

from collections.abc import Sequence

import jax

from launch.preview.source import Source
from sharp_unet_jax.advice import duration
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import neighbours
from sharp_unet_jax.errors import InputError, is_out_of_memory
from sharp_unet_jax.sweeps import device_groups

MEASURED = 2  # models at most: each is compiled, which takes half a minute on a slow machine


def text(config: Config, source: Source, devices: Sequence[jax.Device]) -> str:
    """Measure the first models of the config, and say how long their runs take at most: without early stopping.

    Where a step cannot be run, say why: it is no fault of the data.
    """
    measured, said, seconds = config.models[:MEASURED], [], 0.0
    groups = device_groups.split(devices, config.devices_per_run)  # each trains runs of its own
    channels = neighbours.channels(source.channels, config.data.context)
    for model in measured:
        try:
            pace = duration.measure(config, model, channels=channels, classes=source.classes, devices=groups[0])
        except Exception as error:
            if not (isinstance(error, InputError) or is_out_of_memory(error)):
                raise
            few = f"a step of {config.batch_size} images does not fit into memory, set a smaller batch_size"
            return f"How long it takes is not known: {model}: {error if isinstance(error, InputError) else few}."
        took = duration.sweep(config, pace, len(source.ids))
        seconds += took
        said.append(f"{model} {_words(took)} ({pace.training:.3g} s a step of {config.batch_size} images)")
    others, epochs = ", ".join(config.models[MEASURED:]), f"{config.epochs} epoch{'s' * (config.epochs > 1)}"
    runs = len(measured) * config.repeats * config.folds
    return (
        f"{runs} runs of {epochs} would take "
        f"{_words(seconds / min(len(groups), runs))} here, on {len(devices)} x {devices[0].device_kind}: "
        f"{', '.join(said)}{', one after another' * (len(groups) > 1)}. Early stopping ends "
        f"most runs before.{f' Not measured: {others}.' if others else ''}"
    )


def _words(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
