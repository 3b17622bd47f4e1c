"""Masks after the threshold: holes are filled, small pieces go, only the largest piece stays."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from sharp_unet_jax.decision import Rule

_TOUCHING = np.ones((3, 3), bool)  # pixels that share a side or a corner are one piece


def clean(labels: np.ndarray, rule: Rule, pixels: float = 1.0) -> np.ndarray:
    """Return the labels (H, W) uint8 of an image as `rule` cleans them: holes first, then the pieces of each class.

    A hole of a class is background that does not reach the border of the image, by steps over sides, without crossing
    the class. Background that lies in holes of several classes becomes the class of the smallest one. A piece is
    8-connected. Of pieces of one size the first, row by row, is the largest.

    Args:
        labels: class of each pixel, 0 for the background.
        rule: its threshold is not used.
        pixels: pixels of `labels` to one pixel at the resolution of training, for `rule.smallest`.
    """
    classes = np.flatnonzero(np.bincount(labels.ravel(), minlength=1)[1:]) + 1
    cleaned = _filled(labels, classes) if rule.fill else labels.copy()
    if rule.smallest or rule.largest:
        for label in classes:
            cleaned[_unwanted(cleaned == label, rule, pixels)] = 0
        if rule.fill and len(classes) > 1:  # a piece that went may leave a hole in another class
            cleaned = _filled(cleaned, classes)
    return cleaned


def _filled(labels: np.ndarray, classes: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the labels (H, W) without holes of the classes."""
    filled, smallest = labels.copy(), np.full(labels.shape, labels.size, np.int32)
    for label in classes:
        regions, _ = ndimage.label(labels != label)
        sizes = np.bincount(regions.ravel()).astype(np.int32)
        for outside in (0, regions[0], regions[-1], regions[:, 0], regions[:, -1]):
            sizes[outside] = labels.size
        hole = sizes[regions]
        inside = (labels == 0) & (hole < smallest)
        filled[inside], smallest[inside] = label, hole[inside]
    return filled


def _unwanted(mask: np.ndarray, rule: Rule, pixels: float) -> np.ndarray:
    """Return the pixels (H, W) bool of the pieces of a class that `rule` drops; mask (H, W) bool holds the class."""
    pieces, number = ndimage.label(mask, _TOUCHING)
    sizes = np.bincount(pieces.ravel(), minlength=number + 1)
    dropped = sizes < rule.smallest * pixels
    if rule.largest and number:
        dropped |= np.arange(number + 1) != 1 + np.argmax(sizes[1:])
    dropped[0] = False
    return dropped[pieces]
