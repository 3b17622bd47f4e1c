"""A data set in memory: images and masks as uint8 arrays, as they are trained on."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax.data import crops, digest, grey_range, pixels
from sharp_unet_jax.data.array_files import Arrays
from sharp_unet_jax.ragged import Ragged


@dataclass(frozen=True)
class Dataset:
    """All images and masks of a data set, as they are trained on: resized, or with fit="crop" of their own sizes."""

    name: str
    images: Arrays  # (n, H, W, C) uint8, or n of (h, w, C)
    masks: Arrays  # (n, H, W) uint8: 0..len(classes)-1, or IGNORE where nothing is trained or scored; or n of (h, w)
    ids: tuple[str, ...]
    groups: tuple[str, ...]  # what must not be split across folds
    classes: tuple[str, ...]  # names, background first
    folder: Path | None = None  # of the files, if they were kept
    window: pixels.Window | None = None  # intensities that became 0 and 255
    native: Ragged | None = None  # masks as they are in their files, if they are scored by and `masks` are others

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return (self.images.flat if isinstance(self.images, Ragged) else self.images).shape[-1]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Heights and widths of the images, (n, 2)."""
        if isinstance(self.images, Ragged):
            return self.images.sizes
        return np.tile(np.array(self.images.shape[1:3], np.int64), (len(self.ids), 1))

    @functools.cached_property
    def points(self) -> list[list[NDArray[np.int64]]]:
        """Some foreground pixels of each image, see `crops.points`."""
        return [crops.points(mask) for mask in self.masks]

    @property
    def num_classes(self) -> int:
        """Channels of the logits, see the function `num_classes`."""
        return num_classes(self.classes)

    @property
    def gigabytes(self) -> float:
        """Size of images and masks, in 1e9 bytes."""
        return (self.images.nbytes + self.masks.nbytes) / 1e9

    @functools.cached_property
    def clipped(self) -> tuple[float, float] | None:
        """The largest share of an image that the window clips at either end; None without a window."""
        return grey_range.largest_shares(self.images, self.masks) if self.window else None

    @functools.cached_property
    def sha256(self) -> str:
        """Digest of every pixel, label, id, group and class: data sets with equal digests give the same runs."""
        return digest.of_pairs((self.images, self.masks, self.native), self.ids, self.groups, self.classes)


def num_classes(classes: Sequence[str]) -> int:
    """Return the channels of the logits for `classes`, background first: 1 for one foreground, else one per class."""
    return 1 if len(classes) == 2 else len(classes)
