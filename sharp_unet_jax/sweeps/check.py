"""Refuse a config that cannot run, before any work is done."""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter

from sharp_unet_jax import losses, models, ops
from sharp_unet_jax.config import Augment, Config, check_types
from sharp_unet_jax.errors import InputError

Rule = tuple[str, Callable[[float], bool]]  # what a field must be, in words and as a test; NaN passes no test


def _at_least(low: float) -> Rule:
    return f"at least {low} and finite", lambda value: low <= value < math.inf  # JSON has no infinity


def _from_0_to(high: float) -> Rule:
    return f"from 0 to {high}", lambda value: 0 <= value <= high and value < math.inf


_SHARE: Rule = "between 0 and 1", lambda value: 0 < value < 1
_RATE: Rule = "above 0", lambda value: 0 < value < math.inf

RULES: dict[str, Rule] = {
    "frozen_epochs": _at_least(0),
    "retries": _at_least(0),
    "checkpoint_minutes": _at_least(0),
    "accumulate": _at_least(1),
    "repeats": _at_least(1),
    "folds": _at_least(1),
    "batch_size": _at_least(1),
    "epochs": _at_least(1),
    "patience": _at_least(1),
    "plateau_patience": _at_least(1),
    "min_delta": _at_least(0),
    "plateau_min_delta": _at_least(0),
    "min_learning_rate": _at_least(0),
    "threshold": _SHARE,
    "inner_validation": _SHARE,
    "plateau_factor": _SHARE,
    "learning_rate": _RATE,
    "encoder_learning_rate_factor": _RATE,
    **{
        f"augment.{field.name}": _from_0_to(1 if field.name in ("flip", "turn") else math.inf)
        for field in fields(Augment)
    },
    "data.resident_gb": _at_least(0),
}


def config(config: Config, devices: int) -> None:
    """Refuse a config that cannot run on so many devices. Raises InputError, which names the field."""
    check_types(config)
    _check_names(config)
    for field, (words, allows) in RULES.items():
        value = attrgetter(field)(config)
        if not allows(value):
            raise InputError(f"{field}: must be {words}, got {value}")
    if config.split == "folds" and config.folds < 2:
        raise InputError(f"folds: must be at least 2, got {config.folds}")
    if config.split == "authors" and config.folds != 1:
        raise InputError(f"folds: split=authors is one division of the images, so set folds=1; got {config.folds}")
    if isinstance(config.loss, Mapping):
        weights = config.loss.values()
        if not (all(0 <= weight < math.inf for weight in weights) and any(weights)):
            raise InputError(f"loss: every weight must be a number from 0 on, and one above 0; got {config.loss}")
    if min(config.data.size) < 16:
        raise InputError(f"data.size: height and width must be at least 16 pixels, got {config.data.size}")
    for name in config.models:
        models.check_size(name, config.data.size, config.skip_kernel, config.skip_padding)
    if config.max_runs is not None and config.max_runs < 1:
        raise InputError(f"max_runs: must be at least 1, got {config.max_runs}")
    if not 1 <= config.devices_per_run <= devices:
        raise InputError(f"devices_per_run: {config.devices_per_run} asked for, {devices} here")


def _check_names(config: Config) -> None:
    """Refuse names of networks, losses and kernels that there are not, with the nearest known one."""
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
