"""Pixels of any dtype and number of channels: as the 8 bits that networks are trained on, and as pictures to show."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from sharp_unet_jax.errors import InputError

Window: TypeAlias = tuple[float, ...]
"""Values that become 0 and 255: low, high of all channels; or low, high, low, high, ..., a pair per channel."""

# In Hounsfield units, water is 0. A window that begins this far below it shows air or lung, which is in every image of
# a CT: an image without negative pixels is then stored with an offset. A window that begins nearer to 0 tells nothing.
_OF_CT = -200.0
_OFFSETS = 900.0, 1150.0  # above the window's low end, such as -1000 of air, lies 0 of a CT with an offset


def kind(channels: int) -> str:
    """Name the images of a number of channels: "grey", "RGB", "5 channels"."""
    return {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")


def such(channels: int) -> str:
    """Say what images of a number of channels are: "grey", "RGB", "of 5 channels"."""
    return kind(channels) if channels in (1, 3) else f"of {kind(channels)}"


def shown(image: np.ndarray) -> np.ndarray:
    """Return an image (..., H, W, C) as it is drawn: (..., H, W, 1), grey, or (..., H, W, 3), RGB, of its dtype.

    Two channels are red and green. Of more than three, the first three are red, green and blue.
    """
    if image.shape[-1] == 2:
        return np.concatenate([image, np.zeros_like(image[..., :1])], axis=-1)
    return image[..., :3]


def check_window(name: str, window: Sequence[float]) -> None:
    """Refuse a window whose ends are not finite, or not ascending. Raises InputError, which begins with `name`."""
    ends = np.asarray(window, np.float64)
    if len(ends) < 2 or len(ends) % 2 or not (np.abs(ends) <= 1e38).all() or not (ends[::2] < ends[1::2]).all():
        raise InputError(
            f"{name}: must be low,high, or low,high,low,high,... for the channels, finite, low below high; got {window}"
        )


def check_pairs(name: str, window: Window, channels: int) -> None:
    """Refuse a window of one pair per channel for other channels. Raises InputError, which begins with `name`."""
    if len(window) not in (2, 2 * channels):
        raise InputError(
            f"{name}: has {len(window) // 2} pairs of low,high, and the images are {such(channels)}: give one pair "
            "for all channels, or one for each"
        )


def ranges(window: Window) -> str:
    """Describe a window: "100 to 2100", or "0 to 90, 5 to 70 (by channel)"."""
    text = ", ".join(f"{low:g} to {high:g}" for low, high in np.reshape(window, (-1, 2)).tolist())
    return text if len(window) == 2 else f"{text} (by channel)"


def windowed(image: np.ndarray, window: Window) -> np.ndarray:
    """Clip finite pixels of any numeric dtype to `window`, whose ends become 0 and 255: uint8 of the same shape.

    Where the window has a pair per channel, the image is (..., C).
    """
    wide = image.dtype.kind in "iu" and image.dtype.itemsize > 2  # more than float32 holds exactly
    dtype = np.float64 if wide else np.float32
    ends = np.reshape(np.asarray(window, np.float64), (-1, 2))
    low, high = ends.astype(dtype).T
    scale = (255 / np.maximum(ends[:, 1] - ends[:, 0], 1e-9)).astype(np.float32)
    parts = np.nditer(  # some thousand pixels at a time: a whole volume as floats takes 12 bytes per voxel
        [image, low, high, scale, None],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=[["readonly"], ["readonly"], ["readonly"], ["readonly"], ["writeonly", "allocate"]],
        op_dtypes=[dtype, dtype, dtype, np.float32, np.uint8],
        casting="unsafe",
    )
    with parts:
        for values, lowest, highest, factor, found in parts:
            clipped = np.clip(values, lowest, highest) - lowest
            found[:] = np.rint(clipped.astype(np.float32) * factor)
        return parts.operands[-1]


def as_trained(image: np.ndarray, channels: int, window: Window | None, *, ct: bool = True) -> np.ndarray:
    """Turn an image into what a network was trained on.

    uint8 stays as it is; False and True become 0 and 255; other dtypes go through `windowed`. Grey is repeated for a
    network trained on RGB. RGB becomes grey if its three channels are the same.

    Args:
        image: (h, w, C), or a stack of images (n, h, w, C), of any dtype.
        channels: of the network.
        window: intensities that became 0 and 255 in training; None if all its images were uint8.
        ct: the image may be a CT. Of others, only what looks like a CT with an offset is refused.

    Returns:
        uint8, (..., h, w, channels).

    Raises:
        InputError: for an image that cannot be read this way.
    """
    if image.shape[-1] != channels:
        if image.shape[-1] == 1 and channels == 3:
            image = np.repeat(image, channels, axis=-1)
        elif channels == 1 and image.shape[-1] == 3 and (image == image[..., :1]).all():
            image = image[..., :1]
        else:
            here, there = such(image.shape[-1]), such(channels)
            raise InputError(f"the image is {here}, and the run was trained on images that are {there}: convert it")
    if window is not None:
        check_pairs("window", window, channels)
    if image.dtype == np.uint8:
        return image
    if image.dtype == bool:
        return image.astype(np.uint8) * 255
    if image.dtype.kind not in "iuf":
        raise InputError(f"the pixels are of type {image.dtype}, not numbers")
    if window is None:
        raise InputError(
            f"the pixels are {image.dtype} ({image.min():g} to {image.max():g}), and the run was trained on 8 bits: "
            "convert the image as those of the training were"
        )
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise InputError("some pixels are not numbers (NaN or infinite)")
    _refuse_offset(image, window, ct)
    return windowed(image, window)


def _refuse_offset(image: np.ndarray, window: Window, ct: bool) -> None:
    """Refuse a CT that is stored with an offset, or windowed already. Raises InputError.

    Heights and phases may be positive throughout an image of a set with a window below 0. They are signed, as their set
    is, and the window begins elsewhere.
    """
    by_channel = len(window) > 2
    planes = np.moveaxis(image, -1, 0) if by_channel else image[None]
    for plane, (low, high) in zip(planes, np.reshape(window, (-1, 2)).tolist(), strict=True):
        looks = image.dtype.kind == "u" or _OFFSETS[0] <= plane.min() - low <= _OFFSETS[1]
        if low <= _OF_CT and plane.min() >= 0 and (ct or looks):
            raise InputError(
                f"the pixels are {plane.min():g} to {plane.max():g}, and the window is from {low:g} to {high:g} (of a "
                "CT: Hounsfield units): give the file as it was measured"
            )
