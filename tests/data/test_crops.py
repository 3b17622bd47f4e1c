"""Crops: the pixels they have on the host and on the device, and how they are drawn."""

import functools
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sharp_unet_jax import ragged
from sharp_unet_jax.config import Augment, Data
from sharp_unet_jax.data import augment, crops
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.training import epochs
from tests.uneven import SIZES, uneven

DATA = Data(size=(16, 24), fit="crop")


def padded(image: np.ndarray, around: int, **options: Any) -> np.ndarray:
    """Pad both sides of the first two axes."""
    return np.pad(image, [(around, around)] * 2 + [(0, 0)] * (image.ndim - 2), **options)


@settings(max_examples=60)
@given(st.data())
def test_a_crop_is_a_slice_of_the_mirrored_image(data):
    side = st.integers(1, 13)
    height, width, channels = data.draw(side), data.draw(side), data.draw(st.integers(1, 4))
    size = data.draw(side), data.draw(side)
    room = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))
    top, left = (
        data.draw(st.integers(0, max(length - part, 0))) for length, part in zip((height, width), size, strict=True)
    )
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*shape, channels), np.uint8) for shape in ((2, 3), (height, width))]
    masks = [rng.integers(0, 3, image.shape[:2], np.uint8) for image in images]
    window = size[0] + 2 * room[0], size[1] + 2 * room[1]
    image, mask = crops.cut(ragged.of(images), ragged.of(masks), np.array([1, top, left, 0], np.int32), size, window)
    far = 40  # more than any crop leaves the image by
    place = tuple(
        slice(far + start - before, far + start - before + length)
        for start, before, length in zip((top, left), room, window, strict=True)
    )
    np.testing.assert_array_equal(image, padded(images[1], far, mode="reflect")[place])
    np.testing.assert_array_equal(mask, padded(masks[1], far, constant_values=IGNORE)[place])
    assert image.dtype == mask.dtype == np.uint8


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize(("size", "window"), [((16, 24), (16, 24)), ((17, 21), (31, 45)), ((1, 1), (1, 3))])
def test_the_device_cuts_what_the_host_cuts(channels, size, window):
    dataset = uneven(channels=channels)
    drawn = crops.draw(
        np.arange(len(SIZES)), dataset.sizes, dataset.points, Data(size=size, fit="crop", crops=60), seed=1, epoch=2
    )
    assert {*drawn[:, 0].tolist()} == set(range(len(SIZES)))
    take = jax.jit(functools.partial(crops.take, size=size, window=window))
    pairs = epochs.put(dataset, jax.devices()[:1])
    images, masks = take(pairs.images, pairs.masks, pairs.places, drawn)
    assert images.dtype == masks.dtype == np.uint8
    for crop, image, mask in zip(drawn, images, masks, strict=True):
        expected = crops.cut(dataset.images, dataset.masks, crop, size, window)
        np.testing.assert_array_equal(image, expected[0])
        np.testing.assert_array_equal(mask, expected[1])


@pytest.mark.parametrize("sizes", [SIZES, ((16, 24),) * 5, ((1, 1),) * 3, ((200, 300), (1, 1), (16, 24))])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_by_default_every_image_has_its_even_share_and_at_least_one_crop(sizes, epoch):
    n, pixels = len(sizes), sum(height * width for height, width in sizes)
    drawn = crops.draw(np.arange(n) + 2, np.array([(5, 5), (5, 5), *sizes]), [[]] * (n + 2), DATA, seed=3, epoch=epoch)
    assert len(drawn) == max(n, int(np.ceil(pixels / (16 * 24)))) == crops.count(DATA, np.array(sizes))
    number = np.bincount(drawn[:, 0], minlength=n + 2)[2:]
    assert (number >= 1).all()
    assert (abs(number - len(drawn) / n) < 1).all()
    np.testing.assert_array_equal(drawn[:, 3], np.arange(len(drawn)))


class Extreme:
    """Random bits that are all 0, or all 1."""

    bits = 0

    def __init__(self, seed):
        pass

    def random_raw(self, number):
        return np.full(number, self.bits, np.uint64)


