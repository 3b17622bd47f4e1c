"""Neighbouring slices of a volume as channels of each slice (2.5-D), for the setting `data.context`."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sharp_unet_jax.errors import InputError

Slice = tuple[np.ndarray, np.ndarray, str, str, str]  # image, mask, id, group, volume ("" where there is none)


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


def of_volumes(examples: Iterable[Slice], context: int) -> Iterator[tuple[np.ndarray, np.ndarray, str, str]]:
    """Yield image, mask, id and group of examples, whose images get the channels of their neighbours.

    Slices of one volume follow each other. Raises InputError for an image of no volume, unless `context` is 0.
    """
    if not context:
        yield from (one[:4] for one in examples)
        return
    for volume, several in itertools.groupby(examples, key=lambda one: one[4]):
        slices = list(several)
        if not volume:
            raise InputError(missing(slices[0][2], context))
        images = stacked([one[0] for one in slices], context)
        yield from ((image, *one[1:4]) for image, one in zip(images, slices, strict=True))


def missing(id_: str, context: int) -> str:
    """Say that an image has no neighbours."""
    return (
        f"data.context={context} adds neighbouring slices as channels, and {id_} is a single picture, no slice of a "
        "volume; set --config.data.context=0, or give volumes alone"
    )
