"""Masks after the threshold: holes are filled, small pieces go, the largest piece stays alone."""

import numpy as np
from scipy import ndimage

from sharp_unet_jax.decision import Rule

_TOUCHING = np.ones((3, 3), bool)  # pixels that share a side or a corner are one piece


def clean(labels: np.ndarray, rule: Rule, pixels: float = 1.0) -> np.ndarray:
    """Return the labels (H, W) uint8 of an image as `rule` cleans them: holes first, then the smallest pieces.

    Classes are treated one by one, from 1 on. A hole is background that does not reach the border of the image, by
    steps over sides, without crossing the class. Of pieces of one size the first, row by row, is the largest.

    Args:
        labels: class of each pixel, 0 for the background.
        rule: its threshold is not used.
        pixels: pixels of `labels` to one pixel at the resolution of training, for `rule.smallest`.
    """
    cleaned = labels.copy()
    for label in range(1, int(labels.max(initial=0)) + 1):
        if rule.fill:
            cleaned[ndimage.binary_fill_holes(cleaned == label) & (cleaned == 0)] = label
        if rule.smallest or rule.largest:
            pieces, number = ndimage.label(cleaned == label, _TOUCHING)
            sizes = np.bincount(pieces.ravel(), minlength=number + 1)
            gone = sizes < rule.smallest * pixels
            if rule.largest and number:
                gone |= np.arange(number + 1) != 1 + np.argmax(sizes[1:])
            gone[0] = False
            cleaned[gone[pieces]] = 0
    return cleaned
