"""Colours of classes, and masks drawn over pictures."""

import colorsys
import functools
from collections.abc import Callable

import numpy as np

# Okabe and Ito's, which the colour-blind can tell apart; more classes take hues around the circle.
_FIRST = ["#000000", "#56b4e9", "#e69f00", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"]
_REST = [colorsys.hsv_to_rgb(k * 0.618034 % 1, 0.75, 0.95) for k in range(256 - len(_FIRST))]
PALETTE = np.array(
    [[int(text[i : i + 2], 16) for i in (1, 3, 5)] for text in _FIRST]
    + [[round(255 * c) for c in rgb] for rgb in _REST],
    np.uint8,
)  # (256, 3): label 0 is black
TINT = 0.25  # how much of a region's colour lies over it


def overlay(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A picture (H, W, 1 or 3) uint8 with every class of `labels` (H, W) uint8 tinted and outlined: (H, W, 3) uint8."""
    picture = np.broadcast_to(picture, (*labels.shape, 3))
    colours = PALETTE[labels]
    tinted = np.where(labels[..., None] > 0, picture * (1 - TINT) + colours * TINT, picture).astype(np.uint8)
    # An outline lies inside its region, and is as wide on a large picture as on a small one once both fit a screen.
    width = 1 + max(labels.shape) // 300
    edge = (labels > 0) & (
        (_around(labels, np.minimum, width) != labels) | (_around(labels, np.maximum, width) != labels)
    )
    return np.where(edge[..., None], colours, tinted)


def _around(labels: np.ndarray, pick: Callable[[np.ndarray, np.ndarray], np.ndarray], width: int) -> np.ndarray:
    """The least or greatest label within `width` pixels of each, over a square: columns first, then rows."""
    for _ in range(2):
        length = len(labels)
        padded = np.pad(labels, ((width, width), (0, 0)), mode="edge")
        labels = functools.reduce(pick, [padded[start : start + length] for start in range(2 * width + 1)]).T
    return labels
