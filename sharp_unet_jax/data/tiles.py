"""Overlapping tiles of one size: cutting images, and joining the predictions on tiles."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax.data import crops
from sharp_unet_jax.data.resize import Size

SIGMA = 1 / 8  # of the Gaussian, in sides of a tile, as in nnU-Net (Isensee et al. 2021)


def starts(length: int, tile: int, multiple: int) -> list[int]:
    """Return where tiles of length `tile` begin along an axis: evenly spaced, at most half a tile apart.

    Even spacing keeps a pixel from lying at the border of all its tiles. All tiles begin at multiples of `multiple`,
    the network's stride: there its pooling divides a tile as it divides the whole image. Tiles of less than two strides
    begin at multiples of a part of it.
    """
    multiple = step(tile, multiple)
    last = -(-max(length - tile, 0) // multiple)
    gaps = -(-last // max(tile // 2 // multiple, 1))
    return [-(-number * last // max(gaps, 1)) * multiple for number in range(gaps + 1)]


def step(tile: int, stride: int) -> int:
    """Return the number that tiles of length `tile` begin at multiples of, for a network of a stride."""
    return next(part for part in range(stride, 0, -1) if stride % part == 0 and part <= max(tile // 2, 1))


def cut(image: np.ndarray, tile: Size, multiple: int) -> Iterator[np.ndarray]:
    """Yield the tiles (*tile, C) of an image (h, w, C), row by row; beyond its edge the image is mirrored."""
    rows, columns = (starts(length, side, multiple) for length, side in zip(image.shape, tile, strict=False))
    for top in rows:
        for left in columns:
            yield crops.part(image, top, left, tile)


def join(tiles: Iterable[np.ndarray], size: Size, tile: Size, multiple: int) -> np.ndarray:
    """Average overlapping `tiles` (..., *tile, K) float32, in the order of `cut`, to the image's `size` (h, w).

    The result is (..., h, w, K) float32. Each tile is weighted by a Gaussian around its middle: at its borders the
    network sees least.
    """
    weight = gaussian(tile)[..., None]
    rows, columns = (starts(length, side, multiple) for length, side in zip(size, tile, strict=True))
    total = np.zeros(0, np.float32)
    weights = np.zeros((*size, 1), np.float32)
    for (top, left), part in zip([(top, left) for top in rows for left in columns], tiles, strict=True):
        if not total.size:
            total = np.zeros((*part.shape[:-3], *size, part.shape[-1]), np.float32)
        inside = slice(top, top + tile[0]), slice(left, left + tile[1])
        height, width = weights[inside].shape[:2]
        total[..., *inside, :] += (part * weight)[..., :height, :width, :]
        weights[inside] += weight[:height, :width]
    total /= weights
    return total


def gaussian(tile: Size) -> NDArray[np.float32]:
    """Return the weights (*tile) of a tile's pixels."""
    return np.outer(*map(_gaussian, tile)).astype(np.float32)


class Sheet(NamedTuple):
    """Images whose tiles are predicted together and joined on one canvas, on which they lie below each other."""

    images: NDArray[np.int64]  # (m,), indices into the data set
    tops: list[int]  # row of the canvas at which each image begins
    tiles: NDArray[np.int32]  # (t, 4): image, top and left in the image, top on the canvas; image by image


def canvas(sizes: NDArray[np.int64], tile: Size, multiple: int, batch: int) -> Size:
    """Return the height and width of a canvas for images of `sizes` (n, 2): it has room for a batch of tiles."""
    rows, columns = _extents(sizes, tile, multiple)
    return max(int(rows.max()), batch * tile[0]), int(columns.max())


def sheets(
    images: NDArray[np.int64], sizes: NDArray[np.int64], tile: Size, multiple: int, height: int
) -> Iterator[Sheet]:
    """Yield sheets that hold the `images` (n,) in their order.

    Args:
        images: indices into the data set.
        sizes: heights and widths of all its images.
        tile: height and width of tiles.
        multiple: the network's stride, see `starts`.
        height: of the canvas.
    """
    extents = _extents(sizes[images], tile, multiple)[0]
    below = 0  # rows that are taken
    members: list[tuple[int, int]] = []
    for image, extent in zip(images.tolist(), extents.tolist(), strict=True):
        if below + extent > height:
            yield _sheet(members, sizes, tile, multiple)
            members, below = [], 0
        members.append((image, below))
        below += extent
    if members:
        yield _sheet(members, sizes, tile, multiple)


def _sheet(members: Sequence[tuple[int, int]], sizes: NDArray[np.int64], tile: Size, multiple: int) -> Sheet:
    places = []
    for image, row in members:
        tops, lefts = (starts(length, side, multiple) for length, side in zip(sizes[image].tolist(), tile, strict=True))
        places += [(image, top, left, row + top) for top in tops for left in lefts]
    images, rows = zip(*members, strict=True)
    return Sheet(np.array(images, np.int64), list(rows), np.array(places, np.int32))


def _extents(sizes: NDArray[np.int64], tile: Size, multiple: int) -> NDArray[np.int64]:
    """Return the rows and the columns that the tiles of each image reach, (2, n): they may end beyond the image."""
    ends = (
        [starts(length, side, multiple)[-1] + side for length in lengths.tolist()]
        for lengths, side in zip(sizes.T, tile, strict=True)
    )
    return np.array(list(ends))


def _gaussian(length: int) -> np.ndarray:
    position = (np.arange(length) + 0.5) / length - 0.5
    return np.exp(-0.5 * (position / SIGMA) ** 2)
