"""Colours that must be told apart."""

import numpy as np

from sharp_unet_jax import palette


def test_every_label_has_a_colour_of_its_own_and_the_background_is_black():
    assert palette.CLASSES.shape == (256, 3)
    assert palette.CLASSES[0].tolist() == [0, 0, 0]
    assert len(np.unique(palette.CLASSES, axis=0)) == 256


def test_models_have_colours_of_their_own():
    assert len(set(palette.MODELS)) == len(palette.MODELS)
    assert palette.PLAIN != palette.SHARP


def test_rgb_reads_a_hexadecimal_colour():
    assert palette.rgb("#0102ff") == (1, 2, 255)
