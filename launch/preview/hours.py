"""The hours that a sweep takes on this machine, measured by a few training steps."""

from collections.abc import Sequence

import jax

from launch.preview.source import Source
from sharp_unet_jax.advice import duration
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import neighbours

MEASURED = 2  # models at most: each is compiled, which takes half a minute on a slow machine


def text(config: Config, source: Source, devices: Sequence[jax.Device]) -> str:
    """Measure the first models of the config, and say how long their runs take at most: without early stopping."""
    measured, said, seconds = config.models[:MEASURED], [], 0.0
    channels = neighbours.channels(source.channels, config.data.context)
    for model in measured:
        pace = duration.measure(config, model, channels=channels, classes=source.classes, devices=devices)
        took = duration.sweep(config, pace, len(source.ids))
        seconds += took
        said.append(f"{model} {_words(took)} ({pace.training:.3g} s a step of {config.batch_size} images)")
    others, epochs = ", ".join(config.models[MEASURED:]), f"{config.epochs} epoch{'s' * (config.epochs > 1)}"
    return (
        f"{len(measured) * config.repeats * config.folds} runs of {epochs} would take "
        f"{_words(seconds)} here, on {len(devices)} x {devices[0].device_kind}: {', '.join(said)}. Early stopping ends "
        f"most runs before.{f' Not measured: {others}.' if others else ''}"
    )


def _words(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
