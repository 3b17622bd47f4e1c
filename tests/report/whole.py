"""Workdirs of whole sweeps: those of synthetic.py with everything else that training leaves."""

import json

import numpy as np
import pandas as pd

from sharp_unet_jax import metrics
from sharp_unet_jax.report import records
from sharp_unet_jax.sweeps import plan, workdir
from tests.conftest import squares
from tests.report import synthetic

EPOCHS = 4


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
    config = workdir.read_config(folder)
    for run in plan.every(config):
        own = folder / "runs" / run.name
        table = pd.read_parquet(own / "per_image.parquet")
        counts = table[["intersection", "truth", "predicted"]].to_numpy().reshape(-1, len(dataset.classes), 3)
        scores = {"union": table["truth"] + table["predicted"] - table["intersection"]}
        scores |= {name: each.ravel() for name, each in metrics.overlaps(counts, empty=config.empty).items()}
        table.assign(**scores).to_parquet(own / "per_image.parquet")
        record = json.loads((own / "record.json").read_text())
        reported = {name: record[name] for name in metrics.OVERLAPS}
        record |= {"dataset": dataset.name, "protocol": config.protocol, "best_epoch": 2, "epochs": EPOCHS}
        record |= {"images": {"train": 4, "validation": 4, "test": 4}, "best_on_test": reported, "last": reported}
        (own / "record.json").write_text(json.dumps(record))
        names = ("train_loss", "validation_loss", "test_loss", "validation_jaccard", "validation_dice", "learning_rate")
        rows = [{"epoch": e, **dict.fromkeys(names, e / 10 + run.fold / 100)} for e in range(1, EPOCHS + 1)]
        (own / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return records.load(folder)
