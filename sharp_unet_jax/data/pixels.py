"""Pixels of any dtype as the 8 bits that networks are trained on."""

import numpy as np

from sharp_unet_jax.errors import InputError

# In Hounsfield units, water is 0. A window that begins this far below it shows air or lung, which is in every image of
# a CT: an image without negative pixels is then stored with an offset. A window that begins nearer to 0 tells nothing.
_OF_CT = -200.0


def windowed(image: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Clip finite pixels of any numeric dtype to `window`, whose ends become 0 and 255: uint8 of the same shape."""
    low, high = window
    wide = image.dtype.kind in "iu" and image.dtype.itemsize > 2  # more than float32 holds exactly
    clipped = np.clip(image.astype(np.float64 if wide else np.float32), low, high) - low
    return np.rint(clipped.astype(np.float32) * (255 / max(high - low, 1e-9))).astype(np.uint8)


def as_trained(image: np.ndarray, channels: int, window: tuple[float, float] | None) -> np.ndarray:
    """Turn an image into what a network was trained on.

    uint8 stays as it is; False and True become 0 and 255; other dtypes go through `windowed`. Grey is repeated for a
    network trained on RGB. RGB becomes grey if its three channels are the same.

    Args:
        image: (h, w, C), or a stack of images (n, h, w, C), of any dtype.
        channels: of the network.
        window: intensities that became 0 and 255 in training; None if all its images were uint8.

    Returns:
        uint8, (..., h, w, channels).

    Raises:
        InputError: for an image that cannot be read this way.
    """
    if image.shape[-1] != channels:
        if image.shape[-1] == 1:
            image = np.repeat(image, channels, axis=-1)
        elif channels == 1 and image.shape[-1] == 3 and (image == image[..., :1]).all():
            image = image[..., :1]
        else:
            kinds = {1: "grey", 3: "RGB"}
            here, there = (kinds.get(count, f"of {count} channels") for count in (image.shape[-1], channels))
            raise InputError(f"the image is {here}, and the run was trained on images that are {there}: convert it")
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
    if not np.isfinite(image).all():
        raise InputError("some pixels are not numbers (NaN or infinite)")
    if window[0] <= _OF_CT and image.min() >= 0:  # a CT stored with an offset, or windowed already
        raise InputError(
            f"the pixels are {image.min():g} to {image.max():g}, and the run was trained on values from {window[0]:g} "
            f"to {window[1]:g} (of a CT: Hounsfield units): give the file as it was measured"
        )
    return windowed(image, window)
