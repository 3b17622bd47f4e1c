"""Configs from files and from the command line: one that trains and is written and read alike, or a refusal."""

import dataclasses
import itertools
import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest

from launch.console import cv_arguments
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import augment
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.storage import lock
from sharp_unet_jax.sweeps import check, plan, workdir
from tests.conftest import squares
from tests.fuzz.harness import Act, Kind

TEXT = """\
\"\"\"My config.\"\"\"

from sharp_unet_jax.config import Augment, Config, Data

config = Config(
    data=Data(builder="folder", size=(24, 32), fit="letterbox"),
    augment=Augment(flip=0.5, rotate=15, blur=1),
    models=("unet", "sharp_unet"),
    protocol="nested",
    folds=3,
    repeats=2,
    batch_size=8,
    loss={"cross_entropy": 1.0, "dice": 0.5},
)
"""


def make(box: Path) -> None:
    (box / "c.py").write_text(TEXT)
    (box / "given.arguments").write_text("--config.seed=0")


def begin(box: Path) -> dict:
    """Do what launch.cv does before it trains; augment a batch."""
    given = (box / "given.arguments").read_text(encoding="utf-8", errors="surrogateescape").split("\0")
    command = cv_arguments.parse([f"--config={box / 'c.py'}", f"--workdir={box / 'out'}", *given])
    check.config(command.config, 1)
    dataset = squares(n=40)
    splits = plan.split(command.config, dataset)
    runs = plan.runs(command.config)
    with lock.brief(box / "out"):
        workdir.begin(box / "out", command.config, dataset, splits, {})
    return {
        "config": command.config,
        "read": workdir.read_config(box / "out"),
        "runs": len(runs),
        "augmented": _augmented(command.config, dataset),
    }


def _augmented(config: Config, dataset: Dataset) -> bool:
    """Say whether images that are augmented with all settings at their ends still differ within themselves."""
    if not config.augment:
        return True
    index = np.arange(4, dtype=np.int32)
    seeds = np.array([config.seed % 2**32, 1], np.uint32)
    images, _ = augment.batch(
        config.augment, *map(jax.numpy.asarray, (dataset.images[:4], dataset.masks[:4], index, seeds))
    )
    return bool((np.asarray(images).reshape(4, -1).std(axis=1) > 0).all())


def judge(figures, original, box: Path, target: Path) -> str:
    if figures["config"] != figures["read"]:
        return "config.json is read back otherwise"
    for name, value in _numbers(dataclasses.asdict(figures["config"])):
        if not math.isfinite(value):
            return f"{name.rpartition('.')[2]} is {value}"
    return "" if figures["augmented"] else "augmented images are empty"


def _numbers(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", value


FIELDS = tuple(f"{field.name}" for field in dataclasses.fields(Config))
ARGUMENTS = Kind("arguments", make, ("given.arguments",), (Act(begin, judge=judge, names=(*FIELDS, "--")),), share=4)
CONFIG = Kind("config_file", make, ("c.py",), (Act(begin, judge=judge, names=FIELDS),))


def folds(box: Path) -> None:
    """Write the user's own folds in each of their forms."""
    make(box)
    ids = squares(n=12).ids
    (box / "a.csv").write_text("id,fold\n" + "".join(f"{name},{number % 3}\n" for number, name in enumerate(ids)))
    (box / "b.json").write_text(json.dumps({name: number % 3 for number, name in enumerate(ids)}, indent=2))
    config = Config(folds=3, repeats=1)
    splits = plan.split(config, squares(n=12))
    (box / "w").mkdir()
    with lock.brief(box / "w"):
        workdir.begin(box / "w", config, squares(n=12), splits, {})


def divide(box: Path) -> dict:
    """Return the test images of each fold by the file."""
    found = {}
    for name in ("a.csv", "b.json", "w/folds.json"):
        config = cv_arguments.parse(
            [f"--config={box / 'c.py'}", f"--config.split={box / name}", "--config.repeats=1"]
        ).config
        check.config(config, 1)
        dataset = squares(n=12)
        splits = plan.split(config, dataset)
        found[name] = {fold: [dataset.ids[index] for index in split.test] for (_, fold), split in splits.items()}
    return found


def each_image_once(figures, original, box: Path, target: Path) -> str:
    """Folds that were edited are other folds; in each division an image is tested once."""
    for name, division in figures.items():
        if division != original[name] and box / name != target:
            return f"{name} is read otherwise"
        tested, known = (sorted(itertools.chain(*each.values())) for each in (division, original[name]))
        if len(set(tested)) < len(tested) or not all(division.values()) or not set(tested) <= set(known):
            return f"{name}: an image is tested twice, or a fold is empty"
        if name != "w/folds.json" and tested != known:  # a workdir's folds need not test all
            return f"{name}: an image is not tested"
    return ""


FOLDS = Kind(
    "own_folds", folds, ("a.csv", "b.json", "w/folds.json"), (Act(divide, judge=each_image_once, names=("fold",)),)
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [ARGUMENTS, CONFIG, FOLDS], ids=lambda kind: kind.name)
def test_config(fuzz, kind):
    fuzz(kind)
