"""Resizing on the CPU: images and masks to the size of training, predictions back to the images' own sizes."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from sharp_unet_jax.config import Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.metrics import IGNORE

Fit = Literal["stretch", "letterbox", "crop"]
MaskFilter = Literal["nearest", "antialiased", "any"]
Size = tuple[int, int]  # height, width


def trained_size(own: tuple[int, ...], data: Data, spacing: Sequence[float] | None = None) -> Size:
    """Return the height and width at which an image is trained on, predicted and scored.

    Args:
        own: (h, w), the image's own.
        data: says how: fit, size, scale and spacing.
        spacing: millimetres from row to row and from column to column; None or 0 where nobody knows.

    Raises:
        InputError: for an image of unknown spacing where `data.spacing` asks for it.
    """
    if data.fit != "crop":
        return data.size
    factors = data.scale, data.scale
    if data.spacing:
        if spacing is None or not all(0 < each < np.inf for each in spacing):
            raise InputError(
                f"data.spacing={data.spacing:g} mm is asked for, and the file does not say the size of its pixels: "
                "set data.spacing=0, or give files that say it"
            )
        # As built sets hold it: a file that is predicted gets the size at which it was trained on.
        own_spacing = np.asarray(spacing, np.float32)
        factors = float(own_spacing[0]) / data.spacing, float(own_spacing[1]) / data.spacing
        if not all(1 / 64 <= factor <= 64 for factor in factors):  # the limits of data.scale
            raise InputError(
                f"data.spacing={data.spacing:g} mm is more than 64 times as coarse or as fine as the file's pixels of "
                f"{spacing[0]:g} x {spacing[1]:g} mm: set another spacing"
            )
    height, width = (max(1, round(side * factor)) for side, factor in zip(own, factors, strict=True))
    return height, width


def resized(data: Data) -> bool:
    """Say whether images are resized at all; else neither `mask_filter` nor `score` changes an array."""
    return data.fit != "crop" or data.scale != 1 or data.spacing > 0


def resolution(data: Data) -> str:
    """Name the resolution of the crops that a run with fit="crop" is trained on."""
    if data.spacing:
        return f"{data.spacing:g} mm per pixel"
    return "the images' resolution" if data.scale == 1 else f"{data.scale:g} times the images' resolution"


def resize(
    image: np.ndarray, mask: np.ndarray, size: Size, fit: Fit, mask_filter: MaskFilter = "nearest"
) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image (h, w, C) uint8 and its mask (h, w) uint8 to `size` (H, W).

    Images are resized bilinearly; shrinking averages over the area of a pixel. For masks see `resize_mask`. "stretch"
    changes the aspect. "letterbox" keeps it and centres the picture. Its padding is 0 in the image and `IGNORE` in the
    mask, so it is neither trained on nor scored. "crop" is like "stretch"; `size` is the image's own, or has its
    aspect.
    """
    return resize_image(image, size, fit), resize_mask(mask, size, fit, mask_filter)


def resize_mask(mask: np.ndarray, size: Size, fit: Fit, mask_filter: MaskFilter = "nearest") -> np.ndarray:
    """Resize a mask (h, w) uint8 as `resize` does: (H, W) uint8.

    A pixel gets the label of its nearest neighbour, or the one that the function `antialiased` or `dilated` gives it.
    """
    place = _place(mask.shape, size, fit)
    label = np.full(size, IGNORE, np.uint8)
    if mask_filter == "nearest":
        label[place] = _scale(mask, place, Image.Resampling.NEAREST)
    else:
        shared = {"antialiased": antialiased, "any": dilated}[mask_filter]
        label[place] = shared(mask, label[place].shape)
    return label


def antialiased(mask: np.ndarray, size: Size) -> np.ndarray:
    """Resize a mask (h, w) uint8 to `size` (H, W): each pixel gets the label with the largest share of it.

    The share of a label is what scikit-image's `resize` makes of the pixels that have it: a Gaussian against aliasing,
    then bilinear. Of two labels the higher one needs more than one half, as in the paper's code.
    """
    labels, shares = _shares(mask, size)
    return labels[np.argmax(shares, axis=0)]


def dilated(mask: np.ndarray, size: Size) -> np.ndarray:
    """Resize a mask (h, w) uint8 to `size` (H, W): a pixel is 0 only if no other label has any share of it.

    Shares are those of `antialiased`. Objects grow, as in the paper's code for Data Science Bowl 2018. `IGNORE` does
    not: a pixel has this label if it has the largest share.
    """
    labels, shares = _shares(mask, size)
    ignored = labels[np.argmax(shares, axis=0)] == IGNORE
    shares[(labels == 0) | (labels == IGNORE)] = 0
    grown = np.where(shares.any(axis=0), labels[np.argmax(shares, axis=0)], 0)
    return np.where(ignored, IGNORE, grown).astype(np.uint8)


def _shares(mask: np.ndarray, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels (n,) of a mask, ascending, and the share (n, H, W) of each in every pixel of `size`."""
    factors = np.divide(mask.shape, size)
    labels = np.unique(mask)
    shares = []
    for label in labels[1:]:
        smooth = ndimage.gaussian_filter(np.float64(mask == label), np.maximum(0, (factors - 1) / 2), mode="mirror")
        shares.append(ndimage.zoom(smooth, 1 / factors, order=1, mode="mirror", grid_mode=True))
    # The lowest label has the rest: its own sum rounds otherwise, and edges of objects leave many shares of one half.
    rest = np.ones(size) - sum(shares)
    return labels, np.array([rest, *shares])


def resize_image(image: np.ndarray, size: Size, fit: Fit) -> np.ndarray:
    """Resize an image (h, w, C) uint8 as `resize` does, without a mask: (H, W, C) uint8."""
    place = rows, columns = _place(image.shape[:2], size, fit)
    whole = np.zeros((*size, image.shape[2]), np.uint8)
    for c in range(image.shape[2]):
        whole[rows, columns, c] = _scale(image[..., c], place, Image.Resampling.BILINEAR)
    return whole


def restore(probabilities: np.ndarray, size: Size, fit: Fit) -> np.ndarray:
    """Undo `resize_image` for predictions (H, W, K) float32: return them at the image's own `size`, (h, w, K)."""
    inside = unpadded(probabilities, size, fit)
    if inside.shape[:2] == size:
        return inside
    whole = slice(0, size[0]), slice(0, size[1])
    planes = [_scale(inside[..., k], whole, Image.Resampling.BILINEAR) for k in range(inside.shape[2])]
    return np.stack(planes, axis=-1)


def unpadded(predictions: np.ndarray, size: Size, fit: Fit) -> np.ndarray:
    """Return predictions (..., H, W, K) of an image of `size` (h, w) without those of a letterbox's padding."""
    rows, columns = _place(size, predictions.shape[-3:-1], fit)
    return predictions[..., rows, columns, :]


def pixels(own: tuple[int, ...], size: tuple[int, ...], fit: Fit) -> float:
    """Return how many pixels of an image of the size `own` (h, w) make one at `size` (H, W), that of training."""
    rows, columns = _place(own, size, fit)
    return own[0] * own[1] / ((rows.stop - rows.start) * (columns.stop - columns.start))


def _place(shape: tuple[int, ...], size: tuple[int, ...], fit: Fit) -> tuple[slice, slice]:
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
