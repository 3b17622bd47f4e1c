"""Figures of explanations: an axis for each map, whatever number of skip connections a network has."""

import io

import numpy as np
import pytest

from sharp_unet_jax.data import pixels
from sharp_unet_jax.inference import saliency

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)


def row(title, calls):
    return saliency.Row(title, np.eye(16, 24, dtype=bool), np.random.default_rng(1).random((calls, 16, 24)))


def test_gradcam_has_a_row_a_run_and_a_column_a_map():
    figure = saliency.gradcam(IMAGE, np.eye(16, 24, dtype=bool), None, "polyp", [row("unet", 2), row("dense", 8)])
    axes = np.reshape(figure.axes, (2, 9))
    assert [axis.get_title() for axis in axes[0][[0, 1, 6, 7]]] == ["image", "first", "sixth", "7th"]
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["unet", "dense"]
    assert [len(axis.images) for axis in axes[0]] == [1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert [len(axis.images) for axis in axes[1]] == [1] * 9
    assert not axes[0, 3].axison
    assert "Grad-CAM for polyp where it is predicted" in figure.get_suptitle()
    assert "truth" in figure.get_suptitle()


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_the_image_is_shown_whatever_its_channels(channels):
    image = np.random.default_rng(0).integers(0, 256, (16, 24, channels), np.uint8)
    figure = saliency.gradcam(image, None, None, "polyp", [row("unet", 1)])
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_array_equal(drawn.reshape(16, 24, -1), pixels.shown(image))
    figure.savefig(io.BytesIO())


def test_a_map_without_heat_says_so_and_a_region_is_named():
    empty = row("unet", 1)._replace(maps=np.zeros((1, 16, 24)))
    figure = saliency.gradcam(IMAGE[..., :1], None, np.ones((16, 24), bool), "polyp", [empty])
    assert [text.get_text() for text in figure.axes[1].texts] == ["nothing"]
    assert "in the whole image" in figure.get_suptitle()
    assert "truth" not in figure.get_suptitle()


def test_a_sharp_blocks_figure_shows_the_channel_that_varies_most():
    before = [np.zeros((4, 6, 2)), np.random.default_rng(0).random((8, 12, 3))]
    before[0][1, 2, 1] = 1
    spectrum = np.linspace(0, 0.5, 4), np.full(4, 0.25)
    figure = saliency.sharp_block("sharp_unet", before, [-each for each in before], [(spectrum, spectrum)] * 2)
    axes = np.reshape(figure.axes, (2, 3))
    np.testing.assert_array_equal(axes[0, 0].images[0].get_array(), before[0][..., 1])
    np.testing.assert_array_equal(axes[0, 1].images[0].get_array(), -before[0][..., 1])
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["first\n4x6, 2 maps", "second\n8x12, 3 maps"]
    assert [line.get_label() for line in axes[1, 2].lines] == ["before", "after"]
    np.testing.assert_array_equal(axes[0, 2].lines[1].get_ydata(), [25] * 4)
