"""TIF: one picture read as in training, pages, channels that are no colours, and masks with a palette."""

import numpy as np
import pytest
import tifffile

from datasets.files import DataError
from datasets.formats import tif
from sharp_unet_jax import palette
from sharp_unet_jax.advice import memory
from tests.datasets.folder.test_images import BLOB, GREY, KINDS, RGB
from tests.datasets.formats.conftest import CLASSES, labels_of

COLOURS = np.random.default_rng(2).integers(0, 2**16, (3, 256), np.uint16)
PICTURES = {kind: parts[:3] for kind, parts in KINDS.items() if parts[0].endswith(".tif")} | {
    "1 bit": ("a.tif", BLOB, {"photometric": "minisblack"}),
    "16 bits": ("a.tif", GREY.astype(np.uint16) * 200, {}),
    "a palette": ("a.tif", GREY, {"photometric": "palette", "colormap": COLOURS}),
    "grey and alpha": ("a.tif", RGB[..., :2], {"photometric": "minisblack"}),
    "three grey pages": ("a.tif", np.moveaxis(RGB, -1, 0), {"photometric": "minisblack"}),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_read_as_in_training(check_as_trained, kind):
    check_as_trained(*PICTURES[kind])


@pytest.mark.parametrize(
    ("array", "options", "shape"),
    [
        (np.zeros((6, 8), np.uint16), {}, (1, 6, 8, 1)),
        (np.zeros((5, 6, 8), np.uint8), {"photometric": "minisblack"}, (5, 6, 8, 1)),
        (np.zeros((3, 6, 8), np.uint8), {"photometric": "minisblack"}, (1, 6, 8, 3)),
        (np.zeros((3, 6, 8), np.uint8), {"photometric": "minisblack", "metadata": None}, (3, 6, 8, 1)),
        (np.zeros((3, 6, 8), np.uint8), {"imagej": True, "metadata": {"axes": "ZYX"}}, (3, 6, 8, 1)),
        (np.zeros((6, 8, 3), np.uint8), {"photometric": "rgb"}, (1, 6, 8, 3)),
        (np.zeros((6, 8, 4), np.uint8), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, (1, 6, 8, 3)),
        (np.zeros((2, 6, 8, 3), np.uint8), {"photometric": "rgb"}, (2, 6, 8, 3)),
        (np.zeros((3, 6, 8), np.uint8), {"photometric": "rgb", "planarconfig": "separate"}, (1, 6, 8, 3)),
        (np.zeros((2, 3, 6, 8), np.uint8), {"imagej": True, "metadata": {"axes": "ZCYX"}}, (2, 6, 8, 3)),
    ],
)
def test_pages_and_colours_of_a_tif(tmp_path, array, options, shape):
    array = array.copy()
    array.flat[: array.size // 2] = 7
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    stack = tif.read([tmp_path / "a.tif"])
    assert stack.pictures.shape == shape
    assert stack.pictures.dtype == array.dtype


@pytest.mark.parametrize("shape", [(4, 6, 8), (2, 4, 6, 8), (2, 6, 8)])
def test_channels_of_a_tif_that_are_no_colours_are_refused(tmp_path, shape):
    axes = "ZCYX"[4 - len(shape) :]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint16), imagej=True, metadata={"axes": axes})
    with pytest.raises(DataError, match="are not pages of grey or RGB"):
        tif.read([tmp_path / "a.tif"])


def test_a_tif_mask_has_the_pages_and_a_palette(tmp_path, rng):
    labels = labels_of((3, 6, 8))
    tif.write_masks(tmp_path / "m.tif", labels, tif.Stack(labels), CLASSES)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "m.tif"), labels)
    with tifffile.TiffFile(tmp_path / "m.tif") as mask:
        np.testing.assert_array_equal(mask.pages[0].colormap.T >> 8, palette.CLASSES)
    probabilities = rng.random((3, 6, 8, 3), np.float32)
    tif.write_probabilities(tmp_path / "p.tif", probabilities, tif.Stack(labels), CLASSES)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "p.tif")[3:6], np.moveaxis(probabilities[1], -1, 0))


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((6, 8), (0, 8), "a.tif: (holds no p|is )"),
        ((6, 8), (2**20, 2**20), "a.tif: is 1048576x1048576"),
        ((2, 6, 8), (2**14, 2**14), "a.tif: needs 4.3 GB of memory, and 1.1 GB are free"),
    ],
)
def test_a_header_of_another_size(tmp_path, monkeypatch, shape, size, message):
    """An array of gigabytes in a file of 1 kB."""
    monkeypatch.setattr(memory, "free", lambda: 2**30)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.float64), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        for page in file.pages:
            page.tags["ImageLength"].overwrite(size[0])
            page.tags["ImageWidth"].overwrite(size[1])
    with pytest.raises(DataError, match=message):
        tif.read([tmp_path / "a.tif"])


def test_what_is_no_tif_is_refused(tmp_path):
    (tmp_path / "text.tif").write_text("not a picture")
    with pytest.raises(DataError, match="cannot be read as a TIF"):
        tif.read([tmp_path / "text.tif"])
