"""A sweep's records, read from its workdir or from packed results. Needs neither JAX nor a network.

`storage/layout.py` lists the files of both. Packed results hold no images, masks or predictions; packed results may
lack the scores of single images too.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from sharp_unet_jax import metrics
from sharp_unet_jax.errors import AGAIN, InputError
from sharp_unet_jax.storage import layout
from sharp_unet_jax.storage.layout import Run, read_json

T = TypeVar("T")
FROM_A_COPY = "bring it back from a copy"


class Kernel(NamedTuple):
    """The kernel of a network's sharp blocks."""

    name: str
    padding: str  # "zero" or "reflect"
    sum: float  # of its values
    scale: float  # root of the sum of their squares


class Model(NamedTuple):
    """A model's network, as its records describe it."""

    network: str  # shared by twins: the name of the plain one
    encoder: str  # "unet", "wide_unet", "vgg16", "resnet50", ...
    skip: str  # "plain" or "sharp"
    kernel: Kernel | None  # None for plain skips


@dataclass(frozen=True, eq=False)  # a sweep is itself alone: it may be the key of a dict
class Sweep:
    """A sweep's records. Each part is read when it is first asked for."""

    workdir: Path  # or the folder of packed results
    config: dict[str, Any]  # config.json
    folds: dict[str, Any]  # folds.json

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.folds["dataset"]

    @property
    def classes(self) -> list[str]:
        """Names of the classes, background first."""
        return self.folds["classes"]

    @functools.cached_property
    def packed(self) -> bool:
        """True for packed results, False for a workdir."""
        return (self.workdir / layout.RUNS).exists()

    @functools.cached_property
    def environment(self) -> dict[str, Any]:
        """environment.json: the commands, and the versions they ran with; {} where it was not recorded."""
        path = self.workdir / layout.ENVIRONMENT
        return read_json(path, remedy="delete it") if path.exists() else {}

    @functools.cached_property
    def planned(self) -> dict[str, Run]:
        """All runs of the config's models, repeats and folds, by name, in the plan's order."""
        repeats, folds = range(self.config["repeats"]), range(self.config["folds"])
        runs = [Run(*cell) for cell in product(repeats, folds, self.config["models"])]
        return {run.name: run for run in runs}

    @functools.cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        """The records that are there, of failed runs too, by the run's name, in the plan's order."""
        if self.packed:
            path = self.workdir / layout.RUNS
            lines = [_checked(line, path, FROM_A_COPY) for line in _read(path, _json_lines, FROM_A_COPY)]
            known = {record["run"]: record for record in lines}
        else:
            paths = {name: self.folder(name) / layout.RECORD for name in self.planned}
            known = {name: _checked(read_json(p, remedy=AGAIN), p, AGAIN) for name, p in paths.items() if p.exists()}
        return {name: known[name] for name in self.planned if name in known}

    @functools.cached_property
    def finished(self) -> dict[str, dict[str, Any]]:
        """The records of finished runs."""
        return {name: record for name, record in self.records.items() if record["status"] == "finished"}

    @functools.cached_property
    def failed(self) -> list[str]:
        """Names of the runs that ended without a score."""
        return [name for name, record in self.records.items() if record["status"] == "failed"]

    @functools.cached_property
    def models(self) -> dict[str, Model]:
        """The models with finished runs, in the config's order."""
        known = {record["model"]: record for record in self.finished.values()}
        return {name: _model(known[name]) for name in self.config["models"] if name in known}

    @functools.cached_property
    def runs(self) -> pd.DataFrame:
        """A row a finished run, index `run`: the fields of the record, nested ones as "best_on_test.jaccard"."""
        if not self.finished:
            return pd.DataFrame()
        return _with_overlaps(pd.json_normalize(list(self.finished.values())).set_index("run"))

    @functools.cached_property
    def has_images(self) -> bool:
        """True where there are scores of single images; packed results may lack them."""
        return bool(self.finished) and (not self.packed or (self.workdir / layout.PER_IMAGE).exists())

    @functools.cached_property
    def per_image(self) -> pd.DataFrame:
        """A row a run, test image and class; read it where `has_images`.

        Columns: run, image_id, class, intersection, union, truth, predicted (pixels), the overlaps of
        metrics.OVERLAPS, and model, repeat, fold, group.
        """
        table = self._of_all_runs(layout.PER_IMAGE, layout.PER_IMAGE, pd.read_parquet)
        return _with_overlaps(table).assign(group=table["image_id"].map(self.groups))

    @functools.cached_property
    def epochs(self) -> pd.DataFrame:
        """A row a run and epoch: the columns of metrics.jsonl, and run, model, repeat, fold."""
        return self._of_all_runs(layout.METRICS, layout.EPOCHS, _epochs)

    @functools.cached_property
    def groups(self) -> dict[str, str]:
        """The group of every image id; each image is its own where no groups are known."""
        return self.folds.get("group_of", {}) or {
            image: image for cell in self.folds["folds"] for image in cell["test"]
        }

    def folder(self, name: str) -> Path:
        """Return the folder of the run of that name."""
        return layout.run_folder(self.workdir, self.planned[name])

    def test_ids(self, name: str) -> list[str]:
        """Return the test images of a run, in the order of its per_image.parquet and predictions.npz."""
        return self._cell(name)["test"]

    def training_ids(self, name: str) -> list[str]:
        """Return the training images of a run."""
        cell = self._cell(name)
        held_out = {*cell["test"], *cell["validation"]}
        return [image for image in self.groups if image not in held_out]

    def _cell(self, name: str) -> dict[str, Any]:
        run = self.planned[name]
        return next(c for c in self.folds["folds"] if (c["repeat"], c["fold"]) == (run.repeat, run.fold))

    def predictions(self, name: str) -> np.ndarray | None:
        """Return a run's probabilities (n, H, W, num_classes) in 255ths, uint8; None where they were not kept."""
        path = self.folder(name) / layout.PREDICTIONS
        return _read(path, _probabilities) if path.exists() else None

    def scored(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return a run's `predictions` and the labels (n, H, W) uint8 they are scored against; None without either."""
        if self.prepared is None or (predictions := self.predictions(name)) is None:
            return None
        _, masks, row = self.prepared
        return predictions, masks[[row[image] for image in self.test_ids(name)]]

    @functools.cached_property
    def prepared(self) -> tuple[np.ndarray, np.ndarray, dict[str, int]] | None:
        """Images (n, H, W, channels) and masks (n, H, W) at the training size, uint8, and the row of each id.

        They lie outside the workdir, where they were prepared. None where they are not, or are not those trained on.
        """
        try:
            folder = Path(read_json(self.workdir / layout.DATA, "prepared")["prepared"])
            names = read_json(folder / "names.json", "sha256", "ids")
            images, masks = (
                np.lib.format.open_memmap(folder / f"{part}.npy", mode="r") for part in ("images", "masks")
            )
        except (FileNotFoundError, ValueError):  # InputError is a ValueError
            return None
        if names["sha256"] != self.folds["sha256"]:
            return None
        return images, masks, {image: row for row, image in enumerate(names["ids"])}

    def _of_all_runs(self, of_a_run: str, packed: str, reader: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
        """Return the rows of a file of every finished run, in the plan's order, with model, repeat and fold."""
        if self.packed:
            path = self.workdir / packed
            parts = dict(iter(_read(path, reader, FROM_A_COPY).groupby("run", sort=False)))
            if lacking := [name for name in self.finished if name not in parts]:
                raise InputError(f"{path} is damaged (it lacks {lacking[0]}): {FROM_A_COPY}")
            frames = [parts[name] for name in self.finished]
        else:
            frames = [_read(self.folder(name) / of_a_run, reader).assign(run=name) for name in self.finished]
        table = pd.concat(frames, ignore_index=True)
        return table.merge(self.runs[["model", "repeat", "fold"]], left_on="run", right_index=True)


def load(folder: Path) -> Sweep:
    """Return the sweep in a workdir, or in a folder of packed results.

    Raises InputError where `folder` holds none, or where its config.json or folds.json is damaged.
    """
    needed = {
        layout.CONFIG: ("models", "repeats", "folds", "protocol", "data"),
        layout.FOLDS: ("dataset", "classes", "folds"),
    }
    for name in needed:
        if not (folder / name).exists():
            raise InputError(f"{folder} holds no sweep: there is no {name}")
    return Sweep(folder, *(read_json(folder / name, *keys) for name, keys in needed.items()))


def _checked(record: dict[str, Any], path: Path, remedy: str) -> dict[str, Any]:
    """Return a record of `path`; InputError where it lacks what every record of this version says."""
    if lacking := [key for key in ("status", "run", "model") if key not in record]:
        raise InputError(f"{path} is damaged (it lacks {', '.join(lacking)}): {remedy}")
    if lacking := [key for key in ("network", "encoder", "skip", "kernel") if key not in record]:
        raise InputError(
            f"{path} was written by another version of this project (it lacks {', '.join(lacking)}): "
            "python -m launch.merge --pack OUTPUT WORKDIR converts a finished sweep"
        )
    return record


def _model(record: dict[str, Any]) -> Model:
    kernel = record["kernel"]
    return Model(record["network"], record["encoder"], record["skip"], Kernel(**kernel) if kernel else None)


def _read(path: Path, reader: Callable[[Path], T], remedy: str = AGAIN) -> T:
    """Return what `reader` makes of a file; InputError, with the remedy, where it is missing or damaged."""
    try:
        return reader(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: {remedy}") from error
    except Exception as error:  # json, NumPy, pandas, pyarrow and zipfile raise many kinds
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError(f"{path} is damaged ({reason}): {remedy}") from error


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _epochs(path: Path) -> pd.DataFrame:
    """Return the rows of metrics.jsonl or epochs.csv. Python parses the numbers, as some of pandas' parsers round."""
    table = pd.read_csv(path, dtype=str) if path.suffix == ".csv" else pd.DataFrame(_json_lines(path))
    kinds = {name: int if name == "epoch" else float for name in table if name != "run"}
    return table.astype(kinds)


def _probabilities(path: Path) -> np.ndarray:
    with np.load(path) as file:
        return file["probabilities"]


def _with_overlaps(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with a column for every overlap: nan where the records were written without it."""
    return table.assign(**{name: np.nan for name in metrics.OVERLAPS if name not in table})
