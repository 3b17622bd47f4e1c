"""A stack of pictures: what a file holds, be it one picture, pages, or the slices of a volume."""

from typing import Any, NamedTuple

import numpy as np


class Stack(NamedTuple):
    """Pictures of one size as they are looked at, rows from top to bottom."""

    pictures: np.ndarray  # (n, H, W) or (n, H, W, 3) as stored; a CT in Hounsfield units
    area: float | None = None  # of a pixel in mm²; None where the file does not say
    origin: Any = None  # what the format needs to write a mask that belongs to this file
