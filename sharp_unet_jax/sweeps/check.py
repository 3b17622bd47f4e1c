"""Refuse a sweep that cannot run before any image is read: by its config, the files that it names, and its workdir."""

import dataclasses
import difflib
import functools
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from pathlib import Path

from flax import nnx

from sharp_unet_jax import losses, models, ops
from sharp_unet_jax.config import Config, Data, check_types
from sharp_unet_jax.data import pixels, split_file
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import atomic, lock
from sharp_unet_jax.sweeps import workdir
from sharp_unet_jax.training import network
from sharp_unet_jax.weights import pretrained

Rule = tuple[str, Callable[[float], bool]]  # what a field must be, in words and as a test; NaN passes no test


def _from(low: float, high: float) -> Rule:
    return f"from {low} to {high}", lambda value: low <= value <= high


_FINITE: Rule = "at least 0 and finite", lambda value: 0 <= value < math.inf  # JSON has no infinity
_SHARE: Rule = "between 0 and 1", lambda value: 0 < value < 1
_FLOAT32: Rule = "above 0 and at most 1e38", lambda value: 0 < value <= 1e38  # float32 ends at 3.4e38
_EPOCHS = 1_000_000
SMALLEST, LARGEST = 16, 16384  # pixels of a side of data.size
_DIVISIONS = 10_000  # folds x repeats: each holds the indices of all images

RULES: dict[str, Rule] = {
    "frozen_epochs": _from(0, _EPOCHS),
    "retries": _from(0, 1000),
    "checkpoint_minutes": _FINITE,
    "accumulate": _from(1, 1000),
    "repeats": _from(1, _DIVISIONS),
    "folds": _from(1, _DIVISIONS),
    "batch_size": _from(1, 1_000_000),
    "epochs": _from(1, _EPOCHS),
    "patience": _from(1, _EPOCHS),
    "plateau_patience": _from(1, _EPOCHS),
    "min_delta": _FINITE,
    "plateau_min_delta": _FINITE,
    "min_learning_rate": _FINITE,
    "seed": _from(0, 2**32 - 1),
    "threshold": _SHARE,
    "inner_validation": _SHARE,
    "plateau_factor": _SHARE,
    "learning_rate": _FLOAT32,
    "warmup": _FINITE,
    "weight_decay": _from(0, 1),
    "clip": _from(0, 1e38),
    "ema": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "encoder_learning_rate_factor": _FLOAT32,
    "augment.flip": _from(0, 1),
    "augment.turn": _from(0, 1),
    "augment.rotate": _from(0, 180),
    "augment.zoom": _from(0, 10),
    "augment.shift": _from(0, 1),
    "augment.elastic": _from(0, 100),
    "augment.brightness": _from(0, 1),
    "augment.contrast": _from(0, 10),
    "augment.gamma": _from(0, 10),
    "augment.blur": _from(0, 20),  # a filter of 6 x blur + 1 taps, each an operation of the compiled step
    "augment.noise": _from(0, 1),
    "data.resident_gb": _FINITE,
    "data.context": _from(0, 8),
    "data.scale": _from(1 / 64, 64),
    "data.spacing": _from(0, 1000),
    "data.crops": _from(0, 10_000_000),
    "data.foreground": _from(0, 1),
}

CROPS_ALONE = ("scale", "spacing", "crops", "share", "foreground", "validate")  # fields of data that others ignore
_DATA = [each.name for each in dataclasses.fields(Data)]
FOLDER_ALONE = tuple(_DATA[_DATA.index("images") :])  # fields of data that only the builder "folder" reads


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
        _check_weights("loss", config.loss.values(), config.loss)
    if config.deep_supervision:
        _check_weights("deep_supervision", config.deep_supervision, config.deep_supervision)
        heads = [models.check_heads(name, config.deep_supervision) for name in config.models]
        if max(heads) < 2:
            raise InputError("deep_supervision: is only for networks with several heads, such as unetpp_deep")
        predicting = config.deep_supervision[-1:] if config.prediction_head == "last" else config.deep_supervision
        if 0 in predicting:
            raise InputError(
                f"deep_supervision: a head of weight 0 is not trained, and prediction_head={config.prediction_head} "
                f"predicts with it; got {config.deep_supervision}"
            )
    _check_recipe(config)
    if config.folds * config.repeats > _DIVISIONS:
        raise InputError(f"folds: folds x repeats must be at most {_DIVISIONS}, got {config.folds * config.repeats}")
    if not all(SMALLEST <= side <= LARGEST for side in config.data.size):
        raise InputError(
            f"data.size: height and width must be from {SMALLEST} to {LARGEST} pixels, got {config.data.size}"
        )
    if config.data.fit != "crop":
        for name in CROPS_ALONE:
            if (value := getattr(config.data, name)) != getattr(Data(), name):
                raise InputError(f"data.{name}: is only for data.fit=crop; got {value} with data.fit={config.data.fit}")
    elif config.data.scale != 1 and config.data.spacing:
        raise InputError("data.scale: the images' resolution is set by data.spacing already; give one of the two")
    if config.data.window:
        pixels.check_window("data.window", config.data.window)
    if config.data.builder != "folder":
        for name in FOLDER_ALONE:
            if (value := getattr(config.data, name)) != getattr(Data(), name):
                raise InputError(
                    f"data.{name}: is only for data.builder=folder, your own files; got {value} with "
                    f"data.builder={config.data.builder}"
                )
    if config.data.classes:
        classes(config, list(dict.fromkeys(name.rpartition("=")[0] or name for name in config.data.classes)))
    for name in config.models:
        models.check_size(name, config.data.size, config.skip_kernel, config.skip_padding)
    if config.max_runs is not None and not 1 <= config.max_runs <= 1_000_000:
        raise InputError(f"max_runs: must be from 1 to 1000000, or None; got {config.max_runs}")
    if not 1 <= config.devices_per_run <= devices:
        raise InputError(f"devices_per_run: {config.devices_per_run} asked for, {devices} here")
    if config.accumulate > config.batch_size:
        each = f"each of {config.accumulate} parts; give at most {config.batch_size}"
        raise InputError(f"accumulate: batch_size={config.batch_size} has no image for {each}")


