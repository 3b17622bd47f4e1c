"""Random crops of images at their own resolution: drawn on the host, cut on the device or from the disk.

A crop is four numbers, (image, top, left, number): the first ones say which pixels it has, and `number` counts the
crops of an epoch, by which augmentation changes each of them otherwise. Nothing but these numbers travels to a device
that holds the images. The crops of an epoch are a function of the run's seed and the epoch.

A crop may leave its image, since images may be smaller than crops, and since augmentation looks at what lies around
one. There the image is mirrored at its edge, and the mask is `IGNORE`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax.config import Data
from sharp_unet_jax.data.array_files import Arrays
from sharp_unet_jax.data.resize import Size
from sharp_unet_jax.metrics import IGNORE

POINTS = 500  # pixels of each foreground class of an image that crops may be centred on
_DRAWS = 6  # random numbers for each crop


def count(data: Data, sizes: NDArray[np.int64]) -> int:
    """Return the number of crops of an epoch on images of `sizes` (n, 2)."""
    return data.crops or max(len(sizes), -(-int(sizes.prod(axis=1).sum()) // (data.size[0] * data.size[1])))


def points(mask: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """Return pixels of each foreground class of a mask (h, w), as positions in its flat array: `POINTS`, or all.

    A class that has more is sampled at random, the same every time.
    """
    pixels = sum(np.bincount(row, minlength=256) for row in mask)  # of all at once it would make a copy in int64
    labels = [label for label in np.flatnonzero(pixels) if label not in (0, IGNORE)]
    return [_some(np.flatnonzero(mask == label)) for label in labels]


def _some(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(positions) <= POINTS:
        return positions
    return positions[(_uniform(0, 0, POINTS) * len(positions)).astype(np.int64)]


def draw(
    images: NDArray[np.int64],
    sizes: NDArray[np.int64],
    points: Sequence[Sequence[NDArray[np.int64]]],
    data: Data,
    *,
    seed: int,
    epoch: int,
) -> NDArray[np.int32]:
    """Draw the crops of an epoch in their order, (count, 4) int32.

    The crops are shared out among the images evenly: an image whose share is 2.5 crops gets two or three.

    Args:
        images: (n,), indices into the data set.
        sizes: heights and widths of all images of the data set.
        points: of all images, see the function `points`.
        data: its size, crops, share and foreground.
        seed: of the run.
        epoch: from 1.
    """
    own = sizes[images]
    number = count(data, own)
    random = _uniform(seed, epoch, 1 + _DRAWS * number)
    order, focus, kind, point, *place = random[1:].reshape(_DRAWS, number)
    # Whole numbers: rounding could leave an image without its share.
    edges = np.cumsum(own.prod(axis=1) if data.share == "area" else np.ones(len(own), np.int64))
    which = np.searchsorted(edges, (np.arange(number) * edges[-1] + int(random[0] * edges[-1])) // number, side="right")
    which = which[np.argsort(order, kind="stable")]
    free = np.maximum(own[which] - data.size, 0)  # (number, 2), positions less one
    corners = np.floor(np.stack(place, axis=1) * (free + 1)).astype(np.int64)
    for crop in np.flatnonzero(focus < data.foreground):
        if classes := points[images[which[crop]]]:
            positions = classes[int(kind[crop] * len(classes))]
            height, width = own[which[crop]].tolist()
            centre = divmod(int(positions[int(point[crop] * len(positions))]), width)
            corners[crop] = corner(centre, data.size, (height, width))
    return np.column_stack([images[which], corners, np.arange(number)]).astype(np.int32)


def corner(centre: Size, size: Size, own: Size) -> Size:
    """Return the top and left of a crop of `size` around the pixel `centre`, moved into an image of the size `own`."""
    row, column = (
        min(max(at - side // 2, 0), max(length - side, 0)) for at, side, length in zip(centre, size, own, strict=True)
    )
    return row, column


def cut(
    images: Arrays, masks: Arrays, crop: NDArray[np.int32], size: Size, window: Size
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Cut a crop from arrays of the host, with what lies around it: images (*window, C) and masks (*window).

    Args:
        images: all images.
        masks: all masks.
        crop: (4,) int32.
        size: height and width of the crop.
        window: height and width of what is cut, which has the crop in its middle.
    """
    mask = masks[crop[0]]
    first = [int(start) - (around - side) // 2 for start, side, around in zip(crop[1:3], size, window, strict=True)]
    inside = np.zeros(window, np.bool_)
    inside[tuple(slice(max(-at, 0), max(end - at, 0)) for at, end in zip(first, mask.shape, strict=True))] = True
    top, left = first
    return part(images[crop[0]], top, left, window), np.where(inside, part(mask, top, left, window), np.uint8(IGNORE))


def part(image: NDArray[np.uint8], top: int, left: int, size: Size) -> NDArray[np.uint8]:
    """Return the part of an image (h, w, ...) with the corner (top, left), mirrored beyond the image's edges."""
    for axis, (first, number) in enumerate(zip((top, left), size, strict=True)):
        length = image.shape[axis]
        if 0 <= first <= length - number:  # copied later, row by row and without the GIL
            image = image[(slice(None),) * axis + (slice(first, first + number),)]
        else:
            image = image.take(_mirrored(first + np.arange(number), length), axis)
    return image


def take(
    images: jax.Array, masks: jax.Array, places: jax.Array, crops: jax.Array, size: Size, window: Size
) -> tuple[jax.Array, jax.Array]:
    """Cut crops from arrays of the device, as `cut` does: images (B, *window, C) and masks (B, *window).

    Args:
        images: (pixels x C,) uint8, all images one after another. Flat, as a TPU would pad an axis of three channels.
        masks: (pixels,) uint8.
        places: (n, 3) int32: first pixel, height and width of each image.
        crops: (B, 4) int32.
        size: height and width of a crop.
        window: height and width of what is cut, which has the crop in its middle.
    """
    channels = images.shape[0] // masks.shape[0]

    def one(crop: jax.Array) -> tuple[jax.Array, jax.Array]:
        start, *lengths = places[crop[0]]
        axes = []
        for corner, side, around, length in zip(crop[1:3], size, window, lengths, strict=True):
            position = corner - (around - side) // 2 + jnp.arange(around)
            axes.append((_mirrored(position, length), (position >= 0) & (position < length)))
        (rows, in_rows), (columns, in_columns) = axes
        pixel = start + lengths[1] * rows[:, None] + columns[None, :]
        value = channels * pixel[:, :, None] + jnp.arange(channels)[None, None, :]
        inside = in_rows[:, None] & in_columns[None, :]
        return _at(images, value), jnp.where(inside, _at(masks, pixel), jnp.uint8(IGNORE))

    return jax.vmap(one)(crops)


def _mirrored(position: Any, length: Any) -> Any:
    """Return `position` mirrored at the first and the last of `length` pixels, of NumPy or JAX."""
    period = 2 * (length - 1)
    once = position % (period + (period == 0))
    return once + (once >= length) * (period - 2 * once)


def _at(flat: jax.Array, index: jax.Array) -> jax.Array:
    return flat.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _uniform(seed: int, epoch: int, number: int) -> NDArray[np.float64]:
    """Return random numbers in [0, 1), (number,). NumPy keeps a bit generator's raw bits the same in all versions."""
    bits = np.asarray(np.random.PCG64([seed, epoch]).random_raw(number), np.uint64)
    return np.float64(2.0**-53) * (bits >> np.uint64(11)).astype(np.float64)
