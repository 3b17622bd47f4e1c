"""Workdirs with synthetic predictions, as sweeps leave them."""

import dataclasses
import json

import numpy as np
import pandas as pd

from sharp_unet_jax import metrics, ragged
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data import array_files
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.report import records
from sharp_unet_jax.storage import description
from sharp_unet_jax.storage.atomic import write_json
from sharp_unet_jax.storage.layout import run_folder
from sharp_unet_jax.storage.run_files import digests, sealed
from sharp_unet_jax.sweeps import plan, workdir
from tests.conftest import squares
from tests.report import sweep_writer

EPOCHS = 4  # of every run


def of_sizes(sizes, classes=2):
    """Return squares in images of the given sizes."""
    each = [squares(n=1, size=size, classes=classes, seed=seed) for seed, size in enumerate(sizes)]
    images, masks = (ragged.of([getattr(one, part)[0] for one in each]) for part in ("images", "masks"))
    ids = tuple(f"{index:03}" for index in range(len(sizes)))
    return dataclasses.replace(each[0], images=images, masks=masks, ids=ids, groups=ids)


def noisy(run, masks):
    """Return probabilities in 255ths that are often right."""
    rng = np.random.default_rng(run.fold)
    classes = int(max(mask.max() for mask in masks)) + 1
    right = [mask[..., None] == np.arange(1 if classes == 2 else 0, classes) for mask in masks]
    return [np.clip(rng.normal(60 + 90 * each, 70), 0, 255).astype(np.uint8) for each in right]


def with_native(n=8):
    """Return squares of 16x24, whose files have masks of twice that size."""
    dataset = squares(n=n)
    native = [np.kron(mask, np.ones((2, 2), np.uint8)) for mask in dataset.masks]
    return dataclasses.replace(dataset, native=ragged.of(native))


def sweep(folder, dataset, predict=None, **fields):
    """Write a sweep and return it.

    predict(run, masks) gives probabilities in 255ths, uint8; without it no run is finished. `fields` are the config's.
    Images of a `Ragged` have their own sizes, as after training on crops; `data` is a field then.
    """
    prepared = folder / "prepared"
    prepared.mkdir(parents=True)
    own_sizes = isinstance(dataset.masks, Ragged)
    for part, arrays in {"images": dataset.images, "masks": dataset.masks, "native": dataset.native}.items():
        if arrays is not None:
            np.save(array_files.path(prepared, part), arrays.flat if isinstance(arrays, Ragged) else arrays)
            array_files.write_sizes(prepared, part, arrays)
    names = {"ids": dataset.ids, "groups": dataset.groups, "sha256": dataset.sha256, "settings": {}}
    (prepared / "names.json").write_text(json.dumps(names))
    dataset = dataclasses.replace(dataset, folder=prepared)
    data = {} if own_sizes else {"data": Data(builder=dataset.name, size=dataset.masks.shape[1:])}
    config = Config(
        **data | {"models": ("unet",), "folds": 2, "repeats": 1, "batch_size": 4, "epochs": EPOCHS} | fields
    )
    splits = plan.split(config, dataset)
    workdir.begin(folder, config, dataset, splits, {})
    described = workdir.folds_of(dataset, splits)
    for run in plan.every(config) if predict else []:
        own = run_folder(folder, run)
        own.mkdir(parents=True)
        test = splits[run.repeat, run.fold].test
        masks = [dataset.masks[index] for index in test] if own_sizes else dataset.masks[test]
        probabilities = predict(run, masks)
        kept = ragged.of(probabilities) if own_sizes else None
        saved = {"probabilities": kept.flat, "sizes": kept.sizes} if kept else {"probabilities": probabilities}
        np.savez_compressed(own / "predictions.npz", **saved)
        counts = np.stack([_counts(*pair, config.threshold) for pair in zip(probabilities, masks, strict=True)])
        _per_image(run, dataset, test, counts, config.empty).to_parquet(own / "per_image.parquet")
        score = metrics.score(counts, empty=config.empty, binary=dataset.num_classes == 1)
        cell = {"run": run.name, "model": run.model, "repeat": run.repeat, "fold": run.fold}
        images = {"train": len(dataset.ids) - len(test), "validation": len(test), "test": len(test)}
        means = {name: None if np.isnan(value) else value for name, value in score.means.items()}
        record = {
            "status": "finished", **cell, "dataset": dataset.name, "protocol": config.protocol, "images": images,
            **sweep_writer.MODELS[run.model], **means, "best_epoch": 2, "epochs": EPOCHS, "capped": True,
            "best_on_test": {"epoch": 2} | means, "last": {"epoch": EPOCHS} | means, "channels": dataset.channels,
            "scoring": {"images": score.images, "dropped": score.dropped}, "config": workdir.settings(config),
            "parameters": 1000, "weights_sha256": run.name, "timing": sweep_writer.TIMING,
            "folds_sha256": description.digest(described, described["folds"][run.repeat * config.folds + run.fold]),
            "sha256": digests(own),
        }  # fmt: skip
        write_json(own / "record.json", sealed(record))
    return records.load(folder)


def _counts(probabilities, labels, threshold):
    """Return what training/network.py counts from logits, without compiling anything."""
    outputs = probabilities.shape[-1]
    decided = probabilities[..., 0] > 255 * threshold if outputs == 1 else probabilities.argmax(axis=-1)
    classes = np.arange(max(outputs, 2))
    truth, predicted = labels[..., None] == classes, decided[..., None] == classes
    predicted &= (labels != metrics.IGNORE)[..., None]
    return np.stack([mask.sum(axis=(0, 1)) for mask in (truth & predicted, truth, predicted)], axis=-1)


def _per_image(run, dataset, test, counts, empty):
    n, classes, _ = counts.shape
    frame = pd.DataFrame(counts.reshape(-1, 3), columns=["intersection", "truth", "predicted"])
    ids = np.repeat([dataset.ids[index] for index in test], classes)
    scores = {name: values.ravel() for name, values in metrics.overlaps(counts, empty=empty).items()}
    union = frame["truth"] + frame["predicted"] - frame["intersection"]
    names = {"run": run.name, "image_id": ids, "class": np.tile(dataset.classes, n)}
    return frame.assign(**names, union=union, **scores)
