"""Masks and values drawn over pictures."""

import numpy as np
import pytest

from launch.prediction.overlays import heat, overlay
from sharp_unet_jax import palette
from sharp_unet_jax.data.pixels import shown


def test_an_overlay_outlines_and_tints():
    picture = np.full((9, 9, 1), 100, np.uint8)
    labels = np.zeros((9, 9), np.uint8)
    labels[2:7, 2:7] = 2
    drawn = overlay(picture, labels)
    assert (drawn[0, 0] == 100).all()
    np.testing.assert_array_equal(drawn[2, 4], palette.CLASSES[2])
    np.testing.assert_allclose(drawn[4, 4], 0.75 * 100 + 0.25 * palette.CLASSES[2].astype(float), atol=1)
    assert len(np.unique(palette.CLASSES, axis=0)) == 256


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_images_of_any_number_of_channels_are_drawn_on(channels):
    picture = np.arange(81 * channels, dtype=np.uint8).reshape(9, 9, channels)
    labels = np.eye(9, dtype=np.uint8)
    drawn = overlay(picture, labels)
    np.testing.assert_array_equal(drawn[labels == 0], np.broadcast_to(shown(picture), (9, 9, 3))[labels == 0])
    assert (drawn[labels == 1] == palette.CLASSES[1]).all()


def test_an_outline_lies_inside_its_region_and_is_wider_on_a_large_picture():
    labels = np.zeros((700, 700), np.uint8)
    labels[100:600, 100:600] = 1
    drawn = overlay(np.full((700, 700, 3), 100, np.uint8), labels)
    row = (drawn[350] == palette.CLASSES[1]).all(axis=-1)
    assert row.nonzero()[0].tolist() == [100, 101, 102, 597, 598, 599]


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_the_higher_a_value_the_more_orange_a_grey_picture_is(channels):
    picture = np.full((1, 4, channels), 90, np.uint8)
    drawn = heat(picture, np.array([[0, 0.15, 0.3, 0.7]], np.float32))
    grey, orange = np.full(3, 60 if channels == 2 else 90), np.array(palette.rgb(palette.ORANGE))
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[0, 0], grey)
    np.testing.assert_allclose(drawn[0, 1], (grey + orange) / 2, atol=1)
    np.testing.assert_array_equal(drawn[0, 2:], [orange, orange])
