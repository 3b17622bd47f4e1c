"""Images with the outlines of their masks, for contact sheets and training logs."""

import numpy as np
from scipy import ndimage

from sharp_unet_jax.metrics import IGNORE

GAP = 4  # white pixels between two pictures
# Of the labels 0 (no outline), 1, 2, ...: Okabe and Ito's colours, told apart by the colour-blind.
OUTLINES = np.array([(0, 0, 0), (240, 228, 66), (86, 180, 233), (213, 94, 0), (0, 158, 115), (204, 121, 167)], np.uint8)
OUTSIDE = np.array([90, 90, 110], np.uint8)  # what is neither trained on nor scored


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An image (H, W, C) with its mask's (H, W) outlines, white to the right and below: (H + GAP, W + GAP, 3) uint8."""
    picture = np.broadcast_to(image, (*mask.shape, 3)).copy()
    picture[mask == IGNORE] = OUTSIDE
    labels = np.where(mask == IGNORE, 0, mask)
    edges = (labels > 0) & (ndimage.grey_erosion(labels, 3) != labels)
    picture[edges] = OUTLINES[1:][(labels[edges] - 1) % (len(OUTLINES) - 1)]
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
