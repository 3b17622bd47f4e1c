"""Profiles of images that are known by construction."""

import numpy as np
import pytest
from scipy import ndimage

from sharp_unet_jax.advice import profile
from sharp_unet_jax.data import duplicates
from sharp_unet_jax.data.resize import resize, restore
from sharp_unet_jax.metrics import IGNORE


def pictures(n, size=(40, 48), seed=0):
    """Return smooth, unrelated pictures."""
    raw = np.random.default_rng(seed).normal(size=(n, *size, 3))
    return np.uint8(np.clip(128 + 400 * ndimage.gaussian_filter(raw, (0, 4, 4, 0)), 0, 255))


def profiled(images, masks=None, ids=None, classes=("background", "a", "b")):
    masks = masks if masks is not None else [np.zeros(image.shape[:2], np.uint8) for image in images]
    ids = ids or [str(index) for index in range(len(images))]
    each = [profile.profile_image(image, mask, len(classes)) for image, mask in zip(images, masks, strict=True)]
    return profile.Profile(ids, ids, classes, each)


def test_one_image():
    mask = np.zeros((4, 6), np.uint8)
    mask[0] = 1
    mask[1, :3] = 2
    mask[3] = IGNORE
    image = np.arange(24, dtype=np.uint8).reshape(4, 6, 1)
    one = profile.profile_image(image, mask, 3)
    assert (one.size, one.counts.tolist(), one.levels, one.brightness) == ((4, 6), [9, 6, 3], 24, 11.5)
    assert profiled([image], [mask]).foreground.tolist() == [0.5]


def test_colours_without_red_count():
    images = [image * np.array([0, 1, 1], np.uint8) for image in pictures(3)]
    images += [np.uint8(0.9 * images[1] + (0, 12, 12)), np.full_like(images[0], (0, 9, 200))]
    found = profiled(images)
    assert found.images[0].levels == max(len(np.unique(images[0][..., channel])) for channel in (1, 2)) > 100
    assert found.images[4].levels == 1
    assert [pair[:2] for pair in found.near] == [(1, 3)]


def test_copies_near_duplicates_and_their_families():
    images = list(pictures(8))
    images[5] = images[1]
    images[6] = np.uint8(0.9 * images[2] + 12)  # brighter, with lower contrast
    images[7] = np.zeros_like(images[0])
    images += [np.full_like(images[0], 200)]
    found = profiled(images)
    assert found.copies == [[1, 5]]
    (pair,) = found.near  # but not the two of one colour
    assert pair[:2] == (2, 6)
    assert pair[2] <= duplicates.DUPLICATE
    assert pair[3] == pytest.approx(1, abs=0.01)
    families = found.families.tolist()
    assert families[1] == families[5]
    assert families[2] == families[6]
    assert len(set(families)) == 7


def test_slices_of_a_volume_are_more_alike_than_unrelated_images():
    volume = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(12, 40, 48)), (3, 4, 4))
    slices = [np.uint8(np.clip(128 + 2000 * plane, 0, 255))[..., None] for plane in volume]
    ids = [f"scan-{index:02}" for index in range(12)]
    number, alike = profiled(slices, ids=ids).neighbours()
    assert number == 11
    assert alike > 0.8
    number, alike = profiled(pictures(12), ids=ids).neighbours()
    assert number == 11
    assert alike < 0.8
    assert profiled(pictures(2), ids=["a", "b"]).neighbours() == (0, 0.0)


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_ceiling(fit):
    mask = np.zeros((60, 80), np.uint8)
    mask[10:40, 20:60] = 1
    assert profile.ceiling(mask, (60, 80), fit, 2) == 1
    assert np.isnan(profile.ceiling(mask * 0, (60, 80), fit, 2))
    small = resize(mask[..., None], mask, (16, 32), fit)[1]
    back = restore((small == 1)[..., None].astype(np.float32), mask.shape, fit)[..., 0] > 0.5
    expected = np.sum(back & (mask == 1)) / np.sum(back | (mask == 1))
    assert profile.ceiling(mask, (16, 32), fit, 2) == pytest.approx(expected)
    assert 0.7 < expected < 1
    thin = np.zeros((64, 64), np.uint8)
    thin[3] = 1
    assert profile.ceiling(thin, (16, 16), fit, 2) == 0  # the thin class is lost


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_ignored_pixels_do_not_lower_the_ceiling(fit):
    mask = np.zeros((60, 80), np.uint8)
    mask[2:48, 12:68], mask[10:40, 20:60] = IGNORE, 1  # ignored all around: any prediction may be there
    assert profile.ceiling(mask, (16, 32), fit, 2) == 1
