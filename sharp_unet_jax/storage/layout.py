"""The names of a sweep's files, and reading them. Sweeps write these files; sweeps, report and commands read them.

A workdir, the folder of a sweep:

    config.json                        the resolved config
    folds.json                         the digest of the data set, and the image ids of every fold
    data.json                          the folder of the prepared images and masks, for the report's pictures
    weights.json                       by model, the digest of the weights that its runs start from, if not from scratch
    environment.json                   the commands, and the versions and devices that they ran with; by launch.cv
    scores.csv  per_image.parquet      collected from the finished runs
    tables.md                          the paper's tables; by launch.cv
    report/                            the report; by launch.cv and launch.report
    .locks/                            held by the processes that train here, see `storage.lock`
    runs/MODEL/repeatR-foldF/
        metrics.jsonl                  a line an epoch
        per_image.parquet              pixel counts and overlaps of every test image and class
        predictions.npz                probabilities (n, H, W, num_classes) of the test images, in 255ths, uint8
        checkpoint/                    the reported weights, by Orbax
        resume/                        the last two states of a run that is not finished
        record.json                    the run's scores; written last: a run with it is finished or failed

On a CPU, training a run again writes the same bytes, except `timing` in record.json and Orbax's metadata beside the
weights.

Packed results, the folder that `python -m launch.merge --pack` writes: config.json, folds.json, weights.json,
environment.json, scores.csv, tables.md and per_image.parquet as above, and

    runs.jsonl                         a record a line, in the plan's order
    epochs.csv                         the lines of all metrics.jsonl, after a column `run`
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from sharp_unet_jax.errors import InputError

CONFIG = "config.json"
FOLDS = "folds.json"
DATA = "data.json"
WEIGHTS = "weights.json"
ENVIRONMENT = "environment.json"
SCORES = "scores.csv"
TABLES = "tables.md"
PER_IMAGE = "per_image.parquet"  # of a run, and of all runs

RECORD = "record.json"
METRICS = "metrics.jsonl"
PREDICTIONS = "predictions.npz"
CHECKPOINT = "checkpoint"
RESUME = "resume"

RUNS = "runs.jsonl"
EPOCHS = "epochs.csv"


class Run(NamedTuple):
    """One training: a model on a fold of a repeat."""

    repeat: int
    fold: int
    model: str

    @property
    def name(self) -> str:
        """The run's name in the workdir: "unet/repeat0-fold0"."""
        return f"{self.model}/repeat{self.repeat}-fold{self.fold}"


def run_of(folder: Path) -> tuple[Path, Run] | None:
    """Return the workdir and the run that `folder` (WORKDIR/runs/MODEL/repeatR-foldF) belongs to; None for another."""
    cell = re.fullmatch(r"repeat(\d+)-fold(\d+)", folder.name)
    if not cell or folder.parent.parent.name != "runs":
        return None
    return folder.parents[2], Run(int(cell[1]), int(cell[2]), folder.parent.name)


def run_folder(workdir: Path, run: Run) -> Path:
    """Return the folder of a run's files."""
    return workdir / "runs" / run.name


def read_json(path: Path, *keys: str, remedy: str = "bring it back from a copy") -> dict[str, Any]:
    """Return the object in the JSON file `path`, which must have `keys`.

    Raises InputError, naming the file and the `remedy`, if it is missing, no JSON object, or lacks a key.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(tree, dict):
            raise ValueError("it is no object")
        if missing := [key for key in keys if key not in tree]:
            raise ValueError(f"it lacks {', '.join(missing)}")
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: {remedy}") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): {remedy}") from error
    return tree
