"""Overlapping tiles of one size: cutting images, and joining the predictions on tiles."""

from collections.abc import Iterable, Iterator

import numpy as np

from sharp_unet_jax.data.resize import Size

SIGMA = 1 / 8  # of the Gaussian, in sides of a tile, as in nnU-Net (Isensee et al. 2021)


def starts(length: int, tile: int, multiple: int) -> list[int]:
    """Return where tiles of length `tile` begin along an axis: evenly spaced, at most half a tile apart.

    Even spacing keeps a pixel from lying at the border of all its tiles. All tiles begin at multiples of `multiple`,
    the network's stride: there its pooling divides a tile as it divides the whole image.
    """
    last = -(-max(length - tile, 0) // multiple)
    gaps = -(-last // max(tile // 2 // multiple, 1))
    return [-(-number * last // max(gaps, 1)) * multiple for number in range(gaps + 1)]


def cut(image: np.ndarray, tile: Size, multiple: int) -> Iterator[np.ndarray]:
    """Yield the tiles (*tile, C) of an image (h, w, C), row by row; beyond the image its edge is repeated."""
    rows, columns = (starts(length, side, multiple) for length, side in zip(image.shape, tile, strict=False))
    for top in rows:
        for left in columns:
            part = image[top : top + tile[0], left : left + tile[1]]
            below, right = tile[0] - part.shape[0], tile[1] - part.shape[1]
            yield np.pad(part, ((0, below), (0, right), (0, 0)), mode="edge")


def join(tiles: Iterable[np.ndarray], size: Size, tile: Size, multiple: int) -> np.ndarray:
    """Average overlapping `tiles` (*tile, K) float32, in the order of `cut`, to the image's `size`: (h, w, K).

    Each tile is weighted by a Gaussian around its middle: at its borders the network sees least.
    """
    weight = np.outer(*map(_gaussian, tile)).astype(np.float32)[..., None]
    rows, columns = (starts(length, side, multiple) for length, side in zip(size, tile, strict=True))
    total = np.zeros(0, np.float32)
    weights = np.zeros((*size, 1), np.float32)
    for (top, left), part in zip([(top, left) for top in rows for left in columns], tiles, strict=True):
        if not total.size:
            total = np.zeros((*size, part.shape[2]), np.float32)
        inside = slice(top, top + tile[0]), slice(left, left + tile[1])
        height, width = weights[inside].shape[:2]
        total[inside] += (part * weight)[:height, :width]
        weights[inside] += weight[:height, :width]
    total /= weights
    return total


def _gaussian(length: int) -> np.ndarray:
    position = (np.arange(length) + 0.5) / length - 0.5
    return np.exp(-0.5 * (position / SIGMA) ** 2)
