"""Resizing: areas are averaged, labels are never invented, and letterbox padding is ignored."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharp_unet_jax.data.resize import antialiased, dilated, pixels, resize
from sharp_unet_jax.metrics import IGNORE

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(
    source=sizes,
    target=sizes,
    fit=st.sampled_from(["stretch", "letterbox"]),
    mask_filter=st.sampled_from(["nearest", "antialiased", "any"]),
    seed=st.integers(0, 99),
)
def test_size_type_and_labels(source, target, fit, mask_filter, seed):
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 1, 3], np.uint8), source)
    image, label = resize(rng.integers(0, 256, (*source, 3), np.uint8), mask, target, fit, mask_filter)
    assert (image.shape, label.shape) == ((*target, 3), target)
    assert image.dtype == label.dtype == np.uint8
    assert set(np.unique(label)) <= set(np.unique(mask)) | ({IGNORE} if fit == "letterbox" else set())


def test_same_size_changes_nothing():
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (9, 7, 1), np.uint8), rng.integers(0, 3, (9, 7), np.uint8)
    for fit, mask_filter in itertools.product(("stretch", "letterbox"), ("nearest", "antialiased", "any")):
        resized = resize(image, mask, (9, 7), fit, mask_filter)
        np.testing.assert_array_equal(resized[0], image)
        np.testing.assert_array_equal(resized[1], mask)


@pytest.mark.parametrize("mask_filter", ["nearest", "antialiased", "any"])
@pytest.mark.parametrize("size", [(20, 30), (10, 15), (7, 11)])
def test_ignored_pixels_stay_ignored_and_become_no_class(mask_filter, size):
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 10:50], mask[16:24, 20:40] = 1, 2
    mask[:, :12] = IGNORE
    resized = resize(np.zeros((40, 60, 1), np.uint8), mask, size, "stretch", mask_filter)[1]
    edge = 12 * size[1] / 60
    columns = np.arange(size[1])
    assert (resized[:, columns + 1 < edge] == IGNORE).all()
    assert (resized[:, columns > edge] != IGNORE).all()  # it does not grow either
    # The other labels do not depend on what is hidden, but beside it.
    mask[:, :12] = rng.integers(0, 3, (40, 12))
    other = resize(np.zeros((40, 60, 1), np.uint8), mask, size, "stretch", mask_filter)[1]
    away = columns > edge + 1
    np.testing.assert_array_equal(resized[:, away], other[:, away])


def test_objects_grow_into_background_and_ignored_pixels_do_not():
    mask = np.zeros((8, 8), np.uint8)
    mask[0, 0], mask[0, 7], mask[4:, 4:] = 1, IGNORE, IGNORE
    expected = np.zeros((4, 4), np.uint8)
    expected[0, 0], expected[2:, 2:] = 1, IGNORE
    np.testing.assert_array_equal(dilated(mask, (4, 4))[[0, 0, 3], [0, 3, 3]], expected[[0, 0, 3], [0, 3, 3]])
    np.testing.assert_array_equal(dilated(np.full((8, 8), IGNORE, np.uint8), (4, 4)), np.full((4, 4), IGNORE))


def test_shrinking_averages_instead_of_skipping():
    stripes = np.tile(np.array([0, 255], np.uint8), (8, 8))[..., None]
    image, _ = resize(stripes, np.zeros((8, 16), np.uint8), (4, 4), "stretch")
    assert 100 < image[:, 1:-1].min() <= image[:, 1:-1].max() < 155


def test_antialiased_masks_are_those_of_scikit_image():
    skimage = pytest.importorskip("skimage.transform")
    rng = np.random.default_rng(0)
    for source, target in (((288, 384), (192, 256)), ((101, 77), (40, 64)), ((40, 40), (64, 50))):
        mask = (rng.random(source) > 0.5).astype(np.uint8)
        np.testing.assert_array_equal(antialiased(mask, target), skimage.resize(255 * mask, target).round())


def test_antialiased_masks_are_a_gaussian_and_the_mean_of_four_pixels_at_half_the_size():
    """The paper's code halves ISBI-2012's masks so: sigma is (2 - 1) / 2."""
    mask = (np.random.default_rng(0).random((24, 36)) > 0.4).astype(np.uint8)
    weights = np.exp(-0.5 * (np.arange(-2, 3) / 0.5) ** 2)
    weights /= weights.sum()
    padded = np.pad(mask.astype(float), 2, mode="reflect")
    rows = sum(weight * padded[i : i + 24] for i, weight in enumerate(weights))
    smooth = sum(weight * rows[:, i : i + 36] for i, weight in enumerate(weights))
    share = smooth.reshape(12, 2, 18, 2).mean(axis=(1, 3))
    sure = np.abs(share - 0.5) > 1e-9
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(antialiased(mask, (12, 18))[sure], (share > 0.5)[sure])


def test_antialiased_masks_keep_no_thin_line_and_take_the_largest_of_three_labels():
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 2
    mask[3] = IGNORE  # one row of two
    np.testing.assert_array_equal(antialiased(mask, (4, 4)), [[0, 0, 2, 2]] * 4)
    mask[2:4] = IGNORE
    np.testing.assert_array_equal(antialiased(mask, (4, 4))[1], [IGNORE] * 4)


def test_dilated_masks_are_those_of_scikit_image():
    """The sizes are those of Data Science Bowl 2018, where the paper's code makes its masks so."""
    skimage = pytest.importorskip("skimage.transform")
    rng = np.random.default_rng(0)
    for source in ((256, 256), (256, 320), (360, 360), (520, 696), (1040, 1388)):
        mask = (rng.random(source) > 0.999).astype(np.uint8)
        theirs = skimage.resize(255 * mask, (256, 256), mode="constant", preserve_range=True, anti_aliasing=True)
        np.testing.assert_array_equal(dilated(mask, (256, 256)), theirs.astype(bool))


