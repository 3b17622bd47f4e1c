"""Masks whose classes the user names with their values, and values that are ignored."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies
from PIL import Image

from datasets.errors import DataError
from datasets.folder import masks
from datasets.folder.check import check
from datasets.folder.labels import decide
from datasets.folder.scan import scan
from datasets.folder.settings import settings
from sharp_unet_jax.metrics import IGNORE

SHAPE = (12, 10)
BLOB = np.zeros(SHAPE, np.uint8)
BLOB[3:8, 2:6] = 1
CORNER = np.zeros(SHAPE, np.uint8)
CORNER[9:, 7:] = 1
BOTH = BLOB + 2 * CORNER
EDGE = np.zeros(SHAPE, bool)
EDGE[:2] = True
DOT = np.zeros(SHAPE, bool)
DOT[11, 4] = True
# White, red, blue, black; Pascal VOC's palette has its void colour last.
COLOURS = np.array([[255, 255, 255], [200, 0, 0], [0, 0, 250], [0, 0, 0]], np.uint8)
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 252 * 3 + [224, 224, 192]


def palette(indices: np.ndarray, colours: Sequence[int]) -> Image.Image:
    image = Image.fromarray(indices)
    image.putpalette(bytes(colours))
    return image


def void(array: np.ndarray, value: int, where: np.ndarray = EDGE) -> np.ndarray:
    return np.where(where, array.dtype.type(value), array)


def shadow(mask: np.ndarray) -> np.ndarray:
    """A black object on transparent ground."""
    return np.dstack([mask * 0] * 3 + [mask * 255])


# Masks to save, their suffix, names with values, and the labels expected.
VALUED: dict[str, tuple[Sequence[Any], str, tuple[str, ...], Sequence[np.ndarray]]] = {
    "colours on white": ([COLOURS[BOTH]] * 2, ".png", ("bg=#ffffff", "a=#c80000", "b=#0000FA"), [BOTH] * 2),
    "in another order": ([COLOURS[BOTH]], ".png", ("bg=#ffffff", "b=#0000fa", "a=#c80000"), [(3 - BOTH) % 3]),
    "two colours are one class": ([COLOURS[BOTH]], ".png", ("bg=#ffffff", "a=#c80000", "a=#0000fa"), [BOTH > 0]),
    "one that no mask holds": ([COLOURS[BLOB]], ".png", ("bg=#ffffff", "b=#0000fa", "a=#c80000"), [BLOB * 2]),
    "black is the object": ([COLOURS[3 * BLOB]], ".png", ("bg=#ffffff", "a=#000000"), [BLOB]),
    "black on white in 1 bit": ([BLOB == 0, CORNER == 0], ".png", ("bg=255", "a=0"), [BLOB, CORNER]),
    "black on white": ([255 - 255 * BLOB], ".png", ("bg=255", "a=0"), [BLOB]),
    "black on white, by colours": ([255 - 255 * BLOB], ".png", ("bg=#ffffff", "a=#000000"), [BLOB]),
    "black on white of 16 bits": ([65535 - np.uint16(65535) * BLOB], ".png", ("bg=65535", "a=0"), [BLOB]),
    "black on white, a little grey": ([void(255 - 255 * BLOB, 99, DOT)], ".png", ("bg=255", "a=0"), [BLOB | DOT]),
    "greys": ([BOTH * 100], ".png", ("bg=0", "b=200", "a=100"), [(3 - BOTH) % 3]),
    "two greys without 0": ([BLOB * 100 + 100], ".png", ("bg=200", "a=100"), [1 - BLOB]),
    "labels": ([BOTH], ".png", ("bg=0", "a=1", "a=2"), [BOTH > 0]),
    "labels from 1": ([BOTH + 1], ".tif", ("bg=3", "a=2", "b=1"), [2 - BOTH]),
    "a palette by colours": (
        [palette(BOTH, COLOURS.ravel())],
        ".png",
        ("bg=#ffffff", "b=#0000fa", "a=#c80000"),
        [(3 - BOTH) % 3],
    ),
    "a palette by indices": ([palette(BOTH, COLOURS.ravel())], ".png", ("a=0", "b=1", "c=2"), [BOTH]),
    "palettes by colours": (
        [palette(BOTH, COLOURS.ravel()), palette(2 - BOTH, COLOURS[:3][::-1].ravel())],
        ".png",
        ("bg=#ffffff", "a=#c80000", "b=#0000fa"),
        [BOTH] * 2,
    ),
    "a black object on transparent ground": (
        [shadow(BLOB), shadow(CORNER)],
        ".png",
        ("bg=transparent", "a=#000000"),
        [BLOB, CORNER],
    ),
    "a black object on transparent ground, named white": (
        [shadow(BLOB), shadow(CORNER)],
        ".png",
        ("bg=#ffffff", "a=#000000"),
        [BLOB, CORNER],
    ),
    "a GIF": ([palette(BOTH, COLOURS.ravel())], ".gif", ("bg=#ffffff", "a=#c80000", "b=#0000fa"), [BOTH]),
}


@pytest.mark.parametrize("name", VALUED)
def test_names_with_values(name: str, with_masks: Callable[..., Path]) -> None:
    arrays, suffix, classes, expected = VALUED[name]
    found = scan(settings(images=with_masks(arrays, suffix), classes=classes))
    assert found.reading.classes == tuple(dict.fromkeys(text.partition("=")[0] for text in classes))
    for pair, mask in zip(found.pairs, expected, strict=True):
        np.testing.assert_array_equal(found.reading.labels(pair.mask)[0], mask)
    assert "\n" not in found.describe()


def test_blurred_masks_that_are_black_on_white(tmp_path: Path, save: Callable[..., None]) -> None:
    disc = np.hypot(*np.mgrid[-60:60, -60:60]) < 40
    save(tmp_path / "masks" / "0.jpg", ~disc * np.uint8(255), quality=60)
    save(tmp_path / "images" / "0.png", disc)
    found = scan(settings(images=tmp_path, classes=("background=255", "cell=0")))
    assert np.mean(found.reading.labels(found.pairs[0].mask)[0] != disc) < 0.01
    assert "above 127 is background" in found.describe()


WRONG = {
    "no value": (("bg=#ffffff", "a=red"), "data.classes=a=red: 'red' is no value of a mask"),
    "some without": (("bg=#ffffff", "a"), "gives 'a' no value: write a=128"),
    "one value twice": (("bg=#ffffff", "a=#ffffff"), "gives #ffffff to 'bg' and to 'a'"),
    "one name": (("bg=#ffffff", "bg=#c80000"), "names only 'bg'"),
    "an unnamed colour": (("bg=#ffffff", "a=#c80001"), r"1\.png: masks hold #c80000 \(12 %\), which no name"),
    "numbers for colours": (("bg=255", "a=200"), r"1\.png: masks hold #c80000 \(12 %\), which no name"),
}


@pytest.mark.parametrize("name", WRONG)
def test_names_with_wrong_values(name: str, with_masks: Callable[..., Path]) -> None:
    classes, message = WRONG[name]
    with pytest.raises(DataError, match=message) as error:
        scan(settings(images=with_masks([COLOURS[BLOB * 0], COLOURS[np.maximum(BLOB, CORNER)]]), classes=classes))
    assert "\n" not in str(error.value)


def test_a_grey_that_no_name_carries(with_masks: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"1\.png: masks hold 2, which no name in data\.classes carries"):
        scan(settings(images=with_masks([BLOB, BOTH]), classes=("bg=0", "a=1")))


@given(
    strategies.lists(strategies.integers(0, 0xFFFFFF), min_size=2, max_size=9, unique=True),
    strategies.randoms(use_true_random=False),
    strategies.booleans(),
)
def test_names_with_values_decode_by_value(values: list[int], random: Any, in_colour: bool) -> None:
    """Whatever the values are, and in whatever order they are named."""
    codes = np.array([value + masks.COLOUR if in_colour else value % 65536 for value in values])
    codes = np.array(list(dict.fromkeys(codes.tolist())))
    if len(codes) < 2:
        return
    names = [f"class {random.randrange(1, 4)}" for _ in codes]
    names[0] = "background"
    shown = [f"#{code - masks.COLOUR:06x}" if in_colour else str(code) for code in codes]
    summary = masks.Summary(Path("a.png"), 1, (len(codes), 1), np.sort(codes), np.ones(len(codes), int), frozenset())
    classes = tuple(f"{name}={value}" for name, value in zip(names, shown, strict=True))
    reading = decide([summary], settings(images="x", classes=classes), indices=True)
    decoded = reading.decode(codes.reshape(1, 1, -1)).ravel()
    assert [reading.classes[label] for label in decoded] == names


# Masks, their suffix, classes, the value to ignore, and the labels expected.
IGNORED: dict[str, tuple[Sequence[Any], str, tuple[str, ...], str, Sequence[np.ndarray]]] = {
    "beside 0 and 1": ([void(BLOB, 255), CORNER], ".png", (), "255", [void(BLOB, IGNORE), CORNER]),
    "beside labels": ([void(BOTH, 255)], ".png", ("bg", "a", "b"), "255", [void(BOTH, IGNORE)]),
    "of 16 bits": ([void(BOTH.astype(np.uint16), 65535)], ".tif", (), "65535", [void(BOTH, IGNORE)]),
    "a label": ([BOTH], ".png", (), "2", [np.where(CORNER, IGNORE, BLOB)]),
    "a grey between black and white": ([void(BLOB * 255, 128)], ".png", (), "128", [void(BLOB, IGNORE)]),
    "by colour": ([void(BLOB * 255, 128)], ".png", (), "#808080", [void(BLOB, IGNORE)]),
    "beside named greys": ([void(BLOB * 99, 128)], ".png", ("a=99", "b=0"), "128", [void(1 - BLOB, IGNORE)]),
    "an index": ([palette(void(BOTH, 255), VOC)], ".png", (), "255", [void(BOTH, IGNORE)]),
    "the colour of an index": ([palette(void(BOTH, 255), VOC)], ".png", (), "#e0e0c0", [void(BOTH, IGNORE)]),
    "a colour": ([COLOURS[void(3 - 2 * BLOB, 2)]], ".png", (), "#0000fa", [void(BLOB, IGNORE)]),
    "a colour beside named ones": (
        [COLOURS[void(BLOB, 2)]],
        ".png",
        ("bg=#ffffff", "a=#c80000"),
        "#0000fa",
        [void(BLOB, IGNORE)],
    ),
    "transparent pixels": (
        [np.dstack([BLOB * 255] * 3 + [255 - 255 * EDGE.astype(np.uint8)])],
        ".png",
        (),
        "transparent",
        [void(BLOB, IGNORE)],
    ),
    "white around": (
        [np.where(EDGE[..., None], 255, COLOURS[3 - 2 * BLOB])],
        ".png",
        (),
        "#ffffff",
        [void(BLOB, IGNORE)],
    ),
}


@pytest.mark.parametrize("name", IGNORED)
def test_ignored_pixels(name: str, with_masks: Callable[..., Path]) -> None:
    arrays, suffix, classes, value, expected = IGNORED[name]
    arrays = [
        array.astype(np.uint8) if isinstance(array, np.ndarray) and array.ndim == 3 else array for array in arrays
    ]
    found = scan(settings(images=with_masks(arrays, suffix), classes=classes, ignore=value))
    for pair, mask in zip(found.pairs, expected, strict=True):
        np.testing.assert_array_equal(found.reading.labels(pair.mask)[0], mask)
    assert len(found.reading.classes) == 1 + max(int(mask.max(where=mask != IGNORE, initial=0)) for mask in expected)
    assert "is not annotated" in found.describe()
    assert found.empty == 0


def test_ignored_pixels_beside_any_object(with_masks: Callable[..., Path]) -> None:
    found = scan(settings(images=with_masks([void(BOTH, 255)]), labels="any", ignore="255"))
    np.testing.assert_array_equal(
        found.reading.labels(found.pairs[0].mask)[0], void(BOTH > 0, True) * np.uint8(1) + 254 * EDGE
    )


def test_any_object_in_a_jpeg_is_refused_unless_it_is_black_and_white(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    disc = (np.hypot(*np.mgrid[-60:60, -60:60]) < 40).astype(np.uint8)
    save(tmp_path / "images" / "0.png", disc)
    save(tmp_path / "masks" / "0.jpg", disc * 255)
    found = scan(settings(images=tmp_path, labels="any"))
    assert np.mean(found.reading.labels(found.pairs[0].mask)[0] != disc) < 0.01
    save(tmp_path / "masks" / "0.jpg", disc * 40)
    with pytest.raises(DataError):
        scan(settings(images=tmp_path, labels="any"))


def test_a_mask_of_ignored_pixels_and_background_is_empty(with_masks: Callable[..., Path]) -> None:
    masks = [void(BLOB * 0, 255), BLOB]
    assert scan(settings(images=with_masks(masks), ignore="255")).empty == 1
    with pytest.raises(DataError, match="all pixels of 2 are ignored"):
        scan(settings(images=with_masks([*masks, BLOB * 0 + 255]), ignore="255"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("void", "data.ignore: 'void' is no value"),
        ("255", "data.ignore=255 leaves no pixel of any mask"),
    ],
)
def test_wrong_values_to_ignore(value: str, message: str, with_masks: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=message):
        scan(settings(images=with_masks([BLOB * 0 + 255]), ignore=value))


def test_transparent_pixels_are_background_where_any_other_is_foreground(with_masks: Callable[..., Path]) -> None:
    root = with_masks([shadow(BLOB), shadow(CORNER)])
    found = scan(settings(images=root, labels="any", classes=("bg=#ffffff", "cell")))
    np.testing.assert_array_equal([found.read(number)[1][0] for number in range(2)], [BLOB, CORNER])


def test_a_value_to_ignore_that_no_mask_holds_is_noted(with_masks: Callable[..., Path]) -> None:
    assert check(settings(images=with_masks([BLOB]), ignore="255")).notes == ["no mask holds data.ignore=255"]


# Masks that are refused, and the settings that suit.
REFUSED: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "colours on white": (COLOURS[BOTH], {"classes": ("background=#ffffff", "class1=#c80000", "class2=#0000fa")}),
    "void": (void(BLOB, 255), {"ignore": "255"}),
    "labels from 1": (BLOB + 1, {"classes": ("background=1", "foreground=2")}),
    "black and transparent": (
        np.dstack([BLOB * 0, BLOB * 0, BLOB * 200, 255 * (1 - CORNER)]),
        {"classes": ("background=transparent", "class1=#000000", "class2=#0000c8")},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_suit_masks_that_are_refused(name: str, with_masks: Callable[..., Path]) -> None:
    array, suits = REFUSED[name]
    root = with_masks([array] * 2)
    checked = check(settings(images=root))
    assert checked.suits == suits
    (fault,) = checked.faults
    assert "--config.data." in fault
    assert checked.found.reading == scan(settings(images=root, **suits)).reading
    assert check(settings(images=root, **suits)).faults == []


def test_white_that_covers_most_is_noted(with_masks: Callable[..., Path]) -> None:
    (note,) = check(settings(images=with_masks([255 - 255 * BLOB]))).notes
    assert note.startswith("white, read as foreground, covers 83% of all pixels; if black is: ")
    assert note.endswith("--config.data.classes=background=255,foreground=0")


def test_paper_with_black_on_it_is_noted(with_masks: Callable[..., Path]) -> None:
    """Black may be an outline, and white the background."""
    (note,) = check(settings(images=with_masks([COLOURS[BLOB + 3 * CORNER]]))).notes
    assert note.endswith("--config.data.classes=background=#ffffff,class1=#c80000,class2=#000000")


def test_names_in_a_built_set_have_no_values(
    with_masks: Callable[..., Path], build_and_read: Callable[..., Any]
) -> None:
    root = with_masks([COLOURS[BOTH], COLOURS[BLOB], COLOURS[CORNER * 2]])
    built = build_and_read("folder", images=root, classes=("background=#ffffff", "cell=#c80000", "rest=#0000fa"))
    assert list(built.classes) == ["background", "cell", "rest"]
    for found, mask in zip(built.masks, (BOTH, BLOB, CORNER * 2), strict=True):
        np.testing.assert_array_equal(found[..., 0], mask)
