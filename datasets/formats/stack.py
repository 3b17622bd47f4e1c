"""What a file holds: one picture, or the pages or slices of a volume, all of one size."""

from typing import Any, NamedTuple

import numpy as np


class Stack(NamedTuple):
    """Pictures as the eye and the network see them, rows from top to bottom."""

    pictures: np.ndarray  # (n, H, W) or (n, H, W, 3), as stored or, of a CT, in Hounsfield units
    area: float | None = None  # of a pixel, mm², where the file says
    origin: Any = None  # what the family needs to write a mask that belongs to this file
