"""How much the test images of the folds resemble what the runs had seen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table


class Pair(NamedTuple):
    """A test image and the image most like it that a run of the same fold had seen."""

    test: str  # ids
    seen: str
    distance: int  # bits of 64 in which their perceptual hashes differ
    images: tuple[np.ndarray, np.ndarray]  # (h, w, 3) uint8 each
    caption: str


def table(sweeps: Sequence[Sweep]) -> Table:
    """A row a sweep: what share of the test images has a relative among the images its run had seen."""
    raise NotImplementedError


def worst(sweep: Sweep, number: int = 8) -> list[Pair]:
    """The most alike pairs across folds; empty where the prepared images are not there."""
    raise NotImplementedError


def gallery(sweep: Sweep) -> Figure | None:
    """The `worst` pairs side by side; None where there are none."""
    raise NotImplementedError
