"""Sweeps with predictions that are made up, as `choosing.choose` takes them."""

import numpy as np

from sharp_unet_jax.choosing.images import Source
from sharp_unet_jax.report import records
from sharp_unet_jax.sweeps import workdir
from tests.conftest import squares
from tests.edits import edit_record
from tests.report import whole

FIELDS = {"models": ("unet",), "repeats": 1, "protocol": "nested", "folds": 3, "inner_validation": 0.4}


def right(run, masks):
    """Return probabilities that are right after the threshold."""
    return np.where(masks[..., None] > 0, 230, 20).astype(np.uint8)


def twice(run, masks):
    """Return the same with a second object, smaller than the true one and not below 32 pixels, apart from it."""
    found = right(run, masks)
    for image, mask in zip(found, masks, strict=True):
        rows = np.flatnonzero(mask.any(axis=1))
        top = 0 if rows[0] > 5 else 12
        image[top : top + 4, 2:11] = 230
    return found


def source(folder, dataset=None, predict=twice, **fields):
    """Write a sweep whose runs predict by `predict`, and return it as what is chosen on."""
    dataset = dataset or squares(n=18)
    whole.sweep(folder, dataset, predict, **FIELDS | fields)
    for path in folder.glob("runs/*/*/record.json"):
        edit_record(path, weights_sha256=f"weights of {path.parent}")
    sweep = records.load(folder)
    masks = np.array(dataset.masks)
    return Source(
        sweep, workdir.read_config(folder), dataset, lambda run, rows: iter(predict(run, masks[rows]) / np.float32(255))
    )
