"""The names of a sweep's files. Sweeps write these files; sweeps, report and commands read them.

A workdir, the folder of a sweep:

    config.json                        the resolved config
    folds.json                         the digest of the data set, and the image ids of every fold
    data.json                          the folder of the prepared images and masks, for the report's pictures
    weights.json                       by model, the digest of the weights that its runs start from, if not from scratch
    environment.json                   the commands, and the versions and devices that they ran with; by launch.cv
    scores.csv  per_image.parquet      collected from the finished runs
    tables.md                          the paper's tables; by launch.cv
    report/                            the report; by launch.cv and launch.report
    choice.json                        the rule of masks and the mean of networks that validation images chose; by
                                       launch.choose
    evaluation-*/                      scores of test sets; by launch.evaluate
    .locks/                            held by the processes that train here, see `storage.lock`
    runs/MODEL/repeatR-foldF/
        metrics.jsonl                  a line per epoch
        per_image.parquet              pixel counts and overlaps of every test image and class
        predictions.npz                probabilities (n, H, W, num_classes) of the test images, in 255ths, uint8; after
                                       training on crops (pixels, num_classes), image by image and row by row, and
                                       sizes (n, 2), heights and widths, int64
        checkpoint/                    the reported weights, by Orbax
        resume/                        the last two states of a run that is not finished; the last one of a run that
                                       ended at `epochs` and not by patience
        record.json                    the run's scores; written last: a run with it is finished or failed

`storage.contents` lists the fields of these files. A record ties them to the run: it holds the settings that the run
depends on and SHA-256 digests of its images (`folds_sha256`), of the files beside it (`sha256`), of the weights
(`weights_sha256`), and of all its other fields (`record_sha256`). `storage.description` and `storage.run_files` read
the files, and refuse what is damaged or of another run.

On a CPU, training a run again writes the same bytes, except Orbax's metadata beside the weights and, in record.json,
`timing` and `record_sha256`, which covers it.

Packed results, the folder that `python -m launch.merge --pack` writes: config.json, folds.json, weights.json,
environment.json, choice.json, scores.csv, tables.md and per_image.parquet as above, and

    runs.jsonl                         a record per line, in the plan's order
    epochs.csv                         the lines of all metrics.jsonl, after a column `run`
    sha256.json                        the digests of all other files, by name
"""

import re
from pathlib import Path
from typing import NamedTuple

CONFIG = "config.json"
FOLDS = "folds.json"
DATA = "data.json"
WEIGHTS = "weights.json"
ENVIRONMENT = "environment.json"
SCORES = "scores.csv"
TABLES = "tables.md"
CHOICE = "choice.json"
PER_IMAGE = "per_image.parquet"  # of a run, and of all runs

RECORD = "record.json"
METRICS = "metrics.jsonl"
PREDICTIONS = "predictions.npz"
CHECKPOINT = "checkpoint"
RESUME = "resume"

RUNS = "runs.jsonl"
EPOCHS = "epochs.csv"
DIGESTS = "sha256.json"


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
