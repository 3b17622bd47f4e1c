"""What a data set's images and masks are like, and which of them are copies of one another."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sharp_unet_jax.data import duplicates
from sharp_unet_jax.data.resize import Fit, Size, resize, restore
from sharp_unet_jax.metrics import IGNORE


class Fact(NamedTuple):
    """One image and its mask."""

    size: Size  # height, width
    counts: NDArray[np.int64]  # pixels of each class, (classes,)
    levels: int  # different values in the channel that has most: 1 where an image is of one colour
    brightness: float  # mean, 0 to 255
    image: str  # a digest of the pixels
    mask: str
    hash: np.uint64  # see `likeness`
    small: NDArray[np.float32]


def fact(image: NDArray[np.uint8], mask: NDArray[np.uint8], classes: int) -> Fact:
    """Of an image (h, w, C) uint8 and its labels (h, w) uint8; what is `IGNORE` counts nowhere."""
    return Fact(
        size=(image.shape[0], image.shape[1]),
        counts=np.bincount(mask[mask != IGNORE], minlength=classes)[:classes],
        levels=max(int(np.count_nonzero(np.bincount(plane.ravel()))) for plane in np.moveaxis(image, -1, 0)),
        brightness=float(image.mean()),
        image=_digest(image),
        mask=_digest(mask),
        hash=duplicates.phash(image),
        small=duplicates.small(image),
    )


@dataclass(frozen=True)
class Facts:
    """A whole data set's, image by image in one order."""

    ids: Sequence[str]
    groups: Sequence[str]
    classes: Sequence[str]  # names, background first
    each: Sequence[Fact]

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(n, 2): height and width."""
        return np.array([one.size for one in self.each])

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(n, classes): pixels."""
        return np.stack([one.counts for one in self.each])

    @cached_property
    def foreground(self) -> NDArray[np.float64]:
        """(n,): share of the labelled pixels that is not background."""
        return self.counts[:, 1:].sum(axis=1) / np.maximum(self.counts.sum(axis=1), 1)

    @property
    def grouped(self) -> bool:
        """Whether any two images are in one group."""
        return len(set(self.groups)) < len(self.groups)

    @cached_property
    def copies(self) -> list[list[int]]:
        """Images with the same pixels, in lists of two and more."""
        same: dict[str, list[int]] = {}
        for index, one in enumerate(self.each):
            same.setdefault(one.image, []).append(index)
        return [indices for indices in same.values() if len(indices) > 1]

    @cached_property
    def near(self) -> list[tuple[int, int, int, float]]:
        """Near-duplicates that are no copies, most alike first: two images, the bits of their hashes in which they
        differ, and their correlation. Images of one colour are like no other."""
        pairs = duplicates.near(np.array([one.hash for one in self.each], np.uint64))
        alike = [
            (int(i), int(j), int(bits), float(self.each[i].small @ self.each[j].small))
            for i, j, bits in pairs
            if self.each[i].image != self.each[j].image and min(self.each[i].levels, self.each[j].levels) > 1
        ]
        return sorted(alike, key=lambda pair: (pair[2], -pair[3]))

    @cached_property
    def families(self) -> NDArray[np.int64]:
        """(n,): equal numbers for images that a chain of copies and near-duplicates connects."""
        links = [(group[0], other) for group in self.copies for other in group[1:]]
        links += [(i, j) for i, j, *_ in self.near]
        n = len(self.ids)
        rows, columns = np.array(links, np.int64).reshape(-1, 2).T
        graph = sparse.coo_array((np.ones(len(links)), (rows, columns)), (n, n))
        return sparse.csgraph.connected_components(graph, directed=False)[1]

    def neighbours(self, most: int = 500) -> tuple[int, float]:
        """How many images follow the one before them by the last number of their ids, as slices and frames do, and
        the share of all pairs of (at most so many) images that are less alike than such neighbours, by the median."""
        text, number = duplicates.numbered(self.ids)
        (first,) = np.nonzero((text[1:] == text[:-1]) & (np.diff(number) == 1))
        if not len(first):
            return 0, 0.0
        small = np.stack([one.small for one in self.each])
        some = small[np.linspace(0, len(small) - 1, min(most, len(small))).astype(int)]
        usual = (some @ some.T)[~np.eye(len(some), dtype=bool)]
        alike = np.median(np.sum(small[first] * small[first + 1], axis=1))
        return len(first), float(np.mean(usual < alike))


def ceiling(mask: NDArray[np.uint8], size: Size, fit: Fit, classes: int) -> float:
    """The Jaccard index, mean over the foreground classes in `mask` (h, w), of labels that are perfect at `size` and
    brought back to the mask's own size as predictions are; NaN for a mask without foreground."""
    small = resize(mask[..., None], mask, size, fit)[1]
    shares = restore(np.stack([small == label for label in range(classes)], -1).astype(np.float32), mask.shape, fit)
    back = shares.argmax(-1)
    back[mask == IGNORE] = IGNORE
    scores = []
    for label in range(1, classes):
        if (mask == label).any():
            common, either = (back == label) & (mask == label), (back == label) | (mask == label)
            scores.append(np.count_nonzero(common) / np.count_nonzero(either))
    return float(np.mean(scores)) if scores else np.nan


def _digest(array: NDArray[np.uint8]) -> str:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()
