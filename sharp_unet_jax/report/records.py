"""What sweeps left in their workdirs, read back for tables, statistics and figures. Needs neither a model nor JAX."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from sharp_unet_jax import metrics
from sharp_unet_jax.errors import AGAIN, InputError
from sharp_unet_jax.storage.layout import Run

T = TypeVar("T")


class Kernel(NamedTuple):
    """The kernel of a network's sharp blocks."""

    name: str
    padding: str  # "zero" or "reflect"
    sum: float  # of its numbers
    scale: float  # root of the sum of their squares


class Model(NamedTuple):
    """What the records say of a model."""

    network: str  # shared by twins: the name of the plain one
    encoder: str  # "unet", "wide_unet", "vgg16", "resnet50", ...
    skip: str  # "plain" or "sharp"
    kernel: Kernel | None  # None for plain skips


@dataclass(frozen=True)
class Sweep:
    """A sweep's records; everything is read when it is first asked for."""

    workdir: Path
    config: dict[str, Any]  # config.json
    folds: dict[str, Any]  # folds.json

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.folds["dataset"]

    @property
    def classes(self) -> list[str]:
        """Names, background first."""
        return self.folds["classes"]

    @functools.cached_property
    def environment(self) -> dict[str, Any]:
        """environment.json: the commands, and what they ran with; {} where it was not recorded."""
        path = self.workdir / "environment.json"
        return _read(path, _json, "delete it") if path.exists() else {}

    @functools.cached_property
    def planned(self) -> list[str]:
        """Names of all runs of the config's models, repeats and folds, "unet/repeat0-fold0", in the plan's order."""
        repeats, folds = range(self.config["repeats"]), range(self.config["folds"])
        return [Run(*cell).name for cell in product(repeats, folds, self.config["models"])]

    @functools.cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        """The records that are there, by the run's name, in the plan's order; those of failed runs too."""
        paths = {name: self.folder(name) / "record.json" for name in self.planned}
        return {name: _record(path) for name, path in paths.items() if path.exists()}

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
        """A row a finished run, index `run`: the columns of record.json, nested ones as "best_on_test.jaccard"."""
        if not self.finished:
            return pd.DataFrame()
        return _with_overlaps(pd.json_normalize(list(self.finished.values())).set_index("run"))

    @functools.cached_property
    def per_image(self) -> pd.DataFrame:
        """A row a run, test image and class: run, image_id, class, intersection, union, truth, predicted (pixels), the
        overlaps of metrics.OVERLAPS, and model, repeat, fold, group."""
        frames = [_read(self.folder(name) / "per_image.parquet", pd.read_parquet) for name in self.finished]
        table = pd.concat(frames, ignore_index=True)
        table = table.merge(self.runs[["model", "repeat", "fold"]], left_on="run", right_index=True)
        return _with_overlaps(table).assign(group=table["image_id"].map(self.groups))

    @functools.cached_property
    def epochs(self) -> pd.DataFrame:
        """A row a run and epoch: the columns of metrics.jsonl, and run, model, repeat, fold."""
        frames = [_read(self.folder(name) / "metrics.jsonl", _lines).assign(run=name) for name in self.finished]
        table = pd.concat(frames, ignore_index=True)
        return table.merge(self.runs[["model", "repeat", "fold"]], left_on="run", right_index=True)

    @functools.cached_property
    def groups(self) -> dict[str, str]:
        """Of every image id, what must not be split across folds; each image its own where no group is known."""
        return self.folds.get("group_of", {}) or {
            image: image for cell in self.folds["folds"] for image in cell["test"]
        }

    def folder(self, name: str) -> Path:
        """Where the run of that name left its files."""
        return self.workdir / "runs" / name

    def test_ids(self, name: str) -> list[str]:
        """The test images of a run, in the order of its per_image.parquet and predictions.npz."""
        _, _, cell = name.rpartition("/")
        repeat, fold = (int(part) for part in cell.removeprefix("repeat").split("-fold"))
        return next(c["test"] for c in self.folds["folds"] if (c["repeat"], c["fold"]) == (repeat, fold))

    def predictions(self, name: str) -> np.ndarray | None:
        """Probabilities (n, H, W, outputs) of a run's test images in 255ths, uint8; None where they were not kept."""
        path = self.folder(name) / "predictions.npz"
        return _read(path, _probabilities) if path.exists() else None

    def scored(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """`predictions` of a run and, (n, H, W) uint8, the labels they are scored against; None without either."""
        if self.pairs is None or (predictions := self.predictions(name)) is None:
            return None
        _, masks, row = self.pairs
        return predictions, masks[[row[image] for image in self.test_ids(name)]]

    @functools.cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray, dict[str, int]] | None:
        """Images (n, H, W, C) and masks (n, H, W) at the size of training, uint8, and the row of each id.

        They lie where they were prepared, outside of the workdir: None where they are not, or not those trained on.
        """
        try:
            folder = Path(json.loads((self.workdir / "data.json").read_text())["prepared"])
            names = json.loads((folder / "names.json").read_text())
            images, masks = (
                np.lib.format.open_memmap(folder / f"{part}.npy", mode="r") for part in ("images", "masks")
            )
        except (FileNotFoundError, ValueError, KeyError):
            return None
        if names["sha256"] != self.folds["sha256"]:
            return None
        return images, masks, {image: row for row, image in enumerate(names["ids"])}


def load(workdir: Path) -> Sweep:
    """The sweep in `workdir`; InputError where there is none, or what says so is damaged."""
    needed = {"config": ("models", "repeats", "folds", "protocol", "data"), "folds": ("dataset", "classes", "folds")}
    found = []
    for name, keys in needed.items():
        path = workdir / f"{name}.json"
        if not path.exists():
            raise InputError(f"{workdir} holds no sweep: there is no {path.name}")
        found.append(_read(path, functools.partial(_with, keys), "bring it back from a copy"))
    return Sweep(workdir, *found)


def _read(path: Path, reader: Callable[[Path], T], remedy: str = AGAIN) -> T:
    """What `reader` makes of a file that a sweep left; InputError where it is missing or damaged."""
    try:
        return reader(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: {remedy}") from error
    except Exception as error:  # of json, NumPy, pandas, pyarrow and zipfile
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError(f"{path} is damaged ({reason}): {remedy}") from error


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _record(path: Path) -> dict[str, Any]:
    """Return a run's record; InputError for one of another version, which does not say what network ran."""
    record = _read(path, functools.partial(_with, ("status", "run", "model")))
    if lacking := [key for key in ("network", "encoder", "skip", "kernel") if key not in record]:
        raise InputError(
            f"{path} was written by another version of this project (it lacks {', '.join(lacking)}): "
            "python -m launch.merge --pack OUTPUT WORKDIR converts a finished sweep"
        )
    return record


def _model(record: dict[str, Any]) -> Model:
    kernel = record["kernel"]
    return Model(record["network"], record["encoder"], record["skip"], Kernel(**kernel) if kernel else None)


def _with(keys: Sequence[str], path: Path) -> dict[str, Any]:
    tree = _json(path)
    if not isinstance(tree, dict) or (lacking := [key for key in keys if key not in tree]):
        raise ValueError(f"it lacks {', '.join(lacking)}" if isinstance(tree, dict) else "it is no object")
    return tree


def _with_overlaps(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with a column for every overlap: nan where the records were written without it."""
    return table.assign(**{name: np.nan for name in metrics.OVERLAPS if name not in table})


def _lines(path: Path) -> pd.DataFrame:
    return pd.read_json(path, lines=True)


def _probabilities(path: Path) -> np.ndarray:
    with np.load(path) as file:
        return file["probabilities"]
