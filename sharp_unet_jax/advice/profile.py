"""The profile of a data set: its images and masks in numbers, and the images that are copies of one another."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sharp_unet_jax import metrics
from sharp_unet_jax.data import duplicates
from sharp_unet_jax.data.resize import Fit, Size, resize_mask, restore


class ImageProfile(NamedTuple):
    """An image and its mask in numbers."""

    size: Size  # height, width
    counts: NDArray[np.int64]  # pixels of each class, (classes,)
    levels: int  # distinct values of the channel that has most: 1 for an image of one colour
    brightness: float  # mean of all pixels and channels, 0 to 255
    image_sha256: str  # of shape and pixels
    mask_sha256: str
    phash: np.uint64  # see `data.duplicates`
    thumbnail: NDArray[np.float32]  # (1024,), see `data.duplicates.small`


def profile_image(image: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int) -> ImageProfile:
    """Profile an image (h, w, C) uint8 and its labels (h, w) uint8; pixels labelled IGNORE count for no class."""
    return ImageProfile(
        size=(image.shape[0], image.shape[1]),
        counts=np.bincount(mask[mask != metrics.IGNORE], minlength=classes)[:classes],
        levels=max(int(np.count_nonzero(np.bincount(plane.ravel()))) for plane in np.moveaxis(image, -1, 0)),
        brightness=float(image.mean()),
        image_sha256=_digest(image),
        mask_sha256=_digest(mask),
        phash=duplicates.phash(image),
        thumbnail=duplicates.small(image),
    )


@dataclass(frozen=True)
class Profile:
    """A data set in numbers; all sequences have its n images in one order."""

    ids: Sequence[str]
    groups: Sequence[str]
    classes: Sequence[str]  # names, background first
    images: Sequence[ImageProfile]

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Heights and widths, (n, 2)."""
        return np.array([image.size for image in self.images])

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Pixels by class, (n, classes)."""
        return np.stack([image.counts for image in self.images])

    @cached_property
    def foreground(self) -> NDArray[np.float64]:
        """Share of the labelled pixels that are not background, (n,)."""
        return self.counts[:, 1:].sum(axis=1) / np.maximum(self.counts.sum(axis=1), 1)

    @cached_property
    def labelled(self) -> NDArray[np.float64]:
        """Share of the pixels that are not ignored, (n,)."""
        return self.counts.sum(axis=1) / self.sizes.prod(axis=1)

    @property
    def grouped(self) -> bool:
        """True if two images are in one group."""
        return len(set(self.groups)) < len(self.groups)

    @cached_property
    def copies(self) -> list[list[int]]:
        """Indices of images with the same pixels, in lists of two or more."""
        same: dict[str, list[int]] = {}
        for index, image in enumerate(self.images):
            same.setdefault(image.image_sha256, []).append(index)
        return [indices for indices in same.values() if len(indices) > 1]

    @cached_property
    def near(self) -> list[tuple[int, int, int, float]]:
        """Near-duplicates that are no copies, the most alike first.

        A pair is two indices, the bits in which the hashes differ, and the correlation of the thumbnails. Images of one
        colour are in no pair.
        """
        pairs = duplicates.near(np.array([image.phash for image in self.images], np.uint64))
        alike = [
            (int(i), int(j), int(bits), float(self.images[i].thumbnail @ self.images[j].thumbnail))
            for i, j, bits in pairs
            if self.images[i].image_sha256 != self.images[j].image_sha256
            and min(self.images[i].levels, self.images[j].levels) > 1
        ]
        return sorted(alike, key=lambda pair: (pair[2], -pair[3]))

    @cached_property
    def families(self) -> NDArray[np.int64]:
        """Numbers of the images' families, (n,): a chain of copies and near-duplicates connects the images of one."""
        links = [(group[0], other) for group in self.copies for other in group[1:]]
        links += [(i, j) for i, j, *_ in self.near]
        n = len(self.ids)
        rows, columns = np.array(links, np.int64).reshape(-1, 2).T
        graph = sparse.coo_array((np.ones(len(links)), (rows, columns)), (n, n))
        return sparse.csgraph.connected_components(graph, directed=False)[1]

    def neighbours(self, most: int = 500) -> tuple[int, float]:
        """Count images that follow the one before by the last number of their ids, as slices and frames do.

        Returns:
            How many there are, and the share of all pairs of images whose thumbnails correlate less than those of such
            neighbours do in the median. At most `most` images, evenly spaced, make the pairs.
        """
        text, number = duplicates.numbered(self.ids)
        (first,) = np.nonzero((text[1:] == text[:-1]) & (np.diff(number) == 1))
        if not len(first):
            return 0, 0.0
        thumbnails = np.stack([image.thumbnail for image in self.images])
        some = thumbnails[np.linspace(0, len(thumbnails) - 1, min(most, len(thumbnails))).astype(int)]
        usual = (some @ some.T)[~np.eye(len(some), dtype=bool)]
        alike = np.median(np.sum(thumbnails[first] * thumbnails[first + 1], axis=1))
        return len(first), float(np.mean(usual < alike))


def ceiling(mask: NDArray[np.uint8], size: Size, fit: Fit, classes: int) -> float:
    """Return the best Jaccard index that a network trained at `size` can reach on a mask (h, w) at its own size.

    The mask is resized to `size` and back, as predictions are. The score is the mean over the foreground classes in the
    mask, NaN for a mask without foreground.
    """
    small = resize_mask(mask, size, fit)
    shares = restore(np.stack([small == label for label in range(classes)], -1).astype(np.float32), mask.shape, fit)
    counts = metrics.count(shares.argmax(-1), mask, classes)
    jaccard = metrics.overlaps(counts, empty="nan")["jaccard"]
    return float(metrics.mean(jaccard[1:][counts[1:, 1] > 0]))


def _digest(array: NDArray[np.uint8]) -> str:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()
