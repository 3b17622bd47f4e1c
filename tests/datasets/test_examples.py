"""Pairs that no data set may give to TFDS."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from datasets import examples
from datasets.errors import DataError
from sharp_unet_jax.metrics import IGNORE

GOOD = examples.Pair("a", "g", np.zeros((4, 5, 3), np.uint8), np.ones((4, 5), np.uint8), "a.png")


def test_a_good_pair():
    [(key, example)] = examples.generate([GOOD], num_classes=2)
    assert key == "a"
    assert (example["id"], example["group"]) == ("a", "g")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.full((4, 5), 2, np.uint8)}, "the mask of a.png holds label 2; 2 classes end at 1"),
        ({"mask": np.ones((5, 4), np.uint8)}, "a.png: the image is 5x4 but its mask is 4x5"),
        ({"mask": np.zeros((4, 5), np.uint8)}, "all 1 masks are empty"),
        ({"image": np.zeros((4, 5), np.uint16)}, "a.png holds uint16 pixels"),
    ],
)
def test_bad_pairs(change, message):
    with pytest.raises(DataError, match=message):
        list(examples.generate([dataclasses.replace(GOOD, **change)], num_classes=2))


def test_one_empty_mask_is_fine():
    empty = dataclasses.replace(GOOD, mask=np.zeros((4, 5), np.uint8))
    assert len(list(examples.generate([empty, GOOD], num_classes=2))) == 2


def test_labels_to_ignore_are_allowed_where_the_files_can_say_them():
    mask = np.array([[0, 0, 1, 1, IGNORE]] * 4, np.uint8)
    pair = dataclasses.replace(GOOD, mask=mask)
    [(_, example)] = examples.generate([pair], num_classes=2, ignoring=True)
    np.testing.assert_array_equal(np.asarray(Image.open(example["mask"])), mask)
    with pytest.raises(DataError, match=r"the mask of a\.png holds label 255; 2 classes end at 1"):
        list(examples.generate([pair], num_classes=2))
    beyond = dataclasses.replace(GOOD, mask=mask + (mask == 1))
    with pytest.raises(DataError, match=r"the mask of a\.png holds label 2; 2 classes end at 1"):
        list(examples.generate([beyond], num_classes=2, ignoring=True))


def test_masks_of_nothing_but_ignored_pixels():
    ignored = dataclasses.replace(GOOD, mask=np.full((4, 5), IGNORE, np.uint8))
    with pytest.raises(DataError, match=r"a\.png: all pixels of its mask are ignored"):
        list(examples.generate([GOOD, ignored], num_classes=2, ignoring=True))
    partly = dataclasses.replace(GOOD, mask=np.array([[0, 0, 0, 0, IGNORE]] * 4, np.uint8))
    with pytest.raises(DataError, match="all 1 masks are empty"):
        list(examples.generate([partly], num_classes=2, ignoring=True))


def test_no_pairs():
    with pytest.raises(DataError, match="no images found"):
        list(examples.generate([], num_classes=2))
