"""Images with the outlines of their masks, for contact sheets and training logs."""

import numpy as np
from scipy import ndimage

from sharp_unet_jax import palette
from sharp_unet_jax.data.pixels import shown
from sharp_unet_jax.metrics import IGNORE

GAP = 4  # white pixels between two pictures
_ORDER = (palette.YELLOW, palette.SKY, palette.VERMILION, palette.GREEN, palette.PURPLE)
COLOURS = np.array([palette.rgb(colour) for colour in _ORDER], np.uint8)
"""(5, 3) RGB of the labels 1, 2, ...; they repeat from label 6 on."""
IGNORED = np.array(palette.rgb(palette.IGNORED), np.uint8)
STRIPE = 4  # pixels, of the stripes over ignored regions


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draw the outlines of a mask (H, W) into an image (H, W, C), and stripes where it is ignored.

    White lies to the right and below.

    Returns (H + GAP, W + GAP, 3) uint8.
    """
    picture = np.broadcast_to(shown(image), (*mask.shape, 3)).copy()
    ignored = mask == IGNORE
    picture[ignored] = picture[ignored] // 2 + IGNORED // 2
    rows, columns = np.indices(mask.shape)
    picture[ignored & ((rows + columns) // STRIPE % 2 == 0)] = IGNORED
    labels = np.where(mask == IGNORE, 0, mask)
    edges = (labels > 0) & (ndimage.grey_erosion(labels, 3) != labels)
    picture[edges] = COLOURS[(labels[edges] - 1) % len(COLOURS)]
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
