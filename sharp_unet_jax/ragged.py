"""Images of different sizes as one array: their pixels lie one after another, image by image, row by row."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Ragged:
    """Images (h, w, C), or masks (h, w), of n sizes: `ragged[i]` is a view of the i-th one."""

    flat: NDArray[np.uint8]  # (pixels, C) or (pixels,): of all images
    sizes: NDArray[np.int64]  # (n, 2): heights and widths

    @functools.cached_property
    def starts(self) -> NDArray[np.int64]:
        """The first pixel of each image, (n,)."""
        areas = self.sizes.prod(axis=1)
        return np.cumsum(areas) - areas

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.flat.nbytes

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.sizes)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Return the image `index`, a view."""
        height, width = self.sizes[index].tolist()
        start = int(self.starts[index])
        return self.flat[start : start + height * width].reshape(height, width, *self.flat.shape[1:])

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield every image."""
        return (self[index] for index in range(len(self)))


def of(images: Sequence[NDArray[np.uint8]]) -> Ragged:
    """Return images (h, w, C), or masks (h, w), of any sizes as one array."""
    flat = [image.reshape(-1, *image.shape[2:]) for image in images]
    return Ragged(np.concatenate(flat), np.array([image.shape[:2] for image in images], np.int64))