@pytest.mark.parametrize("bits", [0, 2**64 - 1])
@pytest.mark.parametrize("share", ["image", "area"])
def test_shares_are_exact_at_the_ends_of_the_random_numbers(bits, share, monkeypatch):
    monkeypatch.setattr(np.random, "PCG64", type("Drawn", (Extreme,), {"bits": bits}))
    sizes = np.tile([(16, 24)], (49, 1))
    drawn = crops.draw(np.arange(49), sizes, [[]] * 49, Data(size=(16, 24), fit="crop", share=share), seed=0, epoch=1)
    assert sorted(drawn[:, 0].tolist()) == list(range(49))
    large = np.array([(17, 30), (16, 24)])
    drawn = crops.draw(np.arange(2), large, [[]] * 2, Data(size=(16, 24), fit="crop", crops=9), seed=0, epoch=1)
    free = large[drawn[:, 0]] - (16, 24)
    np.testing.assert_array_equal(drawn[:, 1:3], 0 if bits == 0 else free)


def test_by_area_an_image_has_as_many_crops_as_its_pixels_are_of_all():
    sizes = np.array([(100, 100), (10, 10), (200, 150), (1, 1)])
    data = Data(size=(16, 24), fit="crop", share="area", crops=1000)
    for epoch in range(1, 4):
        drawn = crops.draw(np.arange(4), sizes, [[]] * 4, data, seed=0, epoch=epoch)
        expected = 1000 * sizes.prod(axis=1) / sizes.prod(axis=1).sum()
        assert (abs(np.bincount(drawn[:, 0], minlength=4) - expected) < 1).all()


def test_the_order_of_the_images_is_random():
    drawn = [
        crops.draw(np.arange(40), np.full((40, 2), 30), [[]] * 40, DATA, seed=0, epoch=epoch)[:, 0] for epoch in (1, 2)
    ]
    for order in drawn:
        correlation = stats.spearmanr(np.arange(len(order)), order).statistic
        assert abs(correlation) < 4 / np.sqrt(len(order))
    assert not np.array_equal(*drawn)


def test_crops_depend_on_seed_and_epoch_alone():
    dataset, images = uneven(), np.arange(len(SIZES))
    draw = functools.partial(crops.draw, images, dataset.sizes, dataset.points, DATA)
    first = draw(seed=1, epoch=1)
    np.testing.assert_array_equal(first, draw(seed=1, epoch=1))
    assert not np.array_equal(first, draw(seed=2, epoch=1))
    assert not np.array_equal(first, draw(seed=1, epoch=2))
    for crop in first:
        free = np.maximum(dataset.sizes[crop[0]] - DATA.size, 0)
        assert (crop[1:3] >= 0).all()
        assert (crop[1:3] <= free).all()


def test_corners_are_uniform_where_nothing_is_centred_on():
    data = Data(size=(16, 24), fit="crop", crops=6000, foreground=1.0)  # there is no foreground
    drawn = crops.draw(np.array([0]), np.array([(19, 26)]), [[]], data, seed=0, epoch=1)
    found = np.bincount(drawn[:, 1] * 3 + drawn[:, 2], minlength=12)
    assert len(found) == 12
    assert stats.chisquare(found).pvalue > 1e-4


def test_the_share_of_crops_that_are_centred_on_a_random_class():
    """Single pixels, far from the edges: a crop has one in its middle by chance only in 1 of 4000."""
    mask = np.zeros((80, 80), np.uint8)
    mask[40:46, 30:40], mask[50, 50], mask[20, 60] = 1, 2, 3  # one class has 60 times the pixels
    data = Data(size=(16, 24), fit="crop", crops=3000, foreground=0.33)
    drawn = crops.draw(np.array([0]), np.array([mask.shape]), [crops.points(mask)], data, seed=5, epoch=1)
    middles = mask[drawn[:, 1] + 8, drawn[:, 2] + 12]
    number = np.bincount(middles, minlength=4)[1:]
    assert stats.binomtest(int(number.sum()), 3000, 0.33).pvalue > 1e-3
    assert stats.chisquare(number).pvalue > 1e-3
    none = crops.draw(
        np.array([0]),
        np.array([mask.shape]),
        [crops.points(mask)],
        Data(**vars(data) | {"foreground": 0.0}),
        seed=5,
        epoch=1,
    )
    assert (mask[none[:, 1] + 8, none[:, 2] + 12] > 0).mean() < 0.05


