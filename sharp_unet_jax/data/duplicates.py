"""Near-duplicates among images: by perceptual hash, and by the correlation of grey values."""

import re
from collections.abc import Sequence

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sharp_unet_jax.data.pillow import picture

DUPLICATE = 4
"""Images whose hashes differ in at most this many of 64 bits count as near-duplicates.

4 is the largest even limit at which fewer than 1 in 10,000 pairs of unrelated images of four data sets count: 5 of
244,288 (bench/near_duplicates.py). On other data sets more unrelated pairs may count, or more copies be missed.
"""


def _grey(pixels: NDArray[np.uint8]) -> Image.Image:
    """Turn pixels (h, w, C) uint8 into a grey picture: of RGB the luminance, of any other number of channels the mean.

    The mean shows what any channel shows; the three that are drawn may be the same in all images.
    """
    if pixels.shape[-1] in (1, 3):
        return picture(pixels).convert("L")
    return Image.fromarray(np.rint(pixels.mean(axis=-1)).astype(np.uint8))


def phash(pixels: NDArray[np.uint8]) -> np.uint64:
    """Return the perceptual hash (pHash) of an image (h, w, C) uint8: 64 bits, similar for similar pictures."""
    return np.packbits(imagehash.phash(_grey(pixels)).hash).view(np.uint64)[0]


def small(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the grey values at 32x32, centred and of length 1, (1024,): the product of two is their correlation."""
    values = np.asarray(_grey(pixels).resize((32, 32), Image.Resampling.BOX), np.float32).ravel()
    centred = values - values.mean()
    return centred / max(np.linalg.norm(centred), 1e-6)


def near(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return all pairs of hashes (n,) that differ in at most DUPLICATE bits: (pairs, 3), i < j and the bits."""
    found = [np.zeros((0, 3), np.int64)]
    for i in range(len(hashes) - 1):  # row by row: an n x n array may not fit into memory
        bits = np.bitwise_count(hashes[i + 1 :] ^ hashes[i])
        (alike,) = np.nonzero(bits <= DUPLICATE)
        found.append(np.stack([np.full(len(alike), i), alike + i + 1, bits[alike]], axis=1).astype(np.int64))
    return np.concatenate(found)


def numbered(ids: Sequence[str]) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Split each id at its last number: return the texts around it and the numbers, NaN for an id without one.

    >>> text, number = numbered(["slice-09", "slice-10"])
    >>> bool(text[0] == text[1]), number
    (True, array([ 9., 10.]))
    """
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", name) for name in ids]
    text = np.array([f"{part[1]}\n{part[3]}" if part else name for name, part in zip(ids, parts, strict=True)])
    return text, np.array([float(part[2]) if part else np.nan for part in parts])