def files(config: Config) -> None:
    """Refuse a split file or pretrained weights that fit no images; fetch the weights of ImageNet.

    Whether they fit the images too is seen when these are read. Raises InputError for a config that `config` accepts.
    """
    if config.split not in ("folds", "authors"):
        split_file.check(Path(os.path.expanduser(config.split)), folds=config.folds, repeats=config.repeats)
    for name in config.models if config.weights else ():
        pretrained.check_fits(name, config.weights, functools.partial(_network, config, name))


def _network(config: Config, model: str, channels: int) -> models.Segmenter:
    """Return the shapes of a network for images of so many channels; the number of classes matters to no weights."""
    return nnx.eval_shape(lambda: network.build(config, model, num_classes=1, channels=channels, rngs=nnx.Rngs(0)))


def folder(config: Config, path: Path, shard: tuple[int, int] = (0, 1)) -> None:
    """Refuse a workdir that cannot be written, holds something else than the config's sweep, or where it runs already.

    Nothing is made there. Raises InputError.
    """
    atomic.check_writable(path)
    workdir.check_folder(path)
    workdir.check_config(path, config)
    lock.check(path, shard)


def classes(config: Config, names: Sequence[str]) -> None:
    """Refuse a config whose class weights are not those of the classes `names`. Raises InputError."""
    weights = config.class_weights
    if weights and weights != "inverse" and len(weights) != len(names):
        raise InputError(f"class_weights: give {len(names)} numbers, for {', '.join(names)}; got {weights}")


def _check_recipe(config: Config) -> None:
    """Refuse settings of the optimizer and of class weights that contradict each other."""
    if config.warmup >= config.epochs:
        raise InputError(f"warmup: must be less than epochs={config.epochs}, got {config.warmup}")
    if config.optimizer == "adamw" and not config.weight_decay:
        raise InputError("optimizer: without weight_decay adamw is adam; set weight_decay, such as 0.01")
    if config.schedule == "plateau" and config.min_learning_rate > config.learning_rate:
        raise InputError(
            f"min_learning_rate: must be at most learning_rate={config.learning_rate}, got {config.min_learning_rate}"
        )
    weights = config.class_weights
    if weights and weights != "inverse":
        _check_weights("class_weights", weights, weights)
    names = [config.loss] if isinstance(config.loss, str) else [name for name, share in config.loss.items() if share]
    if names == ["boundary"]:
        raise InputError(
            "loss: boundary alone has no minimum at the truth; add another, as in {'dice': 1, 'boundary': 0.01}"
        )
    if weights and not set(names) & set(losses.CLASS_WEIGHTED):
        raise InputError(f"class_weights: are only for {' and '.join(losses.CLASS_WEIGHTED)}, not {', '.join(names)}")


def _check_weights(field: str, weights: Collection[float], given: object) -> None:
    if not (all(0 <= weight <= 1e38 for weight in weights) and any(weights)):
        raise InputError(f"{field}: every weight must be a number from 0 to 1e38, and one above 0; got {given}")


def _check_names(config: Config) -> None:
    """Refuse names of networks, losses and kernels that there are not, with the nearest known one."""
    for name in config.models:
        models.check(name)
        pretrained.check(name, config.weights)
    if not config.models or len(set(config.models)) < len(config.models):
        raise InputError(f"models: name at least one, and each once; got {', '.join(config.models) or 'none'}")
    try:
        losses.get(config.loss)
    except ValueError as error:
        raise InputError(f"loss: {error}") from error
    if config.skip_kernel not in ops.KERNELS:
        near = difflib.get_close_matches(config.skip_kernel, ops.KERNELS, n=1, cutoff=0)
        raise InputError(f"skip_kernel: no kernel {config.skip_kernel!r:.200}; did you mean {near[0]!r}?")
