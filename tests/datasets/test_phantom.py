"""The phantom: the same pixels every time, and lesions that brightness by itself does not find."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import ndimage

from datasets.phantom import phantom_dataset_builder as builder_module
from datasets.phantom.phantom_dataset_builder import Builder
from datasets.phantom.scenes import skin, tissue
from sharp_unet_jax.data.resize import resize, restore


def test_small(build_and_read):
    built = build_and_read("phantom")
    assert built.builder.info.full_name == "phantom/small/1.0.0"
    assert built.classes == ["background", "lesion"]
    assert len(built.ids) == 60
    assert {image.shape for image in built.images} == {(64, 64, 3)}
    assert len(set(built.groups)) == 20
    assert [built.groups.count(group) for group in sorted(set(built.groups))] == [3] * 20
    share = np.array([mask.mean() for mask in built.masks])
    assert 0.1 < share.mean() < 0.2
    assert share.min() > 0


def test_multiclass_is_small_with_spots(build_and_read):
    two, three = build_and_read("phantom"), build_and_read("phantom/multiclass")
    assert three.classes == ["background", "lesion", "spot"]
    assert two.ids == three.ids
    np.testing.assert_array_equal(two.images, three.images)
    spots = np.stack(three.masks) == 2
    assert 0.003 < spots.mean() < 0.03
    np.testing.assert_array_equal(np.stack(two.masks)[~spots], np.stack(three.masks)[~spots])


def test_large_is_larger():
    large = Builder.builder_configs["large"]
    assert (large.patients * 3, large.height, large.width) == (300, 192, 256)


def test_same_pixels_every_time(tmp_path, build_and_read):
    first, second = (build_and_read("phantom", data_dir=tmp_path / name) for name in "ab")
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.masks, second.masks)


def test_frames_of_a_patient_are_shifted_and_patients_differ(build_and_read):
    built = build_and_read("phantom")
    images = np.stack(built.images).astype(float).reshape(20, 3, -1)
    within = np.abs(images[:, 0] - images[:, 1]).mean(axis=-1)
    between = np.abs(images[:-1, 0] - images[1:, 0]).mean(axis=-1)
    assert within.min() > 2  # no two frames are equal
    assert within.mean() < 0.7 * between.mean()
    masks = np.stack(built.masks).reshape(20, 3, 64, 64)
    for axis in (2, 3):  # in both directions
        profiles = masks.any(axis=axis)
        assert np.mean((profiles[:, 0] != profiles[:, 1]).any(axis=-1)) > 0.7


def test_brightness_alone_does_not_find_the_lesions(build_and_read):
    """The best threshold on any channel scores far below a network (about 0.8)."""
    built = build_and_read("phantom")
    images, masks = np.stack(built.images).astype(float), np.stack(built.masks)[..., 0] == 1
    best = max(
        np.sum((images[..., channel] < level) & masks) / np.sum((images[..., channel] < level) | masks)
        for channel in range(3)
        for level in range(10, 250, 5)
    )
    assert 0.15 < best < 0.6


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (33, 20)])
def test_scene_of_any_shape(size):
    image, lesion, spot = tissue(np.random.default_rng(3), *size)
    assert image.shape == (*size, 3)
    assert lesion.shape == spot.shape == size
    assert np.isfinite(image).all()


@pytest.fixture(scope="module")
def pictures():
    """Two pictures of `small_lesions`; all forty take half a minute."""
    config = dataclasses.replace(Builder.builder_configs["small_lesions"], patients=2)
    return list(builder_module._skin_pairs(config))


def test_small_lesions_are_eight_pixels_wide(pictures):
    assert Builder.builder_configs["small_lesions"].patients == 40
    assert [(pair.id, pair.group) for pair in pictures] == [("patient-000",) * 2, ("patient-001",) * 2]
    for pair in pictures:
        assert (pair.image.shape, pair.mask.shape) == ((600, 900, 3), (600, 900))
        lesions, number = ndimage.label(pair.mask)
        assert 8 <= number <= 16
        for rows, columns in ndimage.find_objects(lesions):
            assert 6 <= rows.stop - rows.start <= 10
            assert 6 <= columns.stop - columns.start <= 10


def test_small_lesions_are_the_same_pixels_every_time(pictures):
    config = Builder.builder_configs["small_lesions"]
    for pair, again in zip(pictures, itertools.islice(builder_module._skin_pairs(config), 2), strict=True):
        np.testing.assert_array_equal(pair.image, again.image)
        np.testing.assert_array_equal(pair.mask, again.mask)
    assert (pictures[0].image != pictures[1].image).any()


def test_brightness_alone_does_not_find_small_lesions(pictures):
    for pair in pictures:
        dark = [pair.image[..., channel] < level for channel in range(3) for level in range(10, 250, 5)]
        assert 0.05 < max(np.sum(each & pair.mask) / np.sum(each | pair.mask) for each in dark) < 0.3


def test_small_lesions_are_lost_where_images_are_shrunk(pictures):
    """A perfect answer at 192x256 scores below what a network reaches on crops."""
    for pair in pictures:
        small = resize(pair.image, pair.mask, (192, 256), "stretch")[1]
        back = restore(np.float32(small)[..., None], pair.mask.shape, "stretch")[..., 0] > 0.5
        assert np.sum(back & pair.mask) / np.sum(back | pair.mask) < 0.75


@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
def test_skin_of_any_shape(size):
    image, lesions = skin(np.random.default_rng(3), *size)
    assert image.shape == (*size, 3)
    assert lesions.shape == size
    assert np.isfinite(image).all()
