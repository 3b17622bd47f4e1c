"""Which runs a config asks for: their names, folds and seeds. Knows no file and trains nothing."""

import dataclasses
import difflib
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from sharp_unet_jax import losses, models, ops
from sharp_unet_jax.config import Config, check_types
from sharp_unet_jax.data import folds
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.layout import Run

Splits = dict[tuple[int, int], folds.Split]


def check(config: Config, devices: int) -> None:
    """Refuses a config that cannot run, before any work is done: InputError names the field."""
    check_types(config)
    for name in config.models:
        models.check(name)
    if not config.models or len(set(config.models)) < len(config.models):
        raise InputError(f"models: name at least one, and each once; got {', '.join(config.models) or 'none'}")
    try:
        losses.get(config.loss)
    except ValueError as error:
        raise InputError(f"loss: {error}") from error
    if config.skip_kernel not in ops.KERNELS:
        near = difflib.get_close_matches(config.skip_kernel, ops.KERNELS, n=1, cutoff=0)
        raise InputError(f"skip_kernel: no kernel {config.skip_kernel!r}; did you mean {near[0]!r}?")
    least = {
        "frozen_epochs": 0,
        "retries": 0,
        "checkpoint_minutes": 0,
        "accumulate": 1,
        "repeats": 1,
        "folds": 2,
        "batch_size": 1,
        "epochs": 1,
        "patience": 1,
        "plateau_patience": 1,
    }
    for field, low in least.items():
        if not low <= getattr(config, field) < np.inf:  # nor NaN; JSON has no infinity
            raise InputError(f"{field}: must be at least {low} and finite, got {getattr(config, field)}")
    for field in ("threshold", "inner_validation", "plateau_factor"):
        if not 0 < getattr(config, field) < 1:
            raise InputError(f"{field}: must be between 0 and 1, got {getattr(config, field)}")
    for field in ("learning_rate", "encoder_learning_rate_factor"):
        if not 0 < getattr(config, field) < np.inf:
            raise InputError(f"{field}: must be above 0, got {getattr(config, field)}")
    for field, strength in dataclasses.asdict(config.augment).items():
        most = 1 if field in ("flip", "turn") else np.inf
        if not (0 <= strength <= most and np.isfinite(strength)):
            raise InputError(f"augment.{field}: must be from 0 to {most}, got {strength}")
    if isinstance(config.loss, Mapping):
        weights = np.array(list(config.loss.values()))
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise InputError(f"loss: every weight must be a number from 0 on, and one above 0; got {config.loss}")
    if not 0 <= config.data.resident_gb < np.inf:
        raise InputError(f"data.resident_gb: must be at least 0 and finite, got {config.data.resident_gb}")
    if min(config.data.size) < 16:
        raise InputError(f"data.size: height and width must be at least 16 pixels, got {config.data.size}")
    for name in config.models:
        models.check_size(name, config.data.size, config.skip_kernel, config.skip_padding)
    if config.max_runs is not None and config.max_runs < 1:
        raise InputError(f"max_runs: must be at least 1, got {config.max_runs}")
    if not 1 <= config.devices_per_run <= devices:
        raise InputError(f"devices_per_run: {config.devices_per_run} asked for, {devices} here")


def runs(config: Config, shard: tuple[int, int] = (0, 1)) -> list[Run]:
    """The runs of a sweep, in the order they are begun: all models on a fold before the next fold.

    Shard (i, n) is every n-th of them, from the i-th on.
    """
    cells = [(r, f, m) for r in range(config.repeats) for f in range(config.folds) for m in config.models]
    return [Run(*cell) for cell in cells[: config.max_runs][shard[0] :: shard[1]]]


def every(config: Config) -> list[Run]:
    """The runs of the whole sweep, whatever `max_runs` says of how many to make now."""
    return runs(dataclasses.replace(config, max_runs=None))


def split(config: Config, dataset: Dataset) -> Splits:
    """Training, validation and test indices of every repeat and fold; InputError where there are too few images."""
    try:
        return divide(config, dataset.ids, dataset.groups)
    except ValueError as error:
        raise InputError(f"{dataset.name}: {error}") from error


def divide(config: Config, ids: Sequence[str], groups: Sequence[str]) -> Splits:
    """The same of images that are no data set yet; ValueError where there are too few."""
    return folds.plan(
        ids,
        groups,
        folds=config.folds,
        repeats=config.repeats,
        grouped=config.grouped,
        protocol=config.protocol,
        validation=config.inner_validation,
        seed=config.seed,
    )


def seed(config: Config, run: Run) -> int:
    """Of a run's weights and data order. It leaves out the model: twins start alike and see the same batches."""
    text = f"{config.seed}/repeat{run.repeat}-fold{run.fold}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
