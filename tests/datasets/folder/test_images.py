"""The user's images: every kind of file as uint8, with one window for deep images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from datasets import formats
from datasets.errors import DataError
from datasets.folder import images, masks
from datasets.folder.scan import scan
from datasets.folder.settings import settings
from sharp_unet_jax.data.pixels import as_trained

SHAPE = (12, 10)
BLOB = np.zeros(SHAPE, bool)
BLOB[3:8, 2:6] = True
GREY = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (*SHAPE, 3), np.uint8)
ALPHA = np.linspace(0, 255, 120).astype(np.uint8).reshape(SHAPE)

PALETTE = Image.fromarray(BLOB.astype(np.uint8))
PALETTE.putpalette(bytes([9, 8, 7, 1, 2, 3]))
LOOKED_UP = np.array([[9, 8, 7], [1, 2, 3]], np.uint8)[BLOB * 1]

# File name, pixels to save, options of saving, and the pixels expected.
KINDS: dict[str, tuple[str, Any, dict[str, Any], np.ndarray]] = {
    "grey PNG": ("a.png", GREY, {}, GREY[..., None]),
    "grey BMP": ("a.bmp", GREY, {}, GREY[..., None]),
    "grey TIF": ("a.tif", GREY, {}, GREY[..., None]),
    "RGB PNG": ("a.png", RGB, {}, RGB),
    "RGB BMP": ("a.bmp", RGB, {}, RGB),
    "RGB TIF": ("a.tif", RGB, {"photometric": "rgb"}, RGB),
    "RGB TIF tagged as grey": ("a.tif", RGB, {"photometric": "minisblack"}, RGB),
    "RGB TIF, compressed": ("a.tif", RGB, {"photometric": "rgb", "compression": "lzw"}, RGB),
    "channels first": ("a.tif", np.moveaxis(RGB, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}, RGB),
    "RGB and alpha": ("a.png", np.dstack([RGB, ALPHA]), {}, RGB),
    "RGB and alpha in TIF": ("a.tif", np.dstack([RGB, ALPHA]), {"photometric": "rgb", "extrasamples": [2]}, RGB),
    "grey and alpha": ("a.png", np.dstack([GREY, ALPHA]), {}, GREY[..., None]),
    "1 bit": ("a.png", BLOB, {}, BLOB[..., None] * np.uint8(255)),
    "palette": ("a.png", PALETTE, {}, LOOKED_UP),
}


def test_fractions_beside_whole_numbers_are_refused(tmp_path: Path) -> None:
    """They would be black; in one unit, such as after a slope, both kinds of numbers have one window."""
    tifffile.imwrite(tmp_path / "whole.tif", GREY * np.uint16(200))
    tifffile.imwrite(tmp_path / "part.tif", GREY / np.float32(255))
    tifffile.imwrite(tmp_path / "real.tif", GREY * np.float32(150))
    with pytest.raises(DataError, match=r"part.tif: .* lost beside those of whole.tif.*data.window"):
        images.common_window([[tmp_path / "whole.tif"], [tmp_path / "part.tif"]])
    assert images.common_window([[tmp_path / "whole.tif"], [tmp_path / "real.tif"]])[1] > 40_000
    assert images.common_window([[tmp_path / "part.tif"]])[1] < 1.01
    tifffile.imwrite(tmp_path / "blank.tif", np.zeros(SHAPE, np.float32))
    assert images.common_window([[tmp_path / "whole.tif"], [tmp_path / "blank.tif"]])[1] > 40_000


@pytest.fixture
def read(tmp_path: Path, save: Callable[..., None]) -> Callable[..., np.ndarray]:
    """Return a function that writes an image beside the others, and reads it as the builder does."""

    def through_a_file(name: str, pixels: np.ndarray | Image.Image, **options: Any) -> np.ndarray:
        save(tmp_path / "images" / name, pixels, **options)
        save(tmp_path / "masks" / f"{Path(name).stem}.png", BLOB)
        found = scan(settings(images=tmp_path))
        return images.read([tmp_path / "images" / name], found.channels, found.window)[0]

    return through_a_file


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_images(kind: str, read: Callable[..., np.ndarray]) -> None:
    name, pixels, options, expected = KINDS[kind]
    np.testing.assert_array_equal(read(name, pixels, **options), expected)


def test_jpeg(read: Callable[..., np.ndarray]) -> None:
    smooth = np.add.outer(np.arange(12), np.arange(10)).astype(np.uint8)
    decoded = read("a.jpg", smooth, quality=95)
    assert decoded.shape == (*SHAPE, 1)
    assert np.abs(decoded[..., 0].astype(int) - smooth).max() < 8


def test_grey_and_rgb_together_are_rgb(read: Callable[..., np.ndarray]) -> None:
    read("a.png", RGB)
    np.testing.assert_array_equal(read("b.png", GREY), np.stack([GREY] * 3, -1))


@pytest.mark.parametrize(
    ("suffix", "dtype"), [(".png", np.uint16), (".tif", np.uint16), (".tif", np.int16), (".tif", np.float32)]
)
def test_deep_images_share_one_window(
    suffix: str, dtype: type, tmp_path: Path, read: Callable[..., np.ndarray]
) -> None:
    low = np.linspace(100, 1100, 120).reshape(SHAPE).astype(dtype)
    alone = read(f"a{suffix}", low)
    assert (alone.shape, alone.min(), alone.max()) == ((*SHAPE, 1), 0, 255)
    bright = read(f"b{suffix}", low + dtype(1000))
    found = scan(settings(images=tmp_path))
    assert found.window == pytest.approx((100, 2100), abs=3)
    assert bright.min() > 120  # brighter than the first, as stored
    assert images.read([tmp_path / "images" / f"a{suffix}"], 1, found.window).max() < 135
    assert "deeper than 8 bits: 10" in found.describe()


def test_images_of_8_bits_are_left_alone_among_deep_ones(read: Callable[..., np.ndarray]) -> None:
    read("a.tif", np.full(SHAPE, 5000, np.uint16))
    np.testing.assert_array_equal(read("b.png", GREY), GREY[..., None])


@pytest.mark.parametrize("window", [(100.119, 2100.5), (-3.0, 507.0), (0.0, 65535.0)])
def test_a_deep_image_has_the_same_pixels_in_training_and_prediction(tmp_path: Path, window, save) -> None:
    save(tmp_path / "a.tif", np.arange(65536, dtype=np.uint16).reshape(256, 256))
    trained = images.read([tmp_path / "a.tif"], 1, window)
    np.testing.assert_array_equal(trained, as_trained(images.stored([tmp_path / "a.tif"]), 1, window))
    low, high = window
    exact = np.clip((np.arange(65536) - low) / (high - low), 0, 1) * 255
    assert np.abs(trained.ravel() - exact).max() < 0.501


def test_a_ct_stored_with_an_offset_is_refused_in_training_as_in_prediction(tmp_path: Path, save) -> None:
    """Or it would be brighter than the others of the set, without a word."""
    measured = np.linspace(-1000, 400, 120).reshape(SHAPE).astype(np.int16)
    for name, values in (("a.tif", measured), ("b.tif", measured + 1024)):
        save(tmp_path / "images" / name, values)
        save(tmp_path / "masks" / name.replace("tif", "png"), BLOB)
    for given in ((), (-1000.0, 400.0)):
        found = scan(settings(images=tmp_path, window=given))
        assert found.read(0)[0].max() > 140
        with pytest.raises(DataError, match=r"b\.tif: the pixels are 24 to 1424, and the window is from -"):
            found.read(1)


def test_heights_above_0_are_no_ct(tmp_path: Path, save) -> None:
    """The set's own window tells; a NIfTI of the same values may be a CT."""
    heights = np.linspace(-450, 400, 120).reshape(SHAPE).astype(np.float32)
    for name, values in (("a", heights), ("b", heights + 510)):
        save(tmp_path / "images" / f"{name}.tif", values)
        save(tmp_path / "masks" / f"{name}.png", BLOB)
        nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), tmp_path / f"{name}.nii")
    found = scan(settings(images=tmp_path))
    assert found.read(1)[0].min() > 90
    with pytest.raises(DataError, match=r"b\.nii: the pixels are 60 to 910, and .*Hounsfield"):
        images.read([tmp_path / "b.nii"], 1, found.window)


