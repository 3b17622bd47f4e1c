"""PNG, JPG and BMP: pictures of every mode, read as in training, and masks with a palette."""

import numpy as np
import pytest
from PIL import Image

from datasets.formats import picture
from sharp_unet_jax import palette
from tests.datasets.folder.test_images import KINDS
from tests.datasets.formats.conftest import CLASSES, labels_of

PICTURES = {kind: parts[:3] for kind, parts in KINDS.items() if not parts[0].endswith(".tif")}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_read_as_in_training(check_as_trained, kind):
    check_as_trained(*PICTURES[kind])


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("L", (1, 6, 8, 1)), ("LA", (1, 6, 8, 1)), ("RGB", (1, 6, 8, 3)), ("RGBA", (1, 6, 8, 3)), ("P", (1, 6, 8, 3))],
)
def test_pictures_of_every_mode(tmp_path, rng, mode, shape):
    Image.fromarray(rng.integers(0, 255, (6, 8, 4), np.uint8)).convert("RGB").convert(mode).save(tmp_path / "a.png")
    stack = picture.read([tmp_path / "a.png"])
    assert stack.pictures.shape == shape
    assert stack.pictures.dtype == np.uint8


def test_a_mask_is_a_png_with_a_palette(tmp_path):
    labels = labels_of((1, 6, 8))
    picture.write_masks(tmp_path / "m.png", labels, picture.Stack(labels), CLASSES)
    with Image.open(tmp_path / "m.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), labels[0])
        np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), palette.CLASSES[labels[0]])
