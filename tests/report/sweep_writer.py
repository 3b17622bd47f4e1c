"""Workdirs with chosen scores, as sweeps leave them."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.report import records
from sharp_unet_jax.storage.atomic import write_json
from sharp_unet_jax.storage.description import digest
from sharp_unet_jax.storage.run_files import digests, sealed
from sharp_unet_jax.sweeps import workdir as workdirs
from tests.edits import seal

KERNELS = {  # name: sum of the numbers, root of the sum of their squares
    "laplacian": (0.0, 8.485281374238571),
    "laplacian_of_gaussian": (0.0, 1.6345871),
    "random": (0.0, 8.4498521),
    "scaled": (0.0, 1.0606602),
    "sharpen": (1.0, 9.433981),
}
PLAIN = {  # network: encoder
    "unet": "unet",
    "wide_unet": "wide_unet",
    "ternausnet16": "vgg16",
    "unet_resnet34": "resnet34",
    "unet_resnet50": "resnet50",
}
SHARP = {
    "sharp_unet": "unet",
    "wide_sharp_unet": "wide_unet",
    "sharp_ternausnet16": "ternausnet16",
    "sharp_unet_resnet50": "unet_resnet50",
}
TIMING = {
    "device": "cpu", "devices": 1, "jax": "0.10.2", "first_epoch_seconds": 9.0, "train_images_per_second": 4.0,
    "train_seconds": 17.0, "eval_seconds": 1.0,
}  # fmt: skip
PIXELS = 10**6  # of truth and of prediction
CLASSES = {2: ["background", "polyp"], 3: ["background", "nucleus", "border"]}


def facts(network: str, encoder: str, kernel: str = "", padding: str = "zero") -> dict[str, Any]:
    """Return what a record says of a model; without a kernel its skips are plain."""
    total, scale = KERNELS.get(kernel, (0.0, 0.0))
    said = {"name": kernel, "padding": padding, "sum": total, "scale": scale} if kernel else None
    return {"network": network, "encoder": encoder, "skip": "sharp" if kernel else "plain", "kernel": said}


MODELS = {name: facts(name, encoder) for name, encoder in PLAIN.items()}
MODELS |= {name: facts(network, PLAIN[network], "laplacian") for name, network in SHARP.items()}
MODELS |= {f"sharp_unet+{kernel}": facts("unet", "unet", kernel) for kernel in KERNELS}
MODELS |= {f"sharp_unet+{kernel}+reflect": facts("unet", "unet", kernel, "reflect") for kernel in KERNELS}


def write(
    path: Path,
    jaccard: dict[str, np.ndarray],
    *,
    dataset: str = "mine",
    protocol: str = "paper",
    grouped: bool = False,
    group_size: int = 1,
    classes: int = 2,
    sha256: str = "0",
    best: float = 0.0,
    missing: tuple[str, ...] = (),
    failed: tuple[str, ...] = (),
    models: Mapping[str, dict[str, Any]] = MODELS,
    **settings: Any,
) -> records.Sweep:
    """Write a sweep of the models in `jaccard`, (repeats, folds, images of a fold) each, and return it.

    Images are "i0", "i1", ... in the order of the first repeat and shifted by one in every other; `group_size` in a row
    are a group. Every class scores alike, but the background of two, which nobody scores, 0. `best` is what the best
    epoch on the test fold has more. `settings` are fields of the config.
    """
    repeats, folds, images = next(iter(jaccard.values())).shape
    ids = [f"i{index}" for index in range(folds * images)]
    tests = [np.roll(ids, -repeat).reshape(folds, images) for repeat in range(repeats)]
    names = CLASSES[classes]
    usual = {"data": Data(size=(192, 256)), "batch_size": 16, "epochs": 2, "patience": 10}
    config = Config(
        models=tuple(jaccard), repeats=repeats, folds=folds, protocol=protocol, grouped=grouped, **usual | settings
    )
    described = {
        "dataset": dataset, "sha256": sha256, "images": len(ids), "groups": len(ids) // group_size, "classes": names,
        "group_of": {image: f"g{index // group_size}" for index, image in enumerate(ids)},
        "window": None,
        "clipped": None,
        "folds": [
            {"repeat": repeat, "fold": fold, "validation": [], "test": tests[repeat][fold].tolist()}
            for repeat in range(repeats)
            for fold in range(folds)
        ],
    }  # fmt: skip
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "config.json", dataclasses.asdict(config))
    write_json(path / "folds.json", described)
    for model, scores in jaccard.items():
        for repeat, fold in np.ndindex(repeats, folds):
            run = f"{model}/repeat{repeat}-fold{fold}"
            if run in missing:
                continue
            folder = path / "runs" / run
            folder.mkdir(parents=True)
            of_image = scores[repeat, fold]
            record = {
                "status": "failed" if run in failed else "finished", "run": run, "dataset": dataset, "model": model,
                "protocol": protocol, "repeat": repeat, "fold": fold,
                "images": {"train": len(ids) - images, "validation": images, "test": images}, "channels": 3,
                "config": workdirs.settings(config),
                "folds_sha256": digest(described, described["folds"][repeat * folds + fold]),
            } | models[model]  # fmt: skip
            if run not in failed:
                record |= {name: None if np.isnan(value).all() else float(np.nanmean(value))
                           for name, value in overlaps(of_image).items()}  # fmt: skip
                reported = {name: record[name] for name in ("jaccard", "dice")}
                of_best = None if record["jaccard"] is None else record["jaccard"] + best
                record |= {
                    "best_epoch": 1, "epochs": 2, "last": {"epoch": 2} | reported,
                    "best_on_test": {"epoch": 2} | reported | {"jaccard": of_best},
                    "scoring": {"images": images, "dropped": 0},
                    "capped": True, "parameters": 7_760_097, "weights_sha256": run, "timing": TIMING,
                }  # fmt: skip
                per_class = np.repeat(of_image[:, None], classes, axis=1)
                per_class[:, 0] *= classes > 2
                pd.DataFrame(
                    {
                        "run": run,
                        "image_id": np.repeat(tests[repeat][fold], classes),
                        "class": np.tile(names, images),
                    }
                    | counts(per_class.ravel())
                    | {name: value.ravel() for name, value in overlaps(per_class).items()}
                ).to_parquet(folder / "per_image.parquet")
            write_json(folder / "record.json", sealed(record | {"sha256": digests(folder)}))
    return records.load(path)


def counts(jaccard: np.ndarray) -> dict[str, np.ndarray]:
    """Return pixel counts of predictions as large as the truth."""
    dice = np.nan_to_num(2 * jaccard / (1 + jaccard))
    truth = np.full(jaccard.shape, PIXELS)
    both = np.round(dice * PIXELS).astype(int)
    return {"intersection": both, "union": 2 * truth - both, "truth": truth, "predicted": truth}


def pack(workdir: Path, output: Path) -> Path:
    """Write packed results of a workdir, as launch.merge --pack does, runs in another order than the plan's."""
    output.mkdir()
    for name in ("config.json", "folds.json", "environment.json"):
        if (workdir / name).exists():
            shutil.copy(workdir / name, output)
    records = {path.parent: json.loads(path.read_text()) for path in sorted(workdir.glob("runs/*/*/record.json"))}
    (output / "runs.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records.values()))
    finished = {folder: record["run"] for folder, record in records.items() if record["status"] == "finished"}
    rows = [
        {"run": run} | json.loads(line)
        for folder, run in finished.items()
        if (folder / "metrics.jsonl").exists()
        for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]
    pd.DataFrame(rows).to_csv(output / "epochs.csv", index=False)
    images = [pd.read_parquet(folder / "per_image.parquet") for folder in finished]
    pd.concat(images, ignore_index=True).to_parquet(output / "per_image.parquet")
    seal(output)
    return output


def overlaps(jaccard: np.ndarray) -> dict[str, np.ndarray]:
    """Return all overlaps of predictions as large as the truth, in an image of nine times that size."""
    dice = 2 * jaccard / (1 + jaccard)
    others = {"sensitivity": dice, "precision": dice, "specificity": 1 - (1 - dice) / 8}
    return {"jaccard": jaccard, "dice": dice, **others}


def scores(mean: float, spread: float = 0.02, shape: tuple[int, ...] = (2, 5, 4), seed: int = 0) -> np.ndarray:
    """Return scores around `mean`; the same seed gives the same deviations."""
    return np.clip(mean + spread * np.random.default_rng(seed).normal(size=shape), 0, 1)
