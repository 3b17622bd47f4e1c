"""The cost of the training size: masks that vanish, and the best Jaccard that is left."""

import dataclasses
import re

import numpy as np
import pytest

from launch.preview import training_size
from launch.preview.source import Source
from sharp_unet_jax.advice.profile import Profile, profile_image
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.metrics import IGNORE


def prepared(masks, size):
    image = np.random.default_rng(0).integers(0, 256, (*masks.shape[1:], 3), np.uint8)
    ids, classes = [str(index) for index in range(len(masks))], ("background", "cell")
    profile = Profile(ids, ids, classes, [profile_image(image, mask, 2) for mask in masks])
    source = Source("mine", ids, ids, classes, 3, lambda index: (image, masks[index]), {}, "", [], [])
    return Config(data=Data(size=size)), source, profile


def test_a_pixel_vanishes_and_a_square_does_not():
    masks = np.zeros((2, 128, 128), np.uint8)
    masks[:, 51, 51] = 1
    assert training_size.all_empty(*prepared(masks, (16, 16)))
    assert not training_size.all_empty(*prepared(masks, (128, 128)))
    masks[1, 40:80, 40:80] = 1
    assert not training_size.all_empty(*prepared(masks, (16, 16)))


def test_padding_and_ignored_pixels_are_no_objects():
    masks = np.zeros((2, 128, 64), np.uint8)
    masks[:, 51, 51], masks[:, :, :8] = 1, IGNORE
    config, source, profile = prepared(masks, (16, 16))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, fit="letterbox"))
    assert training_size.all_empty(config, source, profile)


def test_images_of_which_nothing_is_scored_are_named():
    masks = np.zeros((3, 128, 128), np.uint8)
    masks[1:] = IGNORE
    masks[1, 51, 51], masks[2, 40:80, 40:80] = 1, 1
    assert training_size.unscored(*prepared(masks, (16, 16))) == ["1"]
    assert training_size.unscored(*prepared(masks, (128, 128))) == []


@pytest.mark.parametrize("side", [32, 16])
def test_the_ceiling_is_1_at_the_masks_own_size_and_lower_below(side):
    masks = np.random.default_rng(1).integers(0, 2, (3, 32, 32)).astype(np.uint8)
    text = training_size.ceiling(*prepared(masks, (side, side)))
    assert text.startswith(f"masks resized to {side}x{side} (stretch) and back")
    mean, lowest = (float(number) for number in re.findall(r"\d\.\d{3}", text))
    assert (lowest == mean == 1) if side == 32 else (0.2 < lowest <= mean < 0.9)


def test_empty_masks_have_no_ceiling():
    assert "empty" in training_size.ceiling(*prepared(np.zeros((2, 32, 32), np.uint8), (16, 16)))


def with_crops(parts, **fields):
    config, source, profile = parts
    return dataclasses.replace(config, data=Data(fit="crop", size=(16, 16), **fields)), source, profile


def test_crops_lose_nothing_unless_their_images_are_shrunk():
    masks = np.zeros((2, 128, 128), np.uint8)
    masks[:, 51, 51] = 1
    parts = prepared(masks, (16, 16))
    assert "at their own resolution" in training_size.ceiling(*with_crops(parts))
    assert not training_size.all_empty(*with_crops(parts))
    assert training_size.all_empty(*with_crops(parts, scale=0.1))
    assert "resized to data.scale=0.1 (crop) and back have a Jaccard of 0.000" in training_size.ceiling(
        *with_crops(parts, scale=0.1)
    )


def test_sizes_by_scale_and_by_spacing():
    _, source, profile = prepared(np.zeros((2, 100, 60), np.uint8), (16, 24))
    source = dataclasses.replace(source, spacings=[(0.5, 0.25), (0.0, 0.0)])

    def sizes(**fields):
        return training_size.sizes(Data(size=(16, 24), **fields), source, profile).tolist()

    assert sizes() == [[16, 24]] * 2
    assert sizes(fit="crop") == [[100, 60]] * 2
    assert sizes(fit="crop", scale=0.5) == [[50, 30]] * 2
    # 50 x 15 mm; the other picture, whose spacing nobody knows, is a fault of its own
    assert sizes(fit="crop", spacing=0.5) == [[100, 30], [100, 60]]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ("16x24", "raise --config.data.size")),
        ({"fit": "crop", "scale": 0.5}, ("data.scale=0.5", "raise --config.data.scale")),
        ({"fit": "crop", "spacing": 2.0}, ("data.spacing=2", "lower --config.data.spacing")),
    ],
)
def test_the_setting_that_decides_on_the_resolution_is_named(fields, words):
    assert training_size.at(Data(size=(16, 24), **fields)) == words
