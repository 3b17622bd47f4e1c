"""A stack of pictures: what a file holds, be it one picture, pages, or the slices of a volume; and its header."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.errors import DataError
from datasets.files import MAX_PIXELS
from sharp_unet_jax.advice import memory
from sharp_unet_jax.errors import InputError, is_out_of_memory

SHORTEST, LONGEST = 1e-9, 1e6  # sides of a pixel in mm: a picometre, a kilometre


Spacing = tuple[float, float]  # millimetres from row to row and from column to column


class How(NamedTuple):
    """Settings of a data set that say how its files are read where these do not say it themselves."""

    pages: str = ""  # of a TIF: "channels" or "slices"; "" refuses pages that could be both
    axis: str = "axial"  # slices of a NIfTI volume: "axial", "coronal" or "sagittal"
    channels: int | None = None  # of the run that is to predict; None in training, which takes them from the files
    seen: str = ""  # `Header.axes` that a NIfTI mask shares with its image, instead of those of `axis`; "" for none


PLAIN = How()


@dataclass(frozen=True)
class Header:
    """Facts of a file that need no decoding of its pixels."""

    slices: int  # pictures in the file
    size: tuple[int, int]  # width, height of each
    channels: int  # of each; alpha is not one
    deep: bool  # more than 8 bits per channel
    kind: str  # as its library names it: "PNG RGBA", "TIF uint16 x 3"
    orientation: int = 1  # EXIF's; 2 to 8 ask to show it rotated or mirrored, which is not done
    patient: str = ""  # DICOM's PatientID

    @property
    def rotated(self) -> bool:
        """Return True if its EXIF data ask to show it rotated or mirrored."""
        return self.orientation > 1

    # Affine (4, 4) from (column, row, slice, 1) to mm to the right, to the front and up; None where it is not known.
    grid: np.ndarray | None = field(default=None, compare=False)
    spacing: Spacing | None = field(default=None, compare=False)  # as that of `Stack`
    apart: bool = False  # its channels are an axis of the file, as several stains are, and no colours
    axes: str = ""  # directions in the patient of columns, rows and slices, such as "LPS"; "" where it is not known
    as_stored: bool = True  # columns, rows and slices have the order of the file, or of the numbers of a series' files


class Stack(NamedTuple):
    """Pictures of one size as they are looked at, rows from top to bottom."""

    pictures: np.ndarray  # (n, H, W, C) as stored; a CT in Hounsfield units
    spacing: Spacing | None = None  # None where the file does not say; it may say the impossible
    origin: Any = None  # what the format needs to write a mask that belongs to this file
    ct: bool = False  # the pictures may be a CT, by the file's format or its header

    @property
    def area(self) -> float | None:
        """The area of a pixel in mm²; None where the file does not say it, NaN where it says the impossible."""
        if self.spacing is None:
            return None
        return math.prod(self.spacing) if is_possible(self.spacing) else math.nan


def is_possible(spacing: Spacing) -> bool:
    """Say whether a picture's pixels can have these sides: 0, -1, infinity and NaN are none."""
    return all(SHORTEST <= side <= LONGEST for side in spacing)


def check_size(where: Path | str, shape: Sequence[int], size: int) -> None:
    """Refuse pictures by what their header says, before they take any memory. Raises DataError.

    Args:
        where: the file, for the message.
        shape: (n, H, W, ...) of the pictures.
        size: bytes of all pictures.
    """
    number, height, width = shape[:3]
    if min(shape) < 1:
        raise DataError(f"{where}: holds no pictures, but {number} of {height}x{width} pixels; remove or repair it")
    if height * width > MAX_PIXELS:
        raise DataError(f"{where}: is {height}x{width} pixels, and more than {MAX_PIXELS:,} are not read; crop it")
    if size > (free := memory.free()):
        gigabytes = f"{size / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free"
        raise DataError(f"{where}: needs {gigabytes}; free memory, or save it in parts")


@contextlib.contextmanager
def reading(where: Path | str, kind: str) -> Iterator[None]:
    """Turn an error in reading the file `where` as `kind` into a DataError that names the file once."""
    try:
        yield
    except (DataError, InputError):
        raise
    except Exception as error:  # the libraries raise errors of many kinds
        if is_out_of_memory(error):
            raise DataError(f"{where}: is too large for the memory; free memory, or save it in parts") from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        fault = "it is damaged, cut short, or of another kind"
        raise DataError(f"{where}: cannot be read as {kind} ({reason}); {fault}") from error
