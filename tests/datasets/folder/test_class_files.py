"""Masks of which each class has a file of its own."""

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DataError
from datasets.folder import class_names, labels, masks, palettes
from datasets.folder.labels import Reading
from datasets.folder.scan import scan
from datasets.folder.settings import settings
from sharp_unet_jax.metrics import IGNORE

SHAPE = (12, 10)
CELL = np.zeros(SHAPE, np.uint8)
CELL[2:9, 1:8] = 1
NUCLEUS = np.zeros(SHAPE, np.uint8)
NUCLEUS[4:6, 3:6] = 1
LABELS = np.where(NUCLEUS, 1, 2 * CELL)
FILES = "nucleus", "cell"


def indexed(mask: np.ndarray, *colours: int) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette(bytes(colours))
    return image


@pytest.fixture
def read(tmp_path: Path, save: Callable[..., None]) -> Callable[..., tuple[Reading, list[np.ndarray]]]:
    """Return a function that writes masks, lists of (name, pixels), and returns how they are read and their labels."""

    def write(images: Sequence[Sequence[tuple[str, Any]]], **options: Any) -> tuple[Reading, list[np.ndarray]]:
        given = settings(images=tmp_path, **{"class_files": FILES, **options})
        for files in images:
            for name, pixels in files:
                save(tmp_path / name, pixels)
        paths = [[tmp_path / name for name, _ in files] for files in images]
        found = [masks.summarise(files, indices=True, apart=True) for files in paths]
        indices = palettes.by_index(found, class_names.codes(given))
        if not indices:
            found = [masks.summarise(files, indices=False, apart=True) for files in paths]
        reading = labels.decide(found, given, indices=indices)
        return reading, [reading.labels(files)[0] for files in paths]

    return write


