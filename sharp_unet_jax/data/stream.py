"""Batches of a data set that is too large for the devices, read from the disk in advance."""

import functools
from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np
from jax.sharding import NamedSharding

from sharp_unet_jax.data import crops
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.data.resize import Size
from sharp_unet_jax.ragged import Ragged

THREADS, AHEAD = 4, 8  # threads, since reading releases the GIL, and batches read in advance


def batches(
    dataset: Dataset, index: np.ndarray, place: NamedSharding, size: Size, window: Size
) -> Iterator[tuple[jax.Array, jax.Array]]:
    """Yield a batch for each row of `index`: images (B, *window, C) and masks (B, *window), uint8.

    Args:
        dataset: the images.
        index: (S, B) images; or (S, B, 4) crops, see `crops`.
        place: shards a batch over devices. A process reads only the parts of its own devices.
        size: height and width of images or crops.
        window: those of what is read of crops, see `crops.cut`.
    """

    def batch(step: int) -> tuple[jax.Array, jax.Array]:
        @functools.cache  # images and masks are read together
        def part(start: int | None, stop: int | None) -> tuple[np.ndarray, np.ndarray]:
            return read(dataset, index[step][start:stop], size, window)

        def rows(number: int, shape: tuple[int, ...]) -> jax.Array:
            def of_device(where: Any) -> np.ndarray:
                return part(where[0].start, where[0].stop)[number]

            return jax.make_array_from_callback((index.shape[1], *window, *shape), place, of_device)

        return rows(0, (dataset.channels,)), rows(1, ())

    pipeline = grain.MapDataset.range(len(index)).map(batch)
    return iter(pipeline.to_iter_dataset(grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)))


def read(dataset: Dataset, index: np.ndarray, size: Size, window: Size) -> tuple[np.ndarray, np.ndarray]:
    """Read images (B,), or crops (B, 4): images (B, *window, C) and masks (B, *window), as in `batches`."""
    images, masks = dataset.images, dataset.masks
    if isinstance(images, Ragged) or isinstance(masks, Ragged):
        cuts = [crops.cut(images, masks, crop, size, window) for crop in index]
        return np.stack([image for image, _ in cuts]), np.stack([mask for _, mask in cuts])
    return images[index], masks[index]
