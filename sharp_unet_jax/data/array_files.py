"""The arrays of a prepared data set as .npy files: written example by example, since all may not fit into memory.

Images of one size are an array (n, H, W, C). Images of their own sizes are an array (pixels, C), and their heights and
widths lie in a file beside it.
"""

from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax.ragged import Ragged

Arrays = NDArray[np.uint8] | Ragged


class Writer:
    """Writes n images (h, w, C), or masks (h, w), of uint8 to a file."""

    def __init__(self, file: IO[bytes], *, ragged: bool):
        self._file, self._ragged = file, ragged
        self._sizes: list[tuple[int, int]] = []
        self._shape: tuple[int, ...] = ()  # of an image
        self._start = 0

    def add(self, image: NDArray[np.uint8]) -> None:
        """Write an image."""
        if not self._sizes:
            self._shape = image.shape
            self._start = self._header(0)
        self._sizes.append((image.shape[0], image.shape[1]))
        self._file.write(np.ascontiguousarray(image, np.uint8).data)

    def close(self) -> Arrays:
        """Return what was written, mapped from the file: it stays valid when the file is closed, renamed or deleted."""
        number = sum(height * width for height, width in self._sizes) if self._ragged else len(self._sizes)
        self._file.seek(0)
        assert self._header(number) == self._start  # NumPy leaves room for the digits of the first axis
        self._file.flush()
        mapped = np.memmap(self._file, np.uint8, "r", self._start, self._whole(number))
        return Ragged(mapped, np.array(self._sizes, np.int64)) if self._ragged else mapped

    def _whole(self, number: int) -> tuple[int, ...]:
        return (number, *(self._shape[2:] if self._ragged else self._shape))

    def _header(self, number: int) -> int:
        header = {"descr": "|u1", "fortran_order": False, "shape": self._whole(number)}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()


def path(folder: Path, part: str) -> Path:
    """Return the file of a part: "images", "masks" or "native"."""
    return folder / f"{part}.npy"


def write_sizes(folder: Path, part: str, arrays: Arrays) -> None:
    """Write the heights and widths of images that have their own."""
    if isinstance(arrays, Ragged):
        np.save(_sizes_path(folder, part), arrays.sizes)


def read(folder: Path, part: str) -> Arrays | None:
    """Return a part, mapped from its file; None where it is not there.

    Raises ValueError for files that do not fit each other, and what NumPy raises for a damaged header.
    """
    if not path(folder, part).is_file():  # opening a pipe may never end
        return None
    array = np.lib.format.open_memmap(path(folder, part), mode="r")
    if array.dtype != np.uint8:
        raise ValueError(f"{part} are {array.dtype}")
    if not _sizes_path(folder, part).is_file():
        return array
    sizes = np.load(_sizes_path(folder, part))
    if sizes.dtype != np.int64 or sizes.ndim != 2 or sizes.shape[1] != 2 or sizes.min(initial=1) < 1:
        raise ValueError(f"the sizes of {part} are none")
    if len(array) != sizes.prod(axis=1).sum():
        raise ValueError(f"{part} hold {len(array)} pixels, and their sizes {sizes.prod(axis=1).sum()}")
    return Ragged(array, sizes)


def _sizes_path(folder: Path, part: str) -> Path:
    return folder / f"{part}-sizes.npy"