@pytest.mark.parametrize("position", [(0, 0), (0, 39), (29, 0), (29, 39), (3, 20)])
def test_a_crop_around_a_pixel_at_the_edge_stays_inside(position):
    mask = np.zeros((30, 40), np.uint8)
    mask[position] = 1
    data = Data(size=(16, 24), fit="crop", crops=20, foreground=1.0)
    drawn = crops.draw(np.array([0]), np.array([mask.shape]), [crops.points(mask)], data, seed=0, epoch=1)
    expected = [min(max(at - half, 0), free) for at, half, free in zip(position, (8, 12), (14, 16), strict=True)]
    np.testing.assert_array_equal(drawn[:, 1:3], np.tile(expected, (20, 1)))


def test_points_are_of_every_class_and_of_no_ignored_pixel():
    mask = np.zeros((70, 90), np.uint8)
    mask[:30], mask[40, 7], mask[50:] = 1, 254, IGNORE
    first, second = crops.points(mask)
    assert len(first) == crops.POINTS
    assert set(first // 90) == set(range(30))
    np.testing.assert_array_equal(second, [40 * 90 + 7])
    assert crops.points(np.full((3, 3), IGNORE, np.uint8)) == crops.points(np.zeros((3, 3), np.uint8)) == []


ALL = Augment(rotate=45, zoom=0.3, shift=0.1, elastic=2)


def test_without_a_change_of_place_no_room_is_needed():
    for settings_ in (Augment(), Augment(flip=0.5, turn=0.5, brightness=0.2, blur=1, noise=0.1)):
        assert augment.window(settings_, (16, 24)) == (16, 24)


@pytest.mark.parametrize(
    "change",
    [
        *({name: getattr(ALL, name)} for name in ("rotate", "zoom", "shift", "elastic")),
        *({"rotate": degrees} for degrees in (90, 180)),
        {"elastic": 15},  # many displacements of more than three deviations
        vars(ALL) | {"flip": 0.5, "turn": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(16, 16), (12, 40)])
def test_no_pixel_of_a_changed_crop_lies_beyond_its_room(change, size):
    changes = Augment(**change)
    window = augment.window(changes, size)
    assert all((room - side) % 2 == 0 and room > side for room, side in zip(window, size, strict=True))
    images, masks = np.full((400, *window, 1), 200, np.uint8), np.ones((400, *window), np.uint8)
    index = np.arange(400, dtype=np.int32)
    image, mask = jax.jit(functools.partial(augment.batch, changes, size=size))(
        images, masks, index, np.array([1, 2], np.uint32)
    )
    assert image.shape == (400, *size, 1)
    assert (np.asarray(image) == 200).all()
    assert (np.asarray(mask) == 1).all()


def test_a_crop_is_changed_around_its_own_middle():
    """A turn by any angle leaves the middle where it is, and what leaves the image is ignored."""
    changes, size = Augment(rotate=180), (15, 15)
    window = augment.window(changes, size)
    mask = np.zeros(window, np.uint8)
    mask[window[0] // 2 - 1 : window[0] // 2 + 2, window[1] // 2 - 1 : window[1] // 2 + 2] = 1
    _, found = jax.jit(functools.partial(augment.batch, changes, size=size))(
        np.zeros((50, *window, 1), np.uint8),
        np.tile(mask, (50, 1, 1)),
        np.arange(50, dtype=np.int32),
        np.array([1, 2], np.uint32),
    )
    assert (np.asarray(found)[:, 7, 7] == 1).all()
    assert np.asarray(found).sum(axis=(1, 2)).max() <= 14


def test_a_crop_that_is_no_square_is_turned_by_half_alone_whatever_room_it_has():
    changes, size = Augment(turn=1.0, rotate=90), (16, 24)
    assert augment.window(changes, size) == (30, 30)
    gradient = np.tile(np.arange(30, dtype=np.uint8), (200, 30, 1))  # grows from left to right
    turned = jax.jit(functools.partial(augment.batch, Augment(turn=1.0), size=size))
    plain, _ = turned(gradient[..., None], gradient, np.arange(200, dtype=np.int32), np.array([1, 2], np.uint32))
    assert (np.ptp(np.asarray(plain), axis=1) == 0).all()


def test_which_image_has_the_crop_that_is_left_over_is_random():
    sizes, data = np.full((3, 2), 30), Data(size=(16, 24), fit="crop", crops=4)
    number = [
        np.bincount(crops.draw(np.arange(3), sizes, [[]] * 3, data, seed=0, epoch=epoch)[:, 0], minlength=3)
        for epoch in range(300)
    ]
    assert stats.chisquare(np.sum(number, axis=0) - 300).pvalue > 1e-3
