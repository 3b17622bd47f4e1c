"""A shared model: the folder that `launch.export --format=hub` writes, for the Hugging Face hub or any other place.

It holds README.md, the model card; config.json, all that predicting needs beside the weights; and model.safetensors,
the weights of every run as "unet/repeat0-fold0/encoder.conv1.kernel". It names no folder of the machine, no image and
no group.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
import safetensors.numpy
from flax import nnx
from msgspec import Meta

from sharp_unet_jax import __version__
from sharp_unet_jax.config import Config, check_types, config_of
from sharp_unet_jax.data import resident
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import export, stored
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.storage import choice, contents
from sharp_unet_jax.storage.atomic import write_json, write_text
from sharp_unet_jax.storage.layout import CONFIG, FOLDS
from sharp_unet_jax.storage.reading import checked, damaged, read_json
from sharp_unet_jax.weights import files

CARD, WEIGHTS = "README.md", "model.safetensors"
FILES = (CONFIG, WEIGHTS)  # those that are read
LIBRARY = "sharp_unet_jax"
FORMAT = 1  # raised when an earlier version could not read config.json, or would predict something else
_REMEDY = "download it again, or export it again"


class SharedRun(TypedDict):
    """A run in config.json: the fields of its record that a card and `repr` need."""

    run: str  # "unet/repeat0-fold0"
    model: contents.Name
    weights_sha256: str
    images: contents.Images
    jaccard: contents.Score
    dice: contents.Score
    best_epoch: contents.Number
    epochs: contents.Number


class Shared(TypedDict):
    """config.json."""

    library: str
    version: str  # of the library that wrote it
    format: int
    dataset: str
    classes: Annotated[list[str], Meta(min_length=2)]  # background first
    channels: contents.Number
    window: contents.Window | None
    clipped: contents.Pair | None
    rule: contents.RuleFields | None  # of masks, if one was chosen
    config: dict[str, Any]  # settings of the sweep
    runs: Annotated[list[SharedRun], Meta(min_length=1)]


def write(folder: Path, runs: Sequence[Trained], card: str) -> None:
    """Write the model to an empty folder. `runs` are of one sweep and predict together."""
    first = runs[0]
    write_json(
        folder / CONFIG,
        {
            "library": LIBRARY,
            "version": __version__,
            "format": FORMAT,
            "dataset": first.dataset,
            "classes": first.classes,
            "channels": first.channels,
            "window": first.window,
            "clipped": first.clipped,
            "rule": first.chosen._asdict() if first.chosen else None,
            "config": export.settings(first.config),
            "runs": [_described(run) for run in runs],
        },
    )
    tensors = {_name(run.name, key): array for run in runs for key, array in stored.named(run.weights).items()}
    # `save_file` would make a file that only its owner may read, on a shared drive.
    (folder / WEIGHTS).write_bytes(safetensors.numpy.save(tensors))
    write_text(folder / CARD, card)


def is_in(folder: Path) -> bool:
    """Say whether a folder is that of a shared model: a sweep has folds.json beside its config.json."""
    return (folder / CONFIG).exists() and not (folder / FOLDS).exists()


def read(folder: Path, models: Sequence[str] = (), *, plain: bool = False, where: str = "") -> list[Trained]:
    """Return the runs of the shared model in a folder.

    Args:
        folder: holds the files.
        models: those that are asked for; () for whatever it has.
        plain: leave the chosen rule out: masks follow the threshold of the config.
        where: address of the model, for messages; by default the folder.

    Raises:
        InputError: where the folder holds no such model, or one of a newer version, or it is damaged.
    """
    where = where or str(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(f"{where} holds no model of this project: there is no {name}")
    found, config = _read_config(folder / CONFIG, where)
    known = list(dict.fromkeys(run["model"] for run in found["runs"]))
    if models and set(models) != set(known):
        raise InputError(f"{where} is a model of {' and '.join(known)}: leave the model out, not {','.join(models)}")
    tensors = files.read(folder / WEIGHTS).tensors
    runs = [_trained(one, found, config, tensors, folder / WEIGHTS, where) for one in found["runs"]]
    rule = choice.rule(found["rule"]) if found["rule"] and not plain else None
    return [dataclasses.replace(run, chosen=rule) for run in runs]


def _trained(
    run: SharedRun,
    model: Shared,
    config: Config,
    tensors: Mapping[str, np.ndarray],
    file: Path,
    where: str,
) -> Trained:
    """Return a run of `model`, whose `tensors` are those of `file`, without a chosen rule. Raises InputError."""
    num_classes = resident.num_classes(model["classes"])
    shapes = stored.abstract(config, run["model"], num_classes, model["channels"], where)
    weights = stored.weights(
        lambda keys: tensors[_name(run["run"], stored.name(keys[1:]))],
        shapes,
        run["weights_sha256"],
        where=where,
        file=file,
        remedy=_REMEDY,
    )
    return Trained(
        run["run"],
        run["model"],
        model["dataset"],
        tuple(model["classes"]),
        config,
        model["channels"],
        tuple(window) if (window := model["window"]) else None,
        num_classes,
        nnx.graphdef(shapes),
        weights,
        run,
        (clipped[0], clipped[1]) if (clipped := model["clipped"]) else None,
    )


def _described(run: Trained) -> SharedRun:
    """Return the fields of a run's record that are shared: others hold digests of the images, and the machine."""
    record: Any = {name: run.record[name] for name in SharedRun.__annotations__}
    return record


def _name(run: str, array: str) -> str:
    """Return the name of an array in model.safetensors."""
    return f"{run}/{array}"


def _read_config(path: Path, where: str) -> tuple[Shared, Config]:
    """Return config.json and the settings in it. Raises InputError."""
    tree = read_json(path, dict[str, Any], remedy=_REMEDY)
    if tree.get("library") != LIBRARY:
        raise InputError(f"{where} holds no model of this project: its {path.name} does not say library={LIBRARY}")
    if isinstance(tree.get("format"), int) and tree["format"] > FORMAT:
        raise InputError(
            f"{where} is of a newer version of this project ({tree.get('version')}; this is {__version__}): update it"
        )
    found = checked(tree, Shared, path, remedy=_REMEDY)
    try:
        config = config_of(found["config"])
        check_types(config)
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, f"its settings are not this version's: {error}", _REMEDY) from error
    return found, config
