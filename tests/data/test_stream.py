"""Streamed batches: the rows that the index names, on the devices that share them, read as they are needed."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from sharp_unet_jax.data import stream
from tests.conftest import squares

SIZE = (16, 24)


def place(devices):
    return NamedSharding(jax.make_mesh((devices,), ("batch",), devices=jax.devices()[:devices]), PartitionSpec("batch"))


class Rows:
    """An array that remembers which of its rows were read, together."""

    def __init__(self, array):
        self.array, self.shape, self.read = array, array.shape, []

    def __getitem__(self, rows):
        self.read.append(np.asarray(rows).tolist())
        return self.array[rows]


@pytest.mark.parametrize("devices", [1, 4])
def test_batches_are_the_rows_of_the_index_in_its_order(devices):
    dataset = squares()
    index = np.random.default_rng(0).integers(0, 12, (20, 8))  # more steps than are read ahead
    found = list(stream.batches(dataset, index, place(devices), SIZE, SIZE))
    assert len(found) == 20
    for rows, (images, masks) in zip(index, found, strict=True):
        np.testing.assert_array_equal(images, dataset.images[rows])
        np.testing.assert_array_equal(masks, dataset.masks[rows])
        assert images.dtype == masks.dtype == np.uint8
        assert len(images.sharding.device_set) == len(masks.sharding.device_set) == devices


def test_a_device_reads_its_part_of_a_batch_alone():
    data = squares()
    dataset = SimpleNamespace(images=Rows(data.images), masks=Rows(data.masks), channels=3)
    next(stream.batches(dataset, np.array([[5, 0, 3, 3, 7, 11, 1, 2]]), place(4), SIZE, SIZE))
    for part in (dataset.images, dataset.masks):
        assert sorted(part.read) == [[1, 2], [3, 3], [5, 0], [7, 11]]


def test_a_long_epoch_is_not_read_at_once():
    data = squares()
    dataset = SimpleNamespace(images=Rows(data.images), masks=Rows(data.masks), channels=3)
    batches = stream.batches(dataset, np.zeros((500, 2), np.int64), place(1), SIZE, SIZE)
    next(batches)
    assert len(dataset.images.read) < 100  # the buffer, and what the threads hold
    batches.close()


def test_no_steps_are_no_batches():
    assert list(stream.batches(squares(), np.zeros((0, 4), np.int64), place(1), SIZE, SIZE)) == []
