"""Workdirs of whole sweeps: those of synthetic.py with everything else that training leaves."""

import json

import numpy as np

from sharp_unet_jax.report import records
from sharp_unet_jax.sweeps import plan, workdir
from tests.conftest import squares
from tests.edits import follow
from tests.report import synthetic


def shifted(run, masks):
    """Return probabilities in 255ths: the truth moved down by some rows, by fewer for the sharp network."""
    moved = np.roll(masks, (1 if "sharp" in run.model else 3) + run.repeat, axis=1)
    if masks.max() < 2:
        return (200 * moved[..., None]).astype(np.uint8)
    return (200 * (moved[..., None] == np.arange(masks.max() + 1))).astype(np.uint8)


def sweep(folder, dataset=None, predict=shifted, **fields):
    """Write a finished sweep of unet and sharp_unet and return it; `fields` are the config's."""
    dataset = dataset or squares(n=8)
    fields = {"models": ("unet", "sharp_unet"), "folds": 2, "repeats": 2} | fields
    synthetic.sweep(folder, dataset, predict, **fields)
    for run in plan.every(workdir.read_config(folder)):
        names = ("train_loss", "validation_loss", "test_loss", "validation_jaccard", "validation_dice", "learning_rate")
        rows = [{"epoch": e, **dict.fromkeys(names, e / 10 + run.fold / 100)} for e in range(1, synthetic.EPOCHS + 1)]
        (folder / "runs" / run.name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    follow(folder)
    return records.load(folder)
