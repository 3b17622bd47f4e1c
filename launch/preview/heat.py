"""Values of pixels drawn over images, such as how much the members of an ensemble disagree."""

import numpy as np

from sharp_unet_jax import palette
from sharp_unet_jax.data.pixels import shown

FULL = 0.3  # the value of an opaque pixel: few standard deviations of probabilities are larger
COLOUR = np.array(palette.rgb(palette.ORANGE), np.float32)


def heat(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Draw values (H, W) from 0 on over a picture (H, W, C) uint8, which becomes grey; return (H, W, 3) uint8.

    Pixels with the value 0 stay grey. The higher the value, the more orange a pixel is; from FULL on it is all orange.
    """
    grey = shown(picture).mean(axis=-1, keepdims=True, dtype=np.float32)
    opacity = np.clip(values / FULL, 0, 1)[..., None]
    return np.rint(grey * (1 - opacity) + COLOUR * opacity).astype(np.uint8)
