"""Outlines of masks in images."""

import numpy as np
import pytest

from launch.preview.outlines import COLOURS, GAP, IGNORED, outlined
from sharp_unet_jax.data.pixels import shown
from sharp_unet_jax.metrics import IGNORE

GREY = 100


def drawn(mask):
    return outlined(np.full((*mask.shape, 1), GREY, np.uint8), mask)


def test_the_outline_of_a_region_lies_inside_it():
    mask = np.zeros((9, 12), np.uint8)
    mask[2:7, 3:9] = 1
    picture = drawn(mask)
    ring = mask == 1
    ring[3:6, 4:8] = False
    np.testing.assert_array_equal((picture[:9, :12] == COLOURS[0]).all(axis=-1), ring)
    assert (picture[:9, :12][~ring] == GREY).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_images_of_any_number_of_channels_are_drawn(channels):
    image = np.arange(12 * channels, dtype=np.uint8).reshape(3, 4, channels)
    picture = outlined(image, np.zeros((3, 4), np.uint8))
    np.testing.assert_array_equal(picture[:3, :4], np.broadcast_to(shown(image), (3, 4, 3)))


def test_white_lies_to_the_right_and_below():
    picture = drawn(np.zeros((9, 12), np.uint8))
    assert picture.shape == (9 + GAP, 12 + GAP, 3)
    assert (picture[9:] == 255).all()
    assert (picture[:, 12:] == 255).all()


def test_five_colours_are_told_apart_and_repeat():
    assert len(np.unique(COLOURS, axis=0)) == len(COLOURS) == 5
    mask = np.zeros((3, 12), np.uint8)
    mask[:, ::2] = np.arange(1, 7)
    np.testing.assert_array_equal(drawn(mask)[1, :12:2], COLOURS[[0, 1, 2, 3, 4, 0]])


def test_ignored_pixels_are_striped_and_have_no_outline():
    mask = np.full((6, 11), IGNORE, np.uint8)
    mask[:, :3] = 0
    picture = drawn(mask)[:6, :11]
    assert (picture[:, :3] == GREY).all()
    rows, columns = np.indices(mask.shape)
    stripes = (rows + columns) // 4 % 2 == 0
    assert (picture[:, 3:][stripes[:, 3:]] == IGNORED).all()
    assert (picture[:, 3:][~stripes[:, 3:]] == GREY // 2 + IGNORED // 2).all()  # the image shows between them
    assert 0.3 < stripes[:, 3:].mean() < 0.7
