"""Images and label maps at the size they are trained at, once and on the CPU."""

from typing import Literal

import numpy as np
from PIL import Image

from sharp_unet_jax.metrics import IGNORE

Fit = Literal["stretch", "letterbox"]


def resize(image: np.ndarray, mask: np.ndarray, size: tuple[int, int], fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """A pair at `size` (H, W): image (h, w, C) uint8 to (H, W, C) uint8, mask (h, w) uint8 to (H, W) uint8.

    Images are resampled bilinearly, averaging over the area that shrinks to a pixel; masks by nearest neighbour,
    since any other filter invents labels. "letterbox" keeps the aspect and centres the picture; what it pads is 0 in
    the image and `IGNORE` in the mask, so it is neither trained on nor scored.
    """
    height, width = size
    if fit == "letterbox":
        scale = min(height / image.shape[0], width / image.shape[1])
        height = min(height, max(1, round(image.shape[0] * scale)))
        width = min(width, max(1, round(image.shape[1] * scale)))
    channels = [
        np.asarray(_scale(image[..., c], (height, width), Image.Resampling.BILINEAR)) for c in range(image.shape[2])
    ]
    small = np.stack(channels, axis=-1)
    label = np.asarray(_scale(mask, (height, width), Image.Resampling.NEAREST))
    if fit == "stretch":
        return small, label
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    around = ((top, size[0] - height - top), (left, size[1] - width - left))
    return np.pad(small, (*around, (0, 0))), np.pad(label, around, constant_values=IGNORE)


def _scale(plane: np.ndarray, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    # Pillow's filters widen with the scale when shrinking: "bilinear" then averages the area under a triangle.
    return Image.fromarray(plane).resize((size[1], size[0]), resample)
