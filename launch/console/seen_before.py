"""Pretrained weights of a run that was trained on images of the sweep, some of which the sweep will test."""

import os
from pathlib import Path

from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import description
from sharp_unet_jax.storage.layout import run_of


def warning(weights: str, data: Dataset) -> str:
    """Return a warning if `weights` names a run that has seen images of the data set; "" if not, or nobody knows.

    They are the same where the data sets have one digest, and may be where both have a name and ids in common.
    """
    path = Path(os.path.expanduser(weights)).resolve()
    found = run_of(path) or run_of(path.parent)  # or the checkpoint in the run's folder
    if not weights or found is None:
        return ""
    workdir, run = found
    try:
        sweep = description.read(workdir)
        tested = sweep.cell(run.repeat, run.fold)["test"]
    except InputError:
        return ""
    same = sweep.folds["sha256"] == data.sha256
    seen = ({*sweep.folds["group_of"]} - {*tested}) & {*data.ids}
    if not seen or not (same or sweep.folds["dataset"] == data.name):
        return ""
    images = "images" if same else "images, if those of the same names are the same"
    return (
        f"warning: the run in weights={weights} has seen {len(seen)} of these {len(data.ids)} {images}. Folds that "
        "test them score too high: start from a run on other images"
    )
