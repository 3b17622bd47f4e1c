"""The record and the files beside it that a run leaves at its end, and the folder that it starts in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from sharp_unet_jax import metrics, models, stopping
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import folds
from sharp_unet_jax.data.array_files import Arrays
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.storage import checkpoint, description, resume, run_files
from sharp_unet_jax.storage.atomic import clear, replacing, write_json
from sharp_unet_jax.storage.layout import CHECKPOINT, PER_IMAGE, PREDICTIONS, RECORD, RESUME, Run
from sharp_unet_jax.sweeps import plan, workdir
from sharp_unet_jax.training import train


def begin(folder: Path) -> None:
    """Prepare the folder of a run: delete temporary files and all that an earlier attempt left, but its states."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RECORD, PER_IMAGE, PREDICTIONS):  # the record first: what has one is whole
        (folder / name).unlink(missing_ok=True)
    checkpoint.remove(folder / CHECKPOINT)
    clear(folder)
    clear(folder / RESUME)


def finish(
    folder: Path,
    config: Config,
    dataset: Dataset,
    run: Run,
    split: folds.Split,
    result: train.Result | train.DivergedError,
    predictions: Arrays | None,
    timing: dict[str, Any],
) -> dict[str, Any]:
    """Write all files of a run to `folder`, its record last, and delete the states that it does not need; see `tidy`.

    Returns the record. `predictions` are the probabilities (H, W, num_classes) uint8 of each test image, if they are
    kept.
    """
    record = {"status": "finished", **_description(config, dataset, run, split)}
    if isinstance(result, train.DivergedError):
        record |= {"status": "failed", "epoch": result.epoch, "reason": str(result)}
    else:
        with replacing(folder / PER_IMAGE) as temporary:
            _per_image(run, dataset, split, result.counts, config).to_parquet(temporary)
        if predictions is not None:
            with replacing(folder / PREDICTIONS) as temporary, open(temporary, "wb") as file:
                if isinstance(predictions, Ragged):
                    np.savez_compressed(file, probabilities=predictions.flat, sizes=predictions.sizes)
                else:
                    np.savez_compressed(file, probabilities=predictions)
        weights = {"params": result.params, "stats": result.stats}
        checkpoint.save(folder / CHECKPOINT, weights)
        score = metrics.score(result.counts, empty=config.empty, binary=dataset.num_classes == 1)
        record["scoring"] = {"images": score.images, "dropped": score.dropped}
        record |= {**score.means, **_epochs(result), "capped": capped(config, result.rows, result.best_epoch)}
        record["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(result.params))
        record["weights_sha256"] = checkpoint.digest(weights)
        record["timing"] = timing
    record["sha256"] = run_files.digests(folder)
    record = run_files.sealed(record)
    write_json(folder / RECORD, record)
    tidy(folder, config, record)
    return record


def tidy(folder: Path, config: Config, record: Mapping[str, Any]) -> None:
    """Delete the saved states of a run with this record, but the last one of a run that is capped by `epochs`."""
    may_go_on = stopping.may_go_on(config.schedule) and record.get("capped", False)  # a failed run is not capped
    resume.keep(folder / RESUME, 1 if may_go_on else 0)


def capped(config: Config, rows: Sequence[Any], best_epoch: int) -> bool:
    """Say whether a run with these epochs ends here because of `config.epochs`: with a larger number it would go on."""
    return stopping.capped(len(rows), best_epoch, config.patience, config.epochs)


def identity(dataset: Dataset, run: Run, split: folds.Split) -> dict[str, str]:
    """Return the run's name and the digest of its images, which tie its record and saved states to it."""
    folds_json = workdir.folds_of(dataset, {(run.repeat, run.fold): split})
    return {"run": run.name, "folds_sha256": description.digest(folds_json, folds_json["folds"][0])}


def _description(config: Config, dataset: Dataset, run: Run, split: folds.Split) -> dict[str, Any]:
    """Return the part of a record that is known before the run: its network, images and settings."""
    return {
        "dataset": dataset.name,
        "model": run.model,
        **models.describe(run.model, skip_kernel=config.skip_kernel, skip_padding=config.skip_padding),
        "protocol": config.protocol,
        "repeat": run.repeat,
        "fold": run.fold,
        "seed": plan.seed(config, run),
        "images": {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
        "channels": dataset.channels,
        "config": workdir.settings(config),
        **identity(dataset, run, split),
    }


def _epochs(result: train.Result) -> dict[str, Any]:
    """Return the number of the reported epoch, and the overlaps of the epoch best on the test fold and of the last."""

    def overlaps(row: dict[str, float]) -> dict[str, float]:
        return {name: row[f"test_{name}"] for name in metrics.OVERLAPS}

    rows = result.rows
    best = max(rows, key=lambda row: np.nan_to_num(row["test_jaccard"], nan=-1))
    return {
        "best_epoch": result.best_epoch,
        "epochs": len(rows),
        "best_on_test": {"epoch": best["epoch"], **overlaps(best)},
        "last": {"epoch": rows[-1]["epoch"], **overlaps(rows[-1])},
    }


def _per_image(run: Run, dataset: Dataset, split: folds.Split, counts: np.ndarray, config: Config) -> pd.DataFrame:
    """Return a row per test image and class: pixel counts and overlaps."""
    n, classes = counts.shape[:2]
    intersection, truth, predicted = counts.reshape(n * classes, 3).T
    return pd.DataFrame(
        {
            "run": run.name,
            "image_id": np.repeat([dataset.ids[index] for index in split.test], classes),
            "class": np.tile(dataset.classes, n),
            "intersection": intersection,
            "union": truth + predicted - intersection,
            "truth": truth,
            "predicted": predicted,
        }
        | {name: values.ravel() for name, values in metrics.overlaps(counts, empty=config.empty).items()}
    )
