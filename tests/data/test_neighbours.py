"""Neighbouring slices as channels: their order, the ends of volumes, and images that have no neighbours."""

from typing import Any

import numpy as np
import pytest

from sharp_unet_jax.config import Data
from sharp_unet_jax.data import neighbours
from sharp_unet_jax.data.prepared import prepare
from sharp_unet_jax.errors import InputError


def slices(number, channels=1, first=0):
    """Slices whose pixels are 10 times their number plus their channel."""
    return [
        np.full((16, 16, 1), 10 * (first + k), np.uint8) + np.arange(channels, dtype=np.uint8) for k in range(number)
    ]


def values(image):
    return image[0, 0].tolist()


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (0, [[0], [10], [20], [30]]),
        (1, [[0, 0, 10], [0, 10, 20], [10, 20, 30], [20, 30, 30]]),
        (2, [[0, 0, 0, 10, 20], [0, 0, 10, 20, 30], [0, 10, 20, 30, 30], [10, 20, 30, 30, 30]]),
    ],
)
def test_channels_are_in_the_order_of_the_slices_and_ends_are_repeated(context, expected):
    assert [values(image) for image in neighbours.stacked(slices(4), context)] == expected
    assert [values(image) for image in neighbours.stacked(np.stack(slices(4)), context)] == expected


def test_each_slice_brings_all_its_channels():
    first, second = neighbours.stacked(slices(2, channels=3), 1)
    assert values(first) == [0, 1, 2, 0, 1, 2, 10, 11, 12]
    assert values(second) == [0, 1, 2, 10, 11, 12, 10, 11, 12]


def source():
    """Two volumes, of 3 and 2 slices, that follow each other."""
    return [
        {"image": image, "mask": image // 10, "id": f"{volume}-{k}", "group": volume, "volume": volume}
        for volume, part in (("a", slices(3)), ("b", slices(2, first=3)))
        for k, image in enumerate(part)
    ]


OPTIONS: dict[str, Any] = {"name": "toy", "classes": tuple("01234"), "data": Data(size=(16, 16))}
CONTEXT = {"data": Data(size=(16, 16), context=1)}


def test_no_slice_has_neighbours_in_another_volume(tmp_path):
    plain, dataset = prepare(source(), **OPTIONS), prepare(source(), **OPTIONS | CONTEXT, cache=tmp_path / "c")
    assert [values(image) for image in dataset.images] == [
        [0, 0, 10],
        [0, 10, 20],
        [10, 20, 20],
        [30, 30, 40],
        [30, 40, 40],
    ]
    np.testing.assert_array_equal(dataset.images[..., 1:2], plain.images)
    np.testing.assert_array_equal(dataset.masks, plain.masks)
    assert (dataset.ids, dataset.groups) == (plain.ids, plain.groups)
    assert dataset.sha256 != plain.sha256
    again = prepare([], **OPTIONS | CONTEXT, cache=tmp_path / "c")  # read from the cache
    np.testing.assert_array_equal(again.images, dataset.images)


@pytest.mark.parametrize("change", [{"volume": ""}, None])
def test_a_picture_without_neighbours_is_refused(tmp_path, change):
    examples = source()
    if change is None:
        del examples[4]["volume"]
    else:
        examples[4] |= change
    assert prepare(examples, **OPTIONS).images.shape == (5, 16, 16, 1)
    with pytest.raises(InputError, match=r"context=2 .* b-1 is a single picture, .*--config.data.context=0") as error:
        prepare(examples, **OPTIONS | {"data": Data(size=(16, 16), context=2)}, cache=tmp_path / "c")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("context", [0, 1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_slice_is_drawn_without_its_neighbours(context, channels):
    slices = np.random.default_rng(0).integers(0, 256, (6, 4, 5, channels), np.uint8)
    for one, image in zip(slices, neighbours.stacked(slices, context), strict=True):
        np.testing.assert_array_equal(neighbours.own(image, context), one)
