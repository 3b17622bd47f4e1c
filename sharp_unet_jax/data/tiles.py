"""Images cut into overlapping tiles of one size, and what was predicted on them put together again."""

from collections.abc import Iterable, Iterator

import numpy as np

from sharp_unet_jax.data.resize import Size

SIGMA = 1 / 8  # of the Gaussian, in tiles: nnU-Net's (Isensee et al. 2021)


def starts(length: int, tile: int, multiple: int) -> list[int]:
    """Where tiles begin along an axis: evenly, half a tile apart at most, from the first pixel to the last.

    Evenly, lest a pixel be at the borders of all its tiles. All begin at multiples of `multiple`, what the network
    halves its maps by in all: only there it sees in a tile what it sees in the whole image.
    """
    last = -(-max(length - tile, 0) // multiple)
    gaps = -(-last // max(tile // 2 // multiple, 1))
    return [-(-number * last // max(gaps, 1)) * multiple for number in range(gaps + 1)]


def cut(image: np.ndarray, tile: Size, multiple: int) -> Iterator[np.ndarray]:
    """Tiles (*tile, C) of an image (h, w, C), row by row; where it ends, its edge is repeated."""
    rows, columns = (starts(length, side, multiple) for length, side in zip(image.shape, tile, strict=False))
    for top in rows:
        for left in columns:
            part = image[top : top + tile[0], left : left + tile[1]]
            below, right = tile[0] - part.shape[0], tile[1] - part.shape[1]
            yield np.pad(part, ((0, below), (0, right), (0, 0)), mode="edge")


def join(tiles: Iterable[np.ndarray], size: Size, tile: Size, multiple: int) -> np.ndarray:
    """The mean of overlapping `tiles` (*tile, K) float32 in the order of `cut`, at the image's `size`: (h, w, K).

    A tile's weight falls as a Gaussian from its middle: at its borders the network sees least.
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
