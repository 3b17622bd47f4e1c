"""Values that lie elsewhere than those of the training."""

import numpy as np
import pytest

from sharp_unet_jax.data import grey_range, pixels
from sharp_unet_jax.metrics import IGNORE

WINDOW = (100.0, 4095.0)
SCENE = np.random.default_rng(0).integers(100, 4095, (1, 20, 30, 1))


def outside(image: np.ndarray, known: tuple[float, float] | None = (0.01, 0.01)) -> str:
    return grey_range.outside(pixels.windowed(image, WINDOW), known)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (SCENE, ""),
        (SCENE // 2, ""),  # darker, but as a picture may be
        (SCENE / 4095, "100% of the values are at or below the low end of the range"),  # fractions
        (SCENE * 16, "at or above the high end"),  # a full range of 16 bits
        (SCENE * 0 + 900, "fill less than a hundredth"),  # of one grey
        (SCENE * 0.009 + 1000, "fill less than a hundredth"),
        (SCENE * 0.02 + 1000, ""),
    ],
)
def test_what_lies_outside_the_window(image: np.ndarray, words: str) -> None:
    assert words in (said := outside(image))
    assert bool(words) == bool(said)


def test_hot_pixels_do_not_hide_a_narrow_image() -> None:
    flat = np.full((1, 100, 100, 1), 900)
    flat[0, 0, :5] = 4000
    assert "hundredth" in outside(flat)
    flat[0, 0] = 4000  # a hundredth of the pixels is a part of the picture
    assert outside(flat) == ""


def test_as_much_as_in_training_is_no_surprise() -> None:
    """Most of a slice of a CT may be air, below the window that shows tissue."""
    air = SCENE.copy()
    air[:, :14] = -1000
    assert "70% of the values are at or below" in outside(air)
    assert outside(air, known=(0.72, 0.0)) == ""
    assert outside(air, known=None) == "", "a run that did not keep the shares warns later"
    assert "below" in outside(air - 4000, known=None)


def test_the_channel_that_is_clipped_most_counts() -> None:
    images = np.full((1, 10, 10, 2), 128, np.uint8)
    images[0, :6, :, 1] = 255
    assert grey_range.shares(images) == (0.0, 0.6)
    assert "60% of the values are at or above" in grey_range.outside(images, (0.5, 0.5))
    whole = np.concatenate([images, np.full_like(images, 128)])
    assert grey_range.outside(whole, (0.5, 0.5)) == "", "30% of both images together"


def test_the_largest_shares_of_a_set_by_hand() -> None:
    images = np.full((3, 10, 10, 1), 7, np.uint8)
    images[0, :3], images[1, :5], images[2, :, :2] = 0, 255, 0
    masks = np.zeros((3, 10, 10), np.uint8)
    assert grey_range.largest_shares(images, masks) == (0.3, 0.5)
    masks[:, :5] = IGNORE  # padding of a letterbox
    assert grey_range.largest_shares(images, masks) == (0.2, 0.0)
