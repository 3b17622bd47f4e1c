"""Neighbouring slices of a volume as channels of each slice (2.5-D), for the setting `data.context`."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sharp_unet_jax.errors import InputError


class Slice(NamedTuple):
    """An image with its mask, at the size of training."""

    image: np.ndarray  # (H, W, C) uint8
    mask: np.ndarray  # (H, W) uint8
    native: np.ndarray | None  # (h, w) uint8, the mask as it is in its file; None where nobody scores by it
    id: str
    group: str
    volume: str  # whose slices follow each other; "" for a picture without neighbours


def channels(own: int, context: int) -> int:
    """Return the channels of a slice with `own` ones and its neighbours."""
    return own * (2 * context + 1)


def stacked(slices: Sequence[np.ndarray] | np.ndarray, context: int) -> Iterator[np.ndarray]:
    """Yield each slice of a volume with its `context` neighbours on either side.

    Args:
        slices: (H, W, C) each, in their order in the volume.
        context: number of neighbours on either side; 0 yields the slices themselves.

    Yields:
        (H, W, (2 * context + 1) * C): the channels of the neighbours before, of the slice, of the neighbours after.
        Beyond an end of the volume the end slice is repeated.
    """
    last = len(slices) - 1
    for index, one in enumerate(slices):
        near = [slices[min(max(index + step, 0), last)] for step in range(-context, context + 1)]
        yield np.concatenate(near, axis=-1) if context else one


def own(image: np.ndarray, context: int) -> np.ndarray:
    """Return an image (..., channels) as it is drawn: a slice without the channels of its `context` neighbours."""
    number = image.shape[-1] // (2 * context + 1)
    return image[..., context * number : (context + 1) * number]


def of_volumes(examples: Iterable[Slice], context: int) -> Iterator[Slice]:
    """Yield the examples; the image of each has the channels of its `context` neighbours too.

    Slices of one volume follow each other. Raises InputError for an image of no volume, unless `context` is 0.
    """
    if not context:
        yield from examples
        return
    for volume, several in itertools.groupby(examples, key=lambda one: one.volume):
        slices = list(several)
        if not volume:
            raise InputError(missing(slices[0].id, context))
        if len({one.image.shape for one in slices}) > 1:
            raise InputError(f"the slices of {volume} are of several sizes: set --config.data.context=0")
        images = stacked([one.image for one in slices], context)
        yield from (one._replace(image=image) for image, one in zip(images, slices, strict=True))


def missing(id_: str, context: int) -> str:
    """Say that an image has no neighbours."""
    return (
        f"data.context={context} adds neighbouring slices as channels, and {id_} is a single picture, no slice of a "
        "volume; set --config.data.context=0, or give only volumes"
    )
