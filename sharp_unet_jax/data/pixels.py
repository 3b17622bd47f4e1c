"""Pixels of any depth as the 8 bits that networks here are trained on."""

import numpy as np

from sharp_unet_jax.errors import InputError

# A window of CT that begins so far below water, at 0, shows air or lung, of which all its images hold some. One that
# begins nearer to 0 may be of soft tissue or of no CT: then images without negative pixels are as good as others.
_OF_CT = -200.0


def as_trained(image: np.ndarray, channels: int, window: tuple[float, float] | None) -> np.ndarray:
    """An image (h, w, C) or a stack (n, h, w, C) of any dtype as a network was trained on: uint8 (..., h, w, channels).

    uint8 stays as it is, and False and True become 0 and 255. Anything else is clipped to `window`, whose ends become 0
    and 255: of a CT, Hounsfield units. Grey is repeated for a network of colours; colours are taken for grey where all
    three are the same. Raises InputError where there is no such reading.
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
    low, high = window
    if not np.isfinite(image).all():
        raise InputError("some pixels are not numbers (NaN or infinite)")
    if low <= _OF_CT and image.min() >= 0:  # a CT stored with an offset, or already windowed
        raise InputError(
            f"the pixels are {image.min():g} to {image.max():g}, and the run was trained on values from {low:g} to "
            f"{high:g} (of a CT: Hounsfield units): give the file as it was measured"
        )
    return windowed(image, window)


def windowed(image: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Return an image of any numeric dtype as uint8: clipped to `window` (low, high), whose ends become 0 and 255."""
    low, high = window
    scaled = (np.clip(image.astype(np.float32), low, high) - low) * (255 / max(high - low, 1e-9))
    return np.rint(scaled).astype(np.uint8)
