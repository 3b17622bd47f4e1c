"""Which images are nearly the same picture: by perceptual hash, and by the correlation of their grey values."""

import re
from collections.abc import Sequence

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

DUPLICATE = 4
"""Images whose hashes differ in at most so many of 64 bits count as near-duplicates: the largest even limit at which
fewer than one in 10,000 pairs of unrelated images of four data sets do, 5 of 244,288 (bench/near_duplicates.py). Images
of these sets may be the ones it is applied to: on others it can take more strangers for copies, or miss more."""


def picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """(h, w, 1 or 3) uint8 as Pillow has it, grey or RGB."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def phash(pixels: NDArray[np.uint8]) -> np.uint64:
    """The perceptual hash (pHash) of an image (h, w, 1 or 3) uint8: 64 bits, alike for alike pictures of any size."""
    return np.packbits(imagehash.phash(picture(pixels).convert("L")).hash).view(np.uint64)[0]


def small(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The grey values at 32x32, centred and of length 1: the scalar product of two is their correlation. (1024,)"""
    values = np.asarray(picture(pixels).convert("L").resize((32, 32), Image.Resampling.BOX), np.float32).ravel()
    centred = values - values.mean()
    return centred / max(np.linalg.norm(centred), 1e-6)


def near(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Every two images whose hashes (n,) differ in at most DUPLICATE bits: (pairs, 3), rows i < j and the bits."""
    found = [np.zeros((0, 3), np.int64)]
    for i in range(len(hashes) - 1):  # row by row: all at once would need n x n in memory
        bits = np.bitwise_count(hashes[i + 1 :] ^ hashes[i])
        (alike,) = np.nonzero(bits <= DUPLICATE)
        found.append(np.stack([np.full(len(alike), i), alike + i + 1, bits[alike]], axis=1).astype(np.int64))
    return np.concatenate(found)


def numbered(ids: Sequence[str]) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """The last number of each id, NaN where it has none, and before it the rest: slice-09 is slice- and 9."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", name) for name in ids]
    text = np.array([f"{part[1]}\n{part[3]}" if part else name for name, part in zip(ids, parts, strict=True)])
    return text, np.array([float(part[2]) if part else np.nan for part in parts])
