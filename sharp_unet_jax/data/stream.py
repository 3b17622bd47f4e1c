"""Batches of a data set too large for the devices, read from the disk ahead of their use."""

from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np
from jax.sharding import NamedSharding

from sharp_unet_jax.data.resident import Dataset

THREADS, AHEAD = 4, 8  # reading releases the GIL; the other batches wait here


def batches(dataset: Dataset, index: np.ndarray, place: NamedSharding) -> Iterator[tuple[jax.Array, jax.Array]]:
    """The images (B, H, W, C) and masks (B, H, W) of each row of `index` (S, B), uint8, on the devices of `place`.

    A process reads only what its own devices get.
    """

    def read(step: int) -> tuple[jax.Array, jax.Array]:
        def rows(array: np.ndarray) -> jax.Array:
            def part(where: Any) -> np.ndarray:
                return array[index[step][where[0]]]

            return jax.make_array_from_callback((index.shape[1], *array.shape[1:]), place, part)

        return rows(dataset.images), rows(dataset.masks)

    pipeline = grain.MapDataset.range(len(index)).map(read)
    return iter(pipeline.to_iter_dataset(grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)))
