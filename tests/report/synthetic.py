"""Workdirs with synthetic predictions, as sweeps leave them."""

import dataclasses
import json

import numpy as np
import pandas as pd

from sharp_unet_jax import metrics
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.report import records
from sharp_unet_jax.storage.layout import run_folder
from sharp_unet_jax.storage.run_files import sealed
from sharp_unet_jax.sweeps import plan, workdir
from tests.report import sweep_writer

EPOCHS = 4  # of every run


def sweep(folder, dataset, predict=None, **fields):
    """Write a sweep and return it.

    predict(run, masks) gives probabilities in 255ths, uint8; without it no run is finished. `fields` are the config's.
    """
    prepared = folder / "prepared"
    prepared.mkdir(parents=True)
    np.save(prepared / "images.npy", dataset.images)
    np.save(prepared / "masks.npy", dataset.masks)
    names = {"ids": dataset.ids, "groups": dataset.groups, "sha256": dataset.sha256}
    (prepared / "names.json").write_text(json.dumps(names))
    dataset = dataclasses.replace(dataset, folder=prepared)
    data = Data(builder=dataset.name, size=dataset.masks.shape[1:])
    config = Config(**{"data": data, "models": ("unet",), "folds": 2, "repeats": 1, "batch_size": 4} | fields)
    splits = plan.split(config, dataset)
    workdir.begin(folder, config, dataset, splits, {})
    for run in plan.every(config) if predict else []:
        own = run_folder(folder, run)
        own.mkdir(parents=True)
        test = splits[run.repeat, run.fold].test
        probabilities = predict(run, dataset.masks[test])
        np.savez_compressed(own / "predictions.npz", probabilities=probabilities)
        counts = _counts(probabilities, dataset.masks[test], config.threshold)
        _per_image(run, dataset, test, counts, config.empty).to_parquet(own / "per_image.parquet")
        score = metrics.score(counts, empty=config.empty, binary=dataset.num_classes == 1)
        cell = {"run": run.name, "model": run.model, "repeat": run.repeat, "fold": run.fold}
        images = {"train": len(dataset.ids) - len(test), "validation": len(test), "test": len(test)}
        means = {name: None if np.isnan(value) else value for name, value in score.means.items()}
        record = {
            "status": "finished", **cell, "dataset": dataset.name, "protocol": config.protocol, "images": images,
            **sweep_writer.MODELS[run.model], **means, "best_epoch": 2, "epochs": EPOCHS,
            "best_on_test": {"epoch": 2} | means, "last": {"epoch": EPOCHS} | means,
        }  # fmt: skip
        (own / "record.json").write_text(json.dumps(sealed(record)))
    return records.load(folder)


def _counts(probabilities, labels, threshold):
    """Return what training/network.py counts from logits, without compiling anything."""
    outputs = probabilities.shape[-1]
    decided = probabilities[..., 0] > 255 * threshold if outputs == 1 else probabilities.argmax(axis=-1)
    classes = np.arange(max(outputs, 2))
    truth, predicted = labels[..., None] == classes, decided[..., None] == classes
    predicted &= (labels != metrics.IGNORE)[..., None]
    return np.stack([mask.sum(axis=(1, 2)) for mask in (truth & predicted, truth, predicted)], axis=-1)


def _per_image(run, dataset, test, counts, empty):
    n, classes, _ = counts.shape
    frame = pd.DataFrame(counts.reshape(-1, 3), columns=["intersection", "truth", "predicted"])
    ids = np.repeat([dataset.ids[index] for index in test], classes)
    scores = {name: values.ravel() for name, values in metrics.overlaps(counts, empty=empty).items()}
    union = frame["truth"] + frame["predicted"] - frame["intersection"]
    names = {"run": run.name, "image_id": ids, "class": np.tile(dataset.classes, n)}
    return frame.assign(**names, union=union, **scores)
