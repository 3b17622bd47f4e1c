"""The files of a workdir, said once: sweeps write them; sweeps, the report and the commands read them.

WORKDIR/config.json  folds.json  weights.json  data.json  environment.json  scores.csv  per_image.parquet  tables.md
WORKDIR/runs/MODEL/repeatR-foldF/record.json  metrics.jsonl  per_image.parquet  predictions.npz  checkpoint/  resume/
"""

import re
from pathlib import Path
from typing import NamedTuple


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
    """Return where a run leaves its files."""
    return workdir / "runs" / run.name
