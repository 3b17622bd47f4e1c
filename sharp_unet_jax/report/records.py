"""A sweep's records, read from its workdir or from packed results. Needs neither JAX nor a network.

`storage/layout.py` lists the files of both. Packed results hold no images, masks or predictions; some
lack the scores of single images too.
"""

import functools
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sharp_unet_jax import metrics
from sharp_unet_jax.data import array_files, digest
from sharp_unet_jax.data.array_files import Arrays
from sharp_unet_jax.errors import AGAIN
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.storage import contents, description, layout, packed, run_files
from sharp_unet_jax.storage.description import Description
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.storage.reading import damaged

Scored = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Probabilities (H, W, num_classes) in 255ths and labels (H, W) of each image."""


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


@dataclass(frozen=True, eq=False)  # a sweep equals only itself, so it may be the key of a dict
class Sweep(Description):
    """A sweep's records. Each part is read when it is first asked for."""

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
        return bool(self.sha256)

    @functools.cached_property
    def environment(self) -> dict[str, Any]:
        """environment.json: the commands, and the versions they ran with; {} where it was not recorded."""
        return description.read_environment(self.workdir, self.sha256.get(layout.ENVIRONMENT))

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
            known = packed.read_records(self, self.planned)
            return {name: known[name] for name in self.planned if name in known}
        read = {name: run_files.read_record(self, run) for name, run in self.planned.items()}
        return {name: record for name, record in read.items() if record}

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
        """A row per finished run, index `run`: the fields of the record, nested ones as "best_on_test.jaccard"."""
        if not self.finished:
            return pd.DataFrame()
        return _with_overlaps(pd.json_normalize(list(self.finished.values())).set_index("run"))

    @functools.cached_property
    def has_images(self) -> bool:
        """True where there are scores of single images; packed results may lack them."""
        return bool(self.finished) and (layout.PER_IMAGE in self.sha256 or not self.packed)

    @functools.cached_property
    def per_image(self) -> pd.DataFrame:
        """A row per run, test image and class; read it where `has_images`.

        Columns: run, image_id, class, intersection, union, truth, predicted (pixels), the overlaps of
        metrics.OVERLAPS, and model, repeat, fold, group.
        """
        if self.packed:
            frames = packed.read_per_image(self, self.finished)
        else:
            frames = {name: run_files.read_per_image(self, record) for name, record in self.finished.items()}
        table = _with_overlaps(self._of_all_runs(frames))
        return table.assign(group=table["image_id"].map(self.groups))

    @functools.cached_property
    def epochs(self) -> pd.DataFrame:
        """A row per run and epoch: the columns of metrics.jsonl, and run, model, repeat, fold."""
        if self.packed:
            rows = packed.read_epochs(self, self.finished)
        else:
            read = run_files.read_epochs
            rows = {name: read(self, self.planned[name], record) for name, record in self.finished.items()}
        frames = {name: pd.DataFrame(each, dtype=float).astype({"epoch": int}) for name, each in rows.items()}
        return self._of_all_runs(frames)

    @functools.cached_property
    def groups(self) -> dict[str, str]:
        """The group of every image id."""
        return self.folds["group_of"]

    def folder(self, name: str) -> Path:
        """Return the folder of the run of that name."""
        return layout.run_folder(self.workdir, self.planned[name])

    def scores(self, model: str, column: str = "jaccard") -> pd.Series:
        """Return the scores of the finished runs of `model` in per cent, index repeat, fold; `column` is of `runs`."""
        runs = self.runs.loc[self.runs["model"] == model, ["repeat", "fold", column]].set_index(["repeat", "fold"])
        return 100 * runs[column].astype(float)

    def test_ids(self, name: str) -> list[str]:
        """Return the test images of a run, in the order of its per_image.parquet and predictions.npz."""
        return self._cell(name)["test"]

    def training_ids(self, name: str) -> list[str]:
        """Return the training images of a run."""
        cell = self._cell(name)
        held_out = {*cell["test"], *cell["validation"]}
        return [image for image in self.groups if image not in held_out]

    def _cell(self, name: str) -> contents.Cell:
        run = self.planned[name]
        return self.cell(run.repeat, run.fold)

    def predictions(self, name: str) -> Arrays | None:
        """Return a run's probabilities (n, H, W, num_classes) in 255ths, uint8; None where they were not kept.

        Raises InputError if they are damaged, or of other sizes than the `prepared` images.
        """
        predictions = None if self.packed else run_files.read_predictions(self, self.finished[name])
        if isinstance(predictions, Ragged) and self.prepared is not None:
            _, masks, row = self.prepared
            for image, own in zip(self.test_ids(name), predictions, strict=True):
                if own.shape[:2] != (size := masks[row[image]].shape):
                    sizes = f"it has {image} at {'x'.join(map(str, own.shape[:2]))}, not {'x'.join(map(str, size))}"
                    raise damaged(self.folder(name) / layout.PREDICTIONS, sizes, AGAIN)
        return predictions

    def scored(self, name: str) -> Scored | None:
        """Return each test image's `predictions` and its labels at that size; None without either."""
        if self.prepared is None or (predictions := self.predictions(name)) is None:
            return None
        _, masks, row = self.prepared
        rows = [row[image] for image in self.test_ids(name)]
        return [(probabilities, masks[index]) for probabilities, index in zip(predictions, rows, strict=True)]

    @functools.cached_property
    def prepared(self) -> tuple[Arrays, Arrays, dict[str, int]] | None:
        """Images (n, H, W, channels) and masks (n, H, W) as they were trained on, uint8, and the row of each id.

        They lie outside the workdir, where they were prepared. None where they are not, or are not those trained on:
        every pixel takes part in the digest in folds.json.

        Raises InputError if data.json is damaged.
        """
        folder, groups = description.read_prepared(self.workdir), self.groups
        if folder is None:
            return None
        try:
            images, masks, native = (array_files.read(folder, part) for part in ("images", "masks", "native"))
            if images is None or masks is None:
                return None
            found = digest.of_pairs((images, masks, native), groups.keys(), groups.values(), self.classes)
        except (OSError, ValueError, TypeError, EOFError, SyntaxError, OverflowError):  # missing, or a damaged header
            return None
        if found != self.folds["sha256"]:
            return None
        return images, masks, {image: row for row, image in enumerate(groups)}

    @functools.cached_property
    def native(self) -> Arrays | None:
        """Masks (h, w) as in their files, in the rows of `prepared`; None where scores are not by them."""
        folder = description.read_prepared(self.workdir)
        return None if self.prepared is None or folder is None else array_files.read(folder, "native")

    def _of_all_runs(self, frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
        """Return the rows of all finished runs, in the plan's order, with model, repeat and fold."""
        table = pd.concat([frames[name].assign(run=name) for name in self.finished], ignore_index=True)
        return table.merge(self.runs[["model", "repeat", "fold"]], left_on="run", right_index=True)


def load(folder: Path) -> Sweep:
    """Return the sweep in a workdir, or in a folder of packed results.

    Raises InputError where `folder` holds none, or where its config.json or folds.json is damaged.
    """
    found = description.read(folder)
    return Sweep(found.workdir, found.config, found.folds, found.sha256)


def _model(record: dict[str, Any]) -> Model:
    values = record["kernel"]
    kernel = Kernel(*(values[name] for name in Kernel._fields)) if values else None
    return Model(record["network"], record["encoder"], record["skip"], kernel)


def _with_overlaps(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with a column for every overlap: nan for one that `metrics.OVERLAPS` got after the runs ended."""
    return table.assign(**{name: np.nan for name in metrics.OVERLAPS if name not in table})
