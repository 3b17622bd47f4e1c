"""The phantom: the same pixels every time, and lesions that brightness alone does not find."""

import numpy as np
import pytest

from datasets.phantom.phantom_dataset_builder import Builder, scene


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
    image, lesion, spot = scene(np.random.default_rng(3), *size)
    assert image.shape == (*size, 3)
    assert lesion.shape == spot.shape == size
    assert np.isfinite(image).all()
