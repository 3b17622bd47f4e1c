"""The runs that a config asks for: their names, folds and seeds. No files, no training."""

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sharp_unet_jax.config import Config
from sharp_unet_jax.data import folds, split_file
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.layout import Run

Splits = dict[tuple[int, int], folds.Split]  # by repeat and fold


def runs(config: Config, shard: tuple[int, int] = (0, 1)) -> list[Run]:
    """Return the runs of a sweep in the order they begin: all models on a fold, then the next fold.

    Shard (i, n) is every n-th run, from the i-th on.
    """
    cells = [(r, f, m) for r in range(config.repeats) for f in range(config.folds) for m in config.models]
    return [Run(*cell) for cell in cells[: config.max_runs][shard[0] :: shard[1]]]


def every(config: Config) -> list[Run]:
    """Return the runs of the whole sweep; `max_runs`, which limits how many are trained now, is ignored."""
    return runs(dataclasses.replace(config, max_runs=None))


def split(config: Config, dataset: Dataset) -> Splits:
    """Return training, validation and test indices by repeat and fold.

    Raises InputError for too few images, or a split file that does not fit them.
    """
    try:
        return divide(config, dataset.ids, dataset.groups, dataset.num_classes)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{dataset.name}: {error}") from error


def divide(config: Config, ids: Sequence[str], groups: Sequence[str], num_classes: int) -> Splits:
    """Return what `split` returns, only from the ids and groups of images and the channels of the logits.

    Raises ValueError for too few images and for `grouped` without any group of two images, and InputError for a split
    file that does not fit them.
    """
    if config.grouped and len(set(groups)) == len(groups):
        raise ValueError(
            "grouped=true, but each image is a group of its own: name the groups, of your own files by "
            "data.groups=CSV, or set grouped=false"
        )
    return folds.plan(
        ids,
        groups,
        folds=config.folds,
        repeats=config.repeats,
        grouped=config.grouped,
        protocol=config.protocol,
        validation=config.inner_validation,
        seed=config.seed,
        tests=_given(config, ids, num_classes),
    )


def _given(config: Config, ids: Sequence[str], num_classes: int) -> dict[tuple[int, int], np.ndarray] | None:
    """Return the test images by repeat and fold if `config.split` gives them, None if they are to be drawn."""
    if config.split == "folds":
        return None
    if config.split == "authors":
        test = folds.authors(ids, random_state=42 if num_classes == 1 else 0)
        return {(repeat, 0): test for repeat in range(config.repeats)}
    path = Path(os.path.expanduser(config.split))
    return split_file.tests(path, ids, folds=config.folds, repeats=config.repeats)


def seed(config: Config, run: Run) -> int:
    """Return the seed of a run's weights and data order, below 2**32.

    The model has no part in it: twins start from the same weights and see the same batches.
    """
    text = f"{config.seed}/repeat{run.repeat}-fold{run.fold}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
