"""A tiny data set whose images have their own sizes, and the sweep that tests train on crops of it."""

import dataclasses

import numpy as np

from sharp_unet_jax import ragged
from sharp_unet_jax.config import Data
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.metrics import IGNORE
from tests.tiny_sweep import CONFIG

# Large, smaller than a crop in one axis or in both, one pixel, and of odd sides.
SIZES = (40, 56), (10, 70), (33, 12), (9, 11), (1, 1), (16, 24), (61, 25), (29, 31)
CROPS = dataclasses.replace(CONFIG, data=Data(builder="uneven", size=(16, 24), fit="crop"))


def uneven(sizes=SIZES, classes: int = 2, channels: int = 3, *, native: bool = False) -> Dataset:
    """Bright rectangles on a dark ground, one for each foreground class, with some ignored pixels; the last has none.

    With `native` there are masks of twice the size, too.
    """
    rng = np.random.default_rng(0)
    images, masks = [], []
    for height, width in sizes:
        image, mask = rng.integers(0, 60, (height, width, channels), np.uint8), np.zeros((height, width), np.uint8)
        for label in range(1, classes):
            top, left = rng.integers(0, max(height - 6, 1)), rng.integers(0, max(width - 8, 1))
            mask[top : top + 6, left : left + 8] = label
            image[top : top + 6, left : left + 8] = 255 - 60 * (label - 1)
        if height > 30:
            mask[:5, -3:] = IGNORE
        images.append(image)
        masks.append(mask)
    masks[-1][masks[-1] != IGNORE] = 0
    n = len(sizes)
    return Dataset(
        "uneven",
        ragged.of(images),
        ragged.of(masks),
        ids=tuple(f"{index:03}" for index in range(n)),
        groups=tuple(f"g{index}" for index in range(n)),
        classes=("background", "square", "other", "third")[:classes],
        native=ragged.of([mask.repeat(2, axis=0).repeat(2, axis=1) for mask in masks]) if native else None,
    )
