"""Images and masks given as NumPy arrays, as the source of a data set."""

from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np

from sharp_unet_jax.data import pixels
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.metrics import IGNORE

Arrays: TypeAlias = np.ndarray | Sequence[np.ndarray]


def examples(
    images: Arrays,
    masks: Arrays,
    kind: str,
    groups: Sequence[Hashable] | None,
    window: pixels.Window | None,
) -> list[dict[str, Any]]:
    """Turn arrays into the examples of a `prepared.Source`.

    Args:
        images: (h, w) or (h, w, C), of any sizes; uint8, or any dtype with a `window`.
        masks: (h, w), the class of each pixel or `IGNORE`. `prepared.prepare` refuses labels beyond the classes.
        kind: first part of the ids, a number follows: "" or "validation ".
        groups: of every image; None gives each image a group of its own.
        window: intensities that become 0 and 255, see `pixels.windowed`.

    Raises:
        InputError: naming the image or mask that is wrong.
    """
    if len(images) != len(masks) or (groups is not None and len(groups) != len(images)):
        number = "" if groups is None else f" and {len(groups)} groups"
        raise InputError(f"{len(images)} {kind}images, but {len(masks)} masks{number}: every image needs one")
    if not len(images):
        raise InputError(f"there are no {kind}images")
    found: list[dict[str, Any]] = []
    groups = None if groups is None else list(groups)  # by place: a pandas Series would be looked up by its labels
    for n, (image, mask) in enumerate(zip(images, masks, strict=True)):
        image, mask = _image(np.asarray(image), f"{kind}image {n}", window), np.asarray(mask)
        if mask.shape != image.shape[:2]:
            raise InputError(
                f"{kind}mask {n} is {mask.shape}, and its image is {image.shape}: a mask is (height, width)"
            )
        if mask.dtype.kind not in "biu" or mask.min() < 0 or mask.max() > IGNORE:
            raise InputError(
                f"{kind}mask {n} is {mask.dtype}, from {mask.min()} to {mask.max()}: give the class of each pixel, "
                f"a whole number from 0 on, or {IGNORE} where there is none"
            )
        id_ = f"{kind}{n:05}"
        group = id_ if groups is None else str(groups[n])
        found.append({"image": image, "mask": mask.astype(np.uint8)[..., None], "id": id_, "group": group})
    if {label for example in found for label in np.unique(example["mask"])} == {0, IGNORE}:
        raise InputError(
            f"the {kind}masks hold only 0 and {IGNORE}, and {IGNORE} marks pixels to leave out: give masks > 0"
        )
    return found


def _image(image: np.ndarray, name: str, window: pixels.Window | None) -> np.ndarray:
    """Turn an image of any dtype into (H, W, C) uint8; `name` is for errors."""
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise InputError(f"{name} is {image.shape}: give (height, width) or (height, width, channels)")
    if image.dtype != np.uint8 and window is None:
        raise InputError(
            f"{name} is {image.dtype}, from {image.min():g} to {image.max():g}: give uint8, or as window=(low, high) "
            "what is to become 0 and 255"
        )
    image = image[..., None] if image.ndim == 2 else image
    try:
        return pixels.as_trained(image, image.shape[2], window)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
