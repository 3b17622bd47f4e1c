"""Batches of a data set that is too large for the devices, read from the disk in advance."""

from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np
from jax.sharding import NamedSharding

from sharp_unet_jax.data.resident import Dataset

THREADS, AHEAD = 4, 8  # threads, since reading releases the GIL, and batches read in advance


def batches(dataset: Dataset, index: np.ndarray, place: NamedSharding) -> Iterator[tuple[jax.Array, jax.Array]]:
    """Yield a batch for each row of `index` (S, B): images (B, H, W, C) and masks (B, H, W), uint8.

    `place` shards a batch over devices. A process reads only the parts of its own devices.
    """

    def read(step: int) -> tuple[jax.Array, jax.Array]:
        def rows(array: np.ndarray) -> jax.Array:
            def part(where: Any) -> np.ndarray:
                return array[index[step][where[0]]]

            return jax.make_array_from_callback((index.shape[1], *array.shape[1:]), place, part)

        return rows(dataset.images), rows(dataset.masks)

    pipeline = grain.MapDataset.range(len(index)).map(read)
    return iter(pipeline.to_iter_dataset(grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)))
