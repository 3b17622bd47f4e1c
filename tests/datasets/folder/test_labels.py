"""Every encoding of masks read as labels, and masks that could mean two things refused."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DataError
from datasets.folder.labels import Reading
from datasets.folder.scan import scan
from datasets.folder.settings import settings
from sharp_unet_jax.metrics import IGNORE

SHAPE = (12, 10)
BLOB = np.zeros(SHAPE, np.uint8)
BLOB[3:8, 2:6] = 1
CORNER = np.zeros(SHAPE, np.uint8)
CORNER[9:, 7:] = 1


def palette(indices: np.ndarray, *colours: int) -> Image.Image:
    image = Image.fromarray(indices)
    image.putpalette(bytes(colours))
    return image


def rgba(mask: np.ndarray, ground: tuple[int, int, int, int]) -> np.ndarray:
    return np.where(mask[..., None] > 0, np.uint8([200, 0, 0, 255]), np.uint8(ground))


def transparent(indices: np.ndarray, index: int, *colours: int) -> Image.Image:
    """Return a picture with a palette, one of whose colours is transparent."""
    image = palette(indices, *colours)
    image.info["transparency"] = index
    return image


# Masks to save, suffix, class names to give, and the labels expected.
TWO = BLOB, CORNER
THREE = BLOB, CORNER * 2  # no mask holds all labels
RGB = np.array([[0, 0, 0], [0, 0, 255], [200, 10, 0]], np.uint8)
ENCODINGS: dict[str, tuple[Sequence[Any], str, tuple[str, ...] | None, Sequence[np.ndarray]]] = {
    "0 and 1": (TWO, ".png", None, TWO),
    "0 and 255": ([mask * 255 for mask in TWO], ".png", None, TWO),
    "0 and 255 in BMP": ([mask * 255 for mask in TWO], ".bmp", None, TWO),
    "0, 254 and 255": ([BLOB * 255, CORNER * 254], ".png", None, TWO),
    "1 bit": ([mask == 1 for mask in TWO], ".png", None, TWO),
    "one mask is empty": ([BLOB * 255, BLOB * 0], ".png", None, [BLOB, BLOB * 0]),
    "foreground everywhere": ([np.full(SHAPE, 255, np.uint8)], ".png", None, [np.ones(SHAPE, np.uint8)]),
    "labels": (THREE, ".png", None, THREE),
    "labels, more classes named": (THREE, ".png", ("a", "b", "c", "d"), THREE),
    "labels with a gap, classes named": ([CORNER * 2], ".png", ("a", "b", "c"), [CORNER * 2]),
    "16-bit labels": ([mask.astype(np.uint16) for mask in THREE], ".tif", None, THREE),
    "0 and 65535": ([mask.astype(np.uint16) * 65535 for mask in TWO], ".png", None, TWO),
    "whole floats": ([mask.astype(np.float32) for mask in TWO], ".tif", None, TWO),
    "grey values, classes named": ([mask * 85 for mask in THREE], ".png", ("a", "b", "c"), THREE),
    "R = G = B": ([np.stack([mask * 255] * 3, -1) for mask in TWO], ".png", None, TWO),
    "black and white palettes, other indices": (
        [palette(BLOB, 0, 0, 0, 255, 255, 255), palette(1 - CORNER, 255, 255, 255, 0, 0, 0)],
        ".png",
        None,
        TWO,
    ),
    "black and white palette and grey": ([palette(BLOB, 0, 0, 0, 255, 255, 255), CORNER * 255], ".png", None, TWO),
    "black and white GIF": ([palette(7 * BLOB, *[0] * 21, 255, 255, 255), CORNER * 255], ".gif", None, TWO),
    "GIF of labels, renumbered": (
        [palette(mask, 0, 0, 0, 0, 255, 0, 255, 0, 0) for mask in THREE],
        ".gif",
        None,
        THREE,
    ),
    "palette and RGB": ([palette(BLOB, 0, 0, 0, 0, 0, 255), RGB[CORNER * 2]], ".png", None, THREE),
    "transparent ground": ([rgba(mask, ground=(255, 255, 255, 0)) for mask in TWO], ".png", None, TWO),
    "only alpha": ([rgba(mask, ground=(200, 0, 0, 0)) for mask in TWO], ".png", None, TWO),
    "only alpha, one mask is empty": (
        [rgba(m, ground=(200, 0, 0, 0)) for m in (BLOB, BLOB * 0)],
        ".png",
        None,
        [BLOB, BLOB * 0],
    ),
    "transparent ground in a palette": ([transparent(mask, 0, 9, 9, 9, 255, 0, 0) for mask in TWO], ".png", None, TWO),
    "transparent grounds in palettes": (
        [transparent(BLOB, 0, 9, 9, 9, 255, 0, 0), transparent(1 - CORNER, 1, 255, 0, 0, 9, 9, 9)],
        ".png",
        None,
        TWO,
    ),
    "R = G = B and alpha": ([np.stack([m * 255, m * 255, m * 255, m * 0 + 9], -1) for m in TWO], ".png", None, TWO),
    "grey and alpha": ([Image.fromarray(mask * 255).convert("LA") for mask in TWO], ".png", None, TWO),
    "colours": ([RGB[mask] for mask in THREE], ".png", None, THREE),
    "colours and a grey mask": ([RGB[BLOB], CORNER * 255], ".png", None, THREE),
    "palette": ([palette(mask, 0, 0, 0, 255, 0, 0, 0, 255, 0) for mask in THREE], ".png", None, THREE),
    "palette without colours": ([palette(mask, *[0] * 9) for mask in THREE], ".png", None, THREE),
    "palette, white first": ([palette(1 - mask, 255, 255, 255, 0, 0, 0) for mask in TWO], ".png", None, TWO),
    "palettes renumbered": (
        [palette(BLOB, 0, 0, 0, 0, 0, 255), palette(CORNER, 0, 0, 0, 9, 9, 0)],
        ".png",
        None,
        THREE,
    ),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_of_masks(name: str, with_masks: Callable[..., Path]) -> None:
    masks, suffix, classes, expected = ENCODINGS[name]
    found = scan(settings(images=with_masks(masks, suffix), classes=classes))
    for pair, labels in zip(found.pairs, expected, strict=True):
        np.testing.assert_array_equal(found.reading.labels(pair.mask)[0], labels)
    assert len(found.reading.classes) == len(classes or {0, 1} | {int(label) for label in np.unique(expected)})
    assert "\n" not in found.describe()


def test_blurred_masks_are_cut_in_the_middle(tmp_path: Path, save: Callable[..., None]) -> None:
    disc = np.hypot(*np.mgrid[-60:60, -60:60]) < 40
    save(tmp_path / "masks" / "0.jpg", disc * np.uint8(255), quality=60)
    save(tmp_path / "images" / "0.png", disc)
    found = scan(settings(images=tmp_path))
    assert len(found.reading.values) > 32
    assert np.mean(found.reading.labels(found.pairs[0].mask)[0] != disc) < 0.01
    assert "above 127 is foreground" in found.describe()


def test_few_greys_are_black_and_white_if_two_classes_are_named(tmp_path: Path, save: Callable[..., None]) -> None:
    mask = np.zeros((50, 50), np.uint8)
    mask[10:, 10:], mask[10:, 9], mask[9, 10:] = 255, 90, 170
    save(tmp_path / "images" / "0.png", mask)
    save(tmp_path / "masks" / "0.png", mask)
    with pytest.raises(DataError, match="0, 90, 170, 255, which are neither 0 and 255"):
        scan(settings(images=tmp_path))
    found = scan(settings(images=tmp_path, classes=("background", "cell")))
    np.testing.assert_array_equal(found.reading.labels(found.pairs[0].mask)[0], mask > 127)


DISC = (np.hypot(*np.mgrid[-30:30, -30:30]) < 20).astype(np.uint8)
CELLS = np.kron(np.arange(160, dtype=np.uint16).reshape(10, 16) + 1, np.pad(np.ones((2, 2), np.uint16), 4))  # 4 %
VOID = np.select([DISC == 0, np.hypot(*np.mgrid[-30:30, -30:30]) > 19], [0, 255], 1).astype(np.uint8)
# Masks and suffixes to save, each twice, and a pattern of the message.
MIXED: dict[str, tuple[Sequence[tuple[Any, str]], str]] = {
    "labels and void": (
        [(VOID, ".png"), (np.where(VOID == 1, np.uint8(2), VOID), ".png")],
        r"masks hold 255 beside labels 0, 1, 2; .*: --config\.data\.ignore=255; or name 4 classes",
    ),
    "0/1 and 0/255": (
        [(DISC, ".png"), (DISC * 255, ".png")],
        r"0\.png: holds nothing above 1 where .*1\.png holds 255",
    ),
    "palette and grey": (
        [(palette(DISC, 0, 0, 0, 255, 0, 0), ".png"), (DISC * 255, ".png")],
        r"0\.png: holds nothing above 1 where .*1\.png holds 255",
    ),
    "8 and 16 bits": (
        [(DISC * 255, ".png"), (DISC * np.uint16(65535), ".tif")],
        r"0\.png: holds nothing above 255 where .*1\.tif holds 65535",
    ),
    "numbered objects, 8 bits": ([(CELLS.astype(np.uint8), ".png")], "161 grey values.*instances"),
    "numbered objects, 16 bits": ([(CELLS * 3, ".tif")], "161 grey values.*instances"),
    "numbered objects, up to 255": (
        [((CELLS + 95 * (CELLS > 0)).astype(np.uint8), ".png")],
        "161 grey values.*instances",
    ),
    "0/1 in JPEG": ([(DISC, ".jpg")], r"0\.jpg: JPEG changes labels"),
    "colours in WebP": ([(np.stack([DISC * 200, DISC, DISC], -1), ".webp")], r"0\.webp: WebP changes labels"),
    "labels in JPEG": ([(DISC + DISC[::-1] * (np.arange(60) > 20), ".jpg")], r"0\.jpg: JPEG changes labels"),
    "colours of 16 bits": (
        [(np.stack([DISC * np.uint16(65535), DISC * 0, DISC * 0], -1), ".tif")],
        "8 bits per channel",
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_masks_that_are_not_black_and_white_are_refused(name: str, tmp_path: Path, save: Callable[..., None]) -> None:
    files, message = MIXED[name]
    for number in range(4):
        mask, suffix = files[number % len(files)]
        shape = (mask.height, mask.width) if isinstance(mask, Image.Image) else mask.shape[:2]
        save(tmp_path / "images" / f"{number}.png", np.zeros(shape, np.uint8))
        save(tmp_path / "masks" / f"{number}{suffix}", mask)
    with pytest.raises(DataError, match=message):
        scan(settings(images=tmp_path))
    with pytest.raises(DataError):  # two names cut black from white, and these masks are neither
        scan(settings(images=tmp_path, classes=("background", "object")))


def test_a_jpeg_called_png_is_one(tmp_path: Path, save: Callable[..., None]) -> None:
    for number, kind in enumerate(("PNG", "JPEG")):
        save(tmp_path / "images" / f"{number}.png", DISC)
        save(tmp_path / "masks" / f"{number}.png", DISC, format=kind)
    with pytest.raises(DataError, match=r"1\.png: JPEG changes labels"):
        scan(settings(images=tmp_path))


def test_the_mask_with_a_value_of_its_own_is_named(with_masks: Callable[..., Path]) -> None:
    odd = BLOB * 255
    odd[0, 0] = 90
    with pytest.raises(DataError, match=r"2\.png: masks hold 3 grey values, 0, 90, 255"):
        scan(settings(images=with_masks([BLOB * 255, CORNER * 255, odd, BLOB * 255])))


def test_black_and_white_of_1_and_of_8_bits_are_one(with_masks: Callable[..., Path]) -> None:
    found = scan(settings(images=with_masks([BLOB == 1, CORNER * 255])))
    for pair, mask in zip(found.pairs, TWO, strict=True):
        np.testing.assert_array_equal(found.reading.labels(pair.mask)[0], mask)


def test_noise_on_both_sides_is_none_in_the_middle(with_masks: Callable[..., Path]) -> None:
    noisy = BLOB * 253 + np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8) * (BLOB + (CORNER > 0))
    found = scan(settings(images=with_masks([noisy.astype(np.uint8), BLOB * 255])))
    np.testing.assert_array_equal(found.reading.labels(found.pairs[0].mask)[0], BLOB)


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "\x1b[31m", "\ud800"])
def test_the_name_of_a_class_is_a_line_of_text(with_masks: Callable[..., Path], name: str) -> None:
    with pytest.raises(DataError, match=r"data\.classes names '.*', which is no line of text; rename it"):
        scan(settings(images=with_masks([BLOB * 255]), classes=("background", name)))


def test_a_class_is_named_once(with_masks: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"names a class twice \(a, b, b\)"):
        scan(settings(images=with_masks(THREE), classes=("a", "b", "b")))


NOISE = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)
STRIPES = np.repeat(np.arange(12, dtype=np.uint8)[:, None], 10, axis=1) * 12
REFUSED: dict[str, tuple[Sequence[Any], str, tuple[str, ...] | None, str]] = {
    "more labels than classes": (THREE, ".png", ("a", "b"), r"1\.png: holds label 2 .*0, 1, 2.* 2 classes are named"),
    "black and white in three": ([BLOB * 255], ".png", ("a", "b", "c"), "black and white but 3 classes"),
    "more colours than classes": ([RGB[m] for m in THREE], ".png", ("a", "b"), r"1\.png: masks hold 3 values but 2"),
    "more greys than classes": ([m * 85 for m in THREE], ".png", ("a", "b"), r"1\.png.*0, 85, 170, but 2 classes"),
    "three greys": ([BLOB * 128, CORNER * 255], ".png", None, "0, 128, 255, which are neither"),
    "labels with a gap": ([CORNER * 2], ".png", None, "0, 2, which are neither"),
    "instances": (
        [STRIPES, STRIPES + 5, STRIPES + 9],
        ".png",
        None,
        r"36 grey values.*instances\? --.*labels=any",
    ),
    "many colours": ([NOISE], ".png", None, "120 colours.*at most 32"),
    "all empty": ([BLOB * 0] * 2, ".png", None, "all 2 masks are empty"),
    "fractions": ([BLOB * np.float32(0.5)], ".tif", None, "0.0 to 0.5; a mask holds whole numbers"),
    "below zero": ([BLOB * np.int16(-1)], ".tif", None, "-1 to 0; a mask holds whole numbers"),
    "not a number": ([BLOB * np.float32(np.nan)], ".tif", None, "a mask holds whole numbers"),
    "a stack": ([np.stack([BLOB] * 5)], ".tif", None, r"0\.png is 10x12 but its mask 0\.tif is 10x12 x 5 slices"),
    "colours without black": (
        [RGB[m + 1] for m in TWO],
        ".png",
        None,
        r"#0000ff \(88 %\), #c80a00 \(12 %\) and no black",
    ),
    "the same, named": ([RGB[m + 1] for m in TWO], ".png", ("a", "b"), "no black.*classes=a=#0000ff,b=#c80a00"),
    "palette without black": (
        [palette(mask, 0, 0, 255, 200, 10, 0) for mask in TWO],
        ".png",
        None,
        "no black.*classes=background=#0000ff,foreground=#c80a00",
    ),
    "greys without 0": ([BLOB * 100 + 155], ".png", None, r"no 0, .*classes=background=155,foreground=255"),
    "near white": ([BLOB * 15 + 240], ".png", None, r"no 0, .*classes=background=240,foreground=255"),
    "labels without 0": ([BLOB + 1, CORNER + 1], ".png", ("a", "b"), "classes=a=1,b=2"),
    "a fill fainter than its outline": (
        [np.dstack([BLOB * 200] * 3 + [np.where(CORNER, 255, BLOB * 76)])],
        ".png",
        None,
        r"0\.png: is fainter in some parts than in others \(alpha 76 and 255\)",
    ),
    "black and transparent": (
        [np.dstack([BLOB * 0] * 3 + [BLOB * 255]), RGB[BLOB]],
        ".png",
        None,
        "0.png: holds transparent pixels .*classes=background=transparent,class1=#000000,class2=#0000ff",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_masks_that_could_mean_two_things_are_refused(name: str, with_masks: Callable[..., Path]) -> None:
    masks, suffix, classes, message = REFUSED[name]
    with pytest.raises(DataError, match=message) as error:
        scan(settings(images=with_masks(masks, suffix), classes=classes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("0 and 255", ("background", "foreground")),
        ("labels", ("background", "class 1", "class 2")),
        ("colours", ("background", "#0000ff", "#c80a00")),
    ],
)
def test_names_of_classes(name: str, classes: tuple[str, ...], with_masks: Callable[..., Path]) -> None:
    assert scan(settings(images=with_masks(*ENCODINGS[name][:2]))).reading.classes == classes


def test_real_palette_masks(real_data: Path) -> None:
    part = real_data / "manual/COVID-SemiSeg/Dataset/TrainingSet/MultiClassInfection-Train"
    found = scan(settings(images=part / "Imgs", masks=part / "GT"))
    assert found.reading == Reading("labels", (0, 1, 2), ("background", "class 1", "class 2"), indices=True)
    assert (len(found.pairs), found.channels, found.sizes) == (50, 1, ((191, 221), (456, 487)))


@pytest.mark.parametrize("grey", [100, 128])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_area_of_grey_between_black_and_white_is_no_blurred_edge(
    with_masks: Callable[..., Path], grey: int, suffix: str
) -> None:
    rows, columns = np.mgrid[:768, :768]
    drawn = np.zeros((768, 768), np.uint8)
    drawn[np.hypot(rows - 200, columns - 384) < 180] = 255
    drawn[np.hypot(rows - 576, columns - 192) < 60] = grey
    alone = np.where(drawn == 255, drawn, 0)
    root = with_masks(
        [Image.fromarray(one).resize((96, 96), Image.Resampling.BILINEAR) for one in (alone, drawn)], suffix
    )
    for name in "01":
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(root / "images" / f"{name}.png")
    about = "|".join(map(str, (grey - 1, grey, grey + 1)))
    message = rf"masks/1\{suffix}: .*areas of grey, mostly ({about}), .* name a class for each, or two to cut"
    with pytest.raises(DataError, match=message):
        scan(settings(images=root))
    if suffix == ".png":
        ignored = scan(settings(images=root, ignore=str(grey))).read(1)[1][0]
        assert ignored[72, 24] == IGNORE
        assert ignored[24, 48] == 1
    two = scan(settings(images=root, classes=("background", "cell")))
    assert two.read(1)[1][0, 24, 48] == 1
    if suffix == ".png":
        assert two.read(1)[1][0, 72, 24] == (grey > 127)