def test_dilated_masks_reach_as_far_as_the_gaussian():
    """At half the size its sigma is (2 - 1) / 2, and it ends after 4 sigma: 2 pixels on either side."""
    mask = np.zeros((16, 16), np.uint8)
    mask[8, 6] = 1  # the Gaussian fills rows 6 to 10 and columns 4 to 8: half of them are pixels 3 to 5 and 2 to 4
    grown = np.zeros((8, 8), np.uint8)
    grown[3:6, 2:5] = 1
    np.testing.assert_array_equal(dilated(mask, (8, 8)), grown)
    np.testing.assert_array_equal(antialiased(mask, (8, 8)), 0)


def test_dilated_masks_take_the_largest_of_the_labels_above_0():
    mask = np.zeros((8, 8), np.uint8)
    mask[:2], mask[2:4] = 3, 2  # the pixel below gets a twentieth of the 2
    np.testing.assert_array_equal(dilated(mask, (4, 8))[:, 0], [3, 2, 2, 0])
    np.testing.assert_array_equal(dilated(np.full((8, 8), 3, np.uint8), (4, 4)), 3)


def test_letterbox_keeps_the_aspect_and_centres():
    image, mask = np.full((10, 20, 3), 200, np.uint8), np.ones((10, 20), np.uint8)
    small, label = resize(image, mask, (40, 40), "letterbox")
    expected = np.full((40, 40), IGNORE, np.uint8)
    expected[10:30] = 1
    np.testing.assert_array_equal(label, expected)
    np.testing.assert_array_equal(small[..., 0], np.where(expected == 1, 200, 0))


@pytest.mark.parametrize("channels", [1, 3])
def test_image_and_mask_stay_aligned(channels):
    mask = np.zeros((64, 96), np.uint8)
    mask[16:48, 24:72] = 1
    image = np.repeat(255 * mask[..., None], channels, axis=-1)
    small, label = resize(image, mask, (16, 24), "stretch")
    np.testing.assert_array_equal(small[..., 0] > 127, label == 1)


def test_pixels_of_an_image_to_one_of_training_leave_the_padding_out():
    assert pixels((40, 60), (20, 30), "stretch") == 4
    assert pixels((40, 60), (20, 20), "stretch") == 6
    assert pixels((40, 80), (20, 20), "letterbox") == 16  # the picture fills 10 of 20 rows
    assert pixels((40, 80), (20, 40), "crop") == 4
