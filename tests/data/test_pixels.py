"""Which deep images a run reads by its window, and which it refuses because they are not of the training's kind."""

import numpy as np
import pytest

from sharp_unet_jax.data import pixels
from sharp_unet_jax.errors import InputError


@pytest.mark.parametrize("window", [(-0.5, 300.0), (-1.0, 1.0), (-160.0, 240.0)])
def test_an_image_without_negative_pixels_is_read_by_a_window_that_begins_a_little_below_0(window):
    low, high = window
    image = np.array([[[0.0], [high]]], np.float32)
    assert pixels.as_trained(image, 1, window).ravel().tolist() == [round(-low / (high - low) * 255), 255]


@pytest.mark.parametrize("low", [-200.0, -1250.0])
def test_a_ct_stored_with_an_offset_is_refused(low):
    with pytest.raises(InputError, match=r"0 to 4095.*Hounsfield"):
        pixels.as_trained(np.array([[[0], [4095]]], np.uint16), 1, (low, 250.0))
