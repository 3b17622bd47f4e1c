"""Images of several sizes in one array."""

import numpy as np
import pytest

from sharp_unet_jax import ragged

SHAPES = (3, 5), (1, 1), (4, 2), (1, 7)


@pytest.mark.parametrize("channels", [(), (1,), (5,)])
def test_images_come_back_as_they_were(channels):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*shape, *channels), np.uint8) for shape in SHAPES]
    several = ragged.of(images)
    assert len(several) == 4
    assert several.nbytes == sum(image.nbytes for image in images)
    np.testing.assert_array_equal(several.sizes, SHAPES)
    np.testing.assert_array_equal(several.starts, [0, 15, 16, 24])
    for found, image in zip(several, images, strict=True):
        np.testing.assert_array_equal(found, image)
    np.testing.assert_array_equal(several[-1], images[-1])


def test_an_image_is_a_view():
    several = ragged.of([np.zeros((2, 3), np.uint8), np.zeros((4, 5), np.uint8)])
    several[1][2, 3] = 7
    assert several.flat[6 + 2 * 5 + 3] == 7
