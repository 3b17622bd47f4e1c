"""Images of a sweep's folds, and the probabilities that its runs give them.

Probabilities are kept in memory, in 255ths as in predictions.npz, and each image compressed. All validation images are
kept at once, the test images of one fold at a time. Before compression, those of the validation images are a byte per
pixel, class, network and run: 0.5 GB per network for 25 runs on 2,594 images of 192x256.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax.config import Config
from sharp_unet_jax.data import array_files
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import loading
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.storage import description
from sharp_unet_jax.storage.layout import Run, run_folder
from sharp_unet_jax.training import epochs, train

Predict = Callable[[Run, NDArray[np.int64]], Iterable[NDArray[np.float32]]]
"""Probabilities (H, W, num_classes) of images by a run, at the resolution of training."""


class Packed(NamedTuple):
    """Probabilities of an image in 255ths, compressed."""

    shape: tuple[int, ...]  # (H, W, num_classes)
    content: bytes


def pack(probabilities: NDArray[np.uint8]) -> Packed:
    """Compress the probabilities (H, W, num_classes) of an image in 255ths."""
    return Packed(probabilities.shape, zlib.compress(np.ascontiguousarray(probabilities).data, 1))


def unpack(packed: Packed) -> NDArray[np.uint8]:
    """Return what `pack` compressed."""
    return np.frombuffer(zlib.decompress(packed.content), np.uint8).reshape(packed.shape)


def dataset(sweep: Sweep) -> Dataset:
    """Return the data set of a sweep, from the prepared images that data.json names.

    Raises InputError where they are not there, or are not those that the sweep was trained on.
    """
    folder = description.read_prepared(sweep.workdir)
    if sweep.prepared is None or folder is None:
        raise InputError(
            f"{sweep.workdir}: the prepared images and masks are not where they were for the sweep, or have changed: "
            "give the sweep's command again, which prepares them"
        )
    images, masks, row = sweep.prepared
    native = array_files.read(folder, "native")
    return Dataset(
        sweep.dataset,
        images,
        masks,
        tuple(row),
        tuple(sweep.groups.values()),
        tuple(sweep.classes),
        folder,
        native=native if isinstance(native, Ragged) else None,
    )


def predictor(sweep: Sweep, config: Config, dataset: Dataset, devices: Sequence[jax.Device]) -> Predict:
    """Return what predicts images by the reported weights of a run, with the compiled steps that the run was scored by.

    A network is compiled once.
    """
    pairs = epochs.put(dataset, devices) if epochs.fits(config, dataset) else None
    programs: dict[str, epochs.Program] = {}

    def predict(run: Run, images: NDArray[np.int64]) -> Iterable[NDArray[np.float32]]:
        weights = loading.load_run(run_folder(sweep.workdir, run), plain=True).weights  # choice.json is to be replaced
        if run.model not in programs:
            programs[run.model] = epochs.build(config, run.model, dataset, pairs, devices)
        result = train.Result([], 0, weights["params"], weights["stats"], np.zeros(0))
        return train.predict(programs[run.model], result, images)

    return predict


@dataclass(frozen=True)
class Source:
    """A sweep and its images, with what predicts them."""

    sweep: Sweep
    config: Config  # of the sweep
    dataset: Dataset
    predict: Predict

    def validation(self, run: Run) -> NDArray[np.int64]:
        """Return the rows of a fold's inner validation images in the data set."""
        return self._rows(self.sweep.cell(run.repeat, run.fold)["validation"])

    def test(self, run: Run) -> NDArray[np.int64]:
        """Return the rows of a fold's test images in the data set."""
        return self._rows(self.sweep.cell(run.repeat, run.fold)["test"])

    def of_validation(self, run: Run) -> list[Packed]:
        """Return the probabilities of a run's inner validation images."""
        return self._predicted(run, self.validation(run))

    def of_test(self, run: Run) -> list[Packed]:
        """Return the probabilities of a run's test images: those that it kept, else predicted again."""
        kept = self.sweep.predictions(run.name)
        return self._predicted(run, self.test(run)) if kept is None else [pack(each) for each in kept]

    def _predicted(self, run: Run, rows: NDArray[np.int64]) -> list[Packed]:
        return [pack(np.rint(255 * each).astype(np.uint8)) for each in self.predict(run, rows)]

    def _rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self._row[image] for image in ids], np.int64)

    @cached_property
    def _row(self) -> dict[str, int]:
        return {image: row for row, image in enumerate(self.dataset.ids)}
