"""Near-duplicates: what their hashes and thumbnails share, and pairs against brute force."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from sharp_unet_jax.data import duplicates


def pictures(n, channels=3):
    """Smooth pictures that have nothing in common."""
    raw = np.random.default_rng(0).normal(size=(n, 96, 128, channels))
    return np.uint8(np.clip(128 + 900 * ndimage.gaussian_filter(raw, (0, 8, 8, 0)), 0, 255))


def bits(a, b):
    return bin(int(duplicates.phash(a)) ^ int(duplicates.phash(b))).count("1")


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_resized_or_brighter_picture_is_a_near_duplicate_and_another_is_none(channels):
    one, other = pictures(2, channels)
    planes = [Image.fromarray(plane).resize((64, 48), Image.Resampling.BILINEAR) for plane in np.moveaxis(one, -1, 0)]
    for alike in (np.dstack(planes), np.uint8(0.8 * one + 20)):
        assert bits(one, alike) <= duplicates.DUPLICATE
        assert duplicates.small(one) @ duplicates.small(alike) > 0.99
    assert bits(one, other) > 10
    assert abs(duplicates.small(one) @ duplicates.small(other)) < 0.5


def test_channels_that_are_not_drawn_count():
    one, other = pictures(2, channels=5)
    other[..., :3] = one[..., :3] = 7
    assert bits(one, other) > 10
    assert abs(duplicates.small(one) @ duplicates.small(other)) < 0.5


def test_a_scalar_product_of_thumbnails_is_the_correlation_of_grey_values():
    one, other = pictures(2)
    other = np.uint8(0.5 * one + 0.5 * other)
    grey = [
        np.asarray(Image.fromarray(each).convert("L").resize((32, 32), Image.Resampling.BOX), float).ravel()
        for each in (one, other)
    ]
    found = duplicates.small(one) @ duplicates.small(other)
    assert found == pytest.approx(np.corrcoef(*grey)[0, 1], abs=1e-5)
    assert 0.3 < found < 0.95


def test_a_picture_of_one_colour_correlates_with_none():
    flat = np.full((40, 48, 3), 77, np.uint8)
    np.testing.assert_array_equal(duplicates.small(flat), np.zeros(1024))


def test_near_is_every_pair_by_brute_force():
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**64, 40, np.uint64)
    hashes[20:] = hashes[:20] ^ np.left_shift(np.uint64(1), rng.integers(0, 64, 20, np.uint64))
    hashes[21] ^= np.uint64(0b11111)
    expected = [
        [i, j, different]
        for i in range(40)
        for j in range(i + 1, 40)
        if (different := bin(int(hashes[i]) ^ int(hashes[j])).count("1")) <= duplicates.DUPLICATE
    ]
    assert len(expected) >= 19
    assert duplicates.near(hashes).tolist() == expected
    assert duplicates.near(hashes[:1]).shape == (0, 3)


def test_ids_are_split_at_their_last_number():
    ids = ["scan2-09", "scan2-10", "scan3-11", "9.png", "a1b2c", "none"]
    text, number = duplicates.numbered(ids)
    np.testing.assert_array_equal(number, [9, 10, 11, 9, 2, np.nan])
    same = text[:, None] == text[None, :]
    np.testing.assert_array_equal(np.argwhere(np.triu(same, 1)), [[0, 1]])