def test_hot_pixels_do_not_darken_deep_images(tmp_path: Path, save: Callable[..., None]) -> None:
    hot = np.tile(np.arange(1000, 1100, dtype=np.uint16), (100, 1))
    hot[0, 0] = 65535
    save(tmp_path / "a.tif", hot)
    assert images.common_window([[tmp_path / "a.tif"]]) == (1000, 1099)


@pytest.mark.parametrize("read", [formats.header, images.stored])
@pytest.mark.parametrize("name", ["text.png", "gone.png"])
def test_an_unreadable_picture_is_named_once(tmp_path, read, name):
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(DataError) as error:
        read([tmp_path / name])
    assert str(error.value).count(str(tmp_path)) == 1
    assert ("of no known format" if name == "text.png" else "No such file") in str(error.value)


def test_a_tif_of_several_series_is_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "several.tif") as tif:
        for size in (12, 6):
            tif.write(np.zeros((size, size), np.uint8))
    for read in (formats.header, images.stored, lambda paths: masks.read(paths, indices=True)):
        with pytest.raises(DataError, match="holds 2 series"):
            read([tmp_path / "several.tif"])


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "0.tif", np.zeros((12, 10), np.complex64))
    with pytest.raises(DataError, match="numbers of type complex64"):
        images.stored([tmp_path / "0.tif"])


def test_zero_shown_white_is_inverted_in_images_and_told_of_masks(tmp_path: Path) -> None:
    path = tmp_path / "0.tif"
    tifffile.imwrite(path, np.eye(12, dtype=np.uint8), photometric="miniswhite")
    assert formats.header([path]).kind == "TIF uint8 x 1, 0 is white"
    assert masks.summarise([path], indices=True).inverted
    np.testing.assert_array_equal(images.stored([path])[0, ..., 0], 255 - np.eye(12))
    np.testing.assert_array_equal(masks.read([path], indices=True)[0], np.eye(12))
