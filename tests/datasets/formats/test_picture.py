"""PNG, JPG, BMP, GIF and WebP: pictures of every mode, read as in training, and masks with a palette."""

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from datasets.errors import DataError
from datasets.formats import picture
from sharp_unet_jax import palette
from sharp_unet_jax.advice import memory
from tests.datasets.folder.test_images import KINDS, RGB
from tests.datasets.formats.conftest import CLASSES, labels_of

FEW_COLOURS = Image.fromarray(RGB).quantize(16)
PICTURES = {kind: parts[:3] for kind, parts in KINDS.items() if not parts[0].endswith(".tif")} | {
    "GIF": ("a.gif", FEW_COLOURS, {}),
    "WebP": ("a.webp", RGB, {}),
    "WebP and alpha": ("a.webp", np.dstack([RGB, RGB[..., :1]]), {}),
}


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


def test_colours_of_gif_and_webp(tmp_path):
    FEW_COLOURS.save(tmp_path / "a.gif")
    np.testing.assert_array_equal(
        picture.read([tmp_path / "a.gif"]).pictures[0], np.asarray(FEW_COLOURS.convert("RGB"))
    )
    Image.fromarray(RGB).save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(picture.read([tmp_path / "a.webp"]).pictures[0], RGB)
    assert [picture.header([tmp_path / name]).kind for name in ("a.gif", "a.webp")] == ["GIF P", "WEBP RGB"]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_is_refused(tmp_path, suffix):
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    for read in (picture.header, picture.read):
        with pytest.raises(DataError, match=rf"a\{suffix}: holds 2 pictures, an animation; save each as a file of its"):
            read([tmp_path / f"a{suffix}"])


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_a_png_of_16_bits_keeps_them(tmp_path, samples):
    """Pillow would read only the upper 8 bits of all but grey."""
    pixels = np.random.default_rng(0).integers(0, 65536, (6, 8, samples), np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    channels = {1: 1, 2: 1}.get(samples, 3)
    np.testing.assert_array_equal(picture.read([tmp_path / "a.png"]).pictures[0], pixels[..., :channels])
    header = picture.header([tmp_path / "a.png"])
    assert (header.size, header.channels, header.deep) == ((8, 6), channels, True)
    assert header.kind == {1: "PNG I;16", 2: "PNG LA of 16 bits", 3: "PNG RGB of 16 bits"}.get(
        samples, "PNG RGBA of 16 bits"
    )


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize(("orientation", "rotated"), [(0, False), (1, False), (3, True), (8, True), (9, False)])
def test_exif_data_that_ask_to_turn_a_picture(tmp_path, suffix, orientation, rotated):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}", exif=exif)
    assert picture.header([tmp_path / f"a{suffix}"]).rotated == rotated


def test_exif_data_after_the_pixels_of_a_png_are_found_without_decoding_them(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = content.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(content[:start] + content[end:last] + content[start:end] + content[last:])
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    assert picture.header([tmp_path / "a.png"]).rotated


def test_damaged_exif_data_do_no_harm(tmp_path):
    for suffix in (".jpg", ".png", ".webp"):
        Image.fromarray(RGB).save(tmp_path / f"a{suffix}", exif=b"Exif\0\0nonsense")
        assert not picture.header([tmp_path / f"a{suffix}"]).rotated


def test_a_picture_larger_than_the_memory_is_not_decoded(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(memory, "free", lambda: RGB.nbytes - 1)
    for read in (picture.header, picture.read):
        with pytest.raises(DataError, match=r"a\.png: needs .* GB of memory"):
            read([tmp_path / "a.png"])


def test_a_mask_is_a_png_with_a_palette(tmp_path):
    labels = labels_of((1, 6, 8))
    picture.write_masks(tmp_path / "m.png", labels, picture.Stack(labels), CLASSES)
    with Image.open(tmp_path / "m.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), labels[0])
        np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), palette.CLASSES[labels[0]])
