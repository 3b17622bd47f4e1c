"""Values drawn over pictures."""

import numpy as np
import pytest

from launch.preview.heat import heat
from sharp_unet_jax import palette


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_the_higher_a_value_the_more_orange_a_grey_picture_is(channels):
    picture = np.full((1, 4, channels), 90, np.uint8)
    drawn = heat(picture, np.array([[0, 0.15, 0.3, 0.7]], np.float32))
    grey, orange = np.full(3, 60 if channels == 2 else 90), np.array(palette.rgb(palette.ORANGE))
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn[0, 0], grey)
    np.testing.assert_allclose(drawn[0, 1], (grey + orange) / 2, atol=1)
    np.testing.assert_array_equal(drawn[0, 2:], [orange, orange])
