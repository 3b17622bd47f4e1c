"""Resizing on the CPU: images and masks to the size of training, predictions back to the images' own sizes."""

from typing import Literal

import numpy as np
from PIL import Image

from sharp_unet_jax.metrics import IGNORE

Fit = Literal["stretch", "letterbox"]
Size = tuple[int, int]  # height, width


def resize(image: np.ndarray, mask: np.ndarray, size: Size, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image (h, w, C) uint8 and its mask (h, w) uint8 to `size` (H, W).

    Images are resized bilinearly; shrinking averages over the area of a pixel. Masks are resized by nearest neighbour,
    since any other filter invents labels. "stretch" changes the aspect. "letterbox" keeps it and centres the picture.
    Its padding is 0 in the image and `IGNORE` in the mask, so it is neither trained on nor scored.
    """
    rows, columns = _place(image.shape[:2], size, fit)
    label = np.full(size, IGNORE, np.uint8)
    label[rows, columns] = _scale(mask, (rows, columns), Image.Resampling.NEAREST)
    return resize_image(image, size, fit), label


def resize_image(image: np.ndarray, size: Size, fit: Fit) -> np.ndarray:
    """Resize an image (h, w, C) uint8 as `resize` does, without a mask: (H, W, C) uint8."""
    place = rows, columns = _place(image.shape[:2], size, fit)
    whole = np.zeros((*size, image.shape[2]), np.uint8)
    for c in range(image.shape[2]):
        whole[rows, columns, c] = _scale(image[..., c], place, Image.Resampling.BILINEAR)
    return whole


def restore(probabilities: np.ndarray, size: Size, fit: Fit) -> np.ndarray:
    """Undo `resize_image` for predictions (H, W, K) float32: return them at the image's own `size`, (h, w, K)."""
    rows, columns = _place(size, probabilities.shape[:2], fit)
    inside = probabilities[rows, columns]
    if inside.shape[:2] == size:
        return inside
    whole = slice(0, size[0]), slice(0, size[1])
    planes = [_scale(inside[..., k], whole, Image.Resampling.BILINEAR) for k in range(inside.shape[2])]
    return np.stack(planes, axis=-1)


def _place(shape: tuple[int, ...], size: Size, fit: Fit) -> tuple[slice, slice]:
    """Return the rows and columns that an image of `shape` fills at `size`."""
    height, width = size
    if fit == "letterbox":
        scale = min(height / shape[0], width / shape[1])
        height = min(height, max(1, round(shape[0] * scale)))
        width = min(width, max(1, round(shape[1] * scale)))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return slice(top, top + height), slice(left, left + width)


def _scale(plane: np.ndarray, place: tuple[slice, slice], resample: Image.Resampling) -> np.ndarray:
    # Pillow widens its filters when it shrinks: "bilinear" then averages under a triangle.
    height, width = (span.stop - span.start for span in place)
    return np.asarray(Image.fromarray(plane).resize((width, height), resample))