PAIR = CELL * 255, NUCLEUS * 255
RED, GREEN = [0, 0, 0, 255, 0, 0], [0, 0, 0, 0, 255, 0]
ENCODINGS: dict[str, tuple[Any, Any]] = {
    "black and white": PAIR,
    "0 and 1": (CELL, NUCLEUS),
    "1 bit": (CELL > 0, NUCLEUS > 0),
    "palettes of two colours": (indexed(CELL, *RED), indexed(NUCLEUS, *GREEN)),
    "two colours": (CELL[..., None] * np.uint8([255, 0, 0]), NUCLEUS[..., None] * np.uint8([0, 255, 0])),
    "black and white palettes": (indexed(1 - CELL, 255, 255, 255, 0, 0, 0), indexed(NUCLEUS, 0, 0, 0, 255, 255, 255)),
    "transparent ground": tuple(np.dstack([m * 0 + 200] * 3 + [m * 255]) for m in (CELL, NUCLEUS)),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_first_class_wins(name: str, read: Callable[..., Any]) -> None:
    cell, nucleus = ENCODINGS[name]
    reading, (found,) = read([[("nucleus/1.png", nucleus), ("cell/1.png", cell)]])
    np.testing.assert_array_equal(found, LABELS)
    assert reading.classes == ("background", "nucleus", "cell")
    assert reading.notes[-1] == "the classes of 1 masks overlap, by 6 pixels; the first in data.class_files wins"
    assert "a file per class, the first wins where they overlap: 1 is nucleus, 2 is cell" in reading.describe()
    _, (other,) = read([[("nucleus/1.png", nucleus), ("cell/1.png", cell)]], class_files=FILES[::-1])
    np.testing.assert_array_equal(other, CELL)


def test_classes_by_the_endings_of_names(read: Callable[..., Any]) -> None:
    files = ("1_cell.png", CELL * 255), ("1_nucleus.png", NUCLEUS * 255)
    reading, (found,) = read([files], class_files=("_nucleus", "-cell", "_cell"))
    np.testing.assert_array_equal(found, np.where(NUCLEUS, 1, 3 * CELL))
    assert reading.classes == ("background", "nucleus", "cell", "cell")


def test_a_class_without_a_file_is_absent(read: Callable[..., Any]) -> None:
    _, found = read([[("cell/1.png", CELL * 255)], [("nucleus/2.png", NUCLEUS * 255), ("cell/2.png", CELL * 0)]])
    np.testing.assert_array_equal(found, [2 * CELL, NUCLEUS])


def test_names_of_the_classes(read: Callable[..., Any]) -> None:
    files = [[("nucleus/1.png", NUCLEUS * 255), ("cell/1.png", CELL * 255)]]
    assert read(files, classes=("ground", "a", "b"))[0].classes == ("ground", "a", "b")
    with pytest.raises(DataError, match=r"data\.class_files has 2 classes, but 2 classes are named .*; name one"):
        read(files, classes=("a", "b"))


def test_ignored_pixels_lie_below_all_classes(read: Callable[..., Any]) -> None:
    void = CELL.copy()
    void[:5] = 255
    _, (found,) = read([[("nucleus/1.png", NUCLEUS), ("cell/1.png", void)]], ignore="255")
    np.testing.assert_array_equal(found, np.where(NUCLEUS, 1, np.where(void == 255, IGNORE, 2 * CELL)))


def test_numbered_objects_of_a_class(read: Callable[..., Any]) -> None:
    reading, (found,) = read([[("nucleus/1.png", NUCLEUS * 3), ("cell/1.png", CELL * 9)]], labels="any")
    np.testing.assert_array_equal(found, LABELS)
    assert reading.kind == "any"


def test_white_paper_is_named(read: Callable[..., Any]) -> None:
    paper = [np.where(mask[..., None], np.uint8([255, 0, 0]), np.uint8(255)) for mask in (NUCLEUS, CELL)]
    files = [[("nucleus/1.png", paper[0]), ("cell/1.png", paper[1])]]
    with pytest.raises(DataError, match=r"no #000000, .*--config\.data\.classes=background=#ffffff,nucleus,cell"):
        read(files)
    _, (found,) = read(files, classes=("background=#ffffff", "nucleus", "cell"))
    np.testing.assert_array_equal(found, LABELS)


def test_files_that_are_no_masks_of_a_class(read: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"hold 0, 1, 2, 3 where .*: --config\.data\.labels=any"):
        read([[("nucleus/1.png", NUCLEUS + 2 * CELL), ("cell/1.png", CELL)]])
    with pytest.raises(DataError, match=r"nucleus/1\.png is 10x12 but 1\.png is 10x5; they must be equal"):
        read([[("nucleus/1.png", NUCLEUS), ("cell/1.png", CELL[:5])]])


@pytest.mark.parametrize(
    ("path", "index"),
    [
        ("nucleus/a.png", 0),
        ("cell/a_nucleus.png", 1),
        ("x/a_CELL.png", 1),
        ("cell/deep/a.png", 1),
        ("x/a_cell.nii.gz", 1),
    ],
)
def test_the_class_of_a_file(path: str, index: int) -> None:
    assert masks.class_of(Path(path), FILES) == index


@pytest.mark.parametrize("names", ["{}_nucleus.png {}_cell.png", "nucleus/{}.png cell/{}.png", "{}_nucleus.png"])
def test_folders_above_the_masks_name_no_class(names: str, tmp_path: Path, save: Callable[..., None]) -> None:
    """Here all masks lie in a folder called "cell"."""
    for number in "01":
        save(tmp_path / "images" / f"{number}.png", CELL)
        for name, mask in zip(names.split(), (NUCLEUS, CELL), strict=False):
            save(tmp_path / "cell" / name.format(number), mask * 255)
    found = scan(settings(images=tmp_path / "images", masks=tmp_path / "cell", class_files=FILES))
    for number in range(2):
        np.testing.assert_array_equal(found.read(number)[1][0], LABELS if " " in names else NUCLEUS)


@pytest.mark.parametrize("names", ["{0}/1.png", "1_{0}.png"])
def test_classes_are_named_however_accents_are_encoded(names: str, tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "images" / "1.png", CELL)
    for name, mask in (("Gef\u00e4\u00df", NUCLEUS), ("Zelle", CELL)):
        save(tmp_path / "masks" / unicodedata.normalize("NFD", names.format(name)), mask * 255)
    found = scan(settings(images=tmp_path, class_files=("Gef\u00e4\u00df", "Zelle")))
    np.testing.assert_array_equal(found.read(0)[1][0], LABELS)


def test_a_file_of_no_class() -> None:
    with pytest.raises(DataError, match=r"x/a\.png: is the mask of none of data\.class_files=nucleus,cell"):
        masks.class_of(Path("x/a.png"), FILES)


def test_classes_in_another_order_than_their_files_are_refused(read: Callable[..., Any]) -> None:
    files = ("nucleus/1.png", NUCLEUS * 255), ("cell/1.png", CELL * 255)
    _, (found,) = read([files], classes=("background", "nuclei", "cells"))
    np.testing.assert_array_equal(found, LABELS)
    with pytest.raises(DataError, match=r"nucleus,cell and data.classes=background,cell,nucleus have different orders"):
        read([files], classes=("background", "cell", "nucleus"))


def test_files_of_0_and_1_beside_files_of_0_and_255_are_asked_about(read: Callable[..., Any]) -> None:
    files = [[("nucleus/1.png", NUCLEUS), ("cell/1.png", CELL * 255)]]
    with pytest.raises(
        DataError, match=r"hold 0, 1, 255 where each is black and white; .*: --config\.data\.labels=any"
    ):
        read(files)
    assert read(files, labels="any")[1][0].tolist() == LABELS.tolist()
