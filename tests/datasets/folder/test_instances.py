"""Masks that number objects, and masks of classes that look like them."""

import io
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DataError
from datasets.folder import masks
from datasets.folder.instances import numbered
from datasets.folder.scan import scan
from datasets.folder.settings import settings

SIDE = 60
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
# Places of objects that do not touch, and organs: a place, and the half axes of an ellipse.
GRID = [(row, column) for row in range(6, SIDE, 12) for column in range(6, SIDE, 12)]
ORGANS = [((30, 15), (22, 10)), ((20, 42), (8, 7)), ((45, 45), (5, 4)), ((35, 32), (2, 2))]
ALIKE = [((15, 15), (6, 6)), ((15, 45), (6, 6)), ((45, 15), (6, 6)), ((45, 45), (6, 6))]


def ellipse(place: tuple[float, float], axes: tuple[float, float]) -> np.ndarray:
    return ((ROWS - place[0]) / axes[0]) ** 2 + ((COLUMNS - place[1]) / axes[1]) ** 2 <= 1


def cells(seed: int, largest: int) -> np.ndarray:
    """Objects of like sizes, as many as `seed` says, numbered from 1 in no order."""
    random, mask = np.random.default_rng(seed), np.zeros((SIDE, SIDE), np.uint8)
    number = random.integers(2, largest + 1)
    for label, at in enumerate(random.permutation(len(GRID))[:number], 1):
        mask[ellipse(GRID[at], tuple(random.uniform(2.5, 5, 2)))] = label
    return mask


def organs(seed: int, shapes: Iterable[tuple[tuple[int, int], tuple[int, int]]], absent: float) -> np.ndarray:
    """Organs that move a little, each in one piece; each may be absent."""
    random, mask = np.random.default_rng(seed), np.zeros((SIDE, SIDE), np.uint8)
    for label, ((row, column), axes) in enumerate(shapes, 1):
        if random.random() >= absent:
            move, grow = random.integers(-2, 3, 2), random.uniform(0.9, 1.1)
            mask[ellipse((row + move[0], column + move[1]), (axes[0] * grow, axes[1] * grow))] = label
    return mask


def heart(seed: int) -> np.ndarray:
    """Right ventricle, muscle around the left, left ventricle: of like sizes; slices near the tip lack the first."""
    random, mask = np.random.default_rng(seed), np.zeros((SIDE, SIDE), np.uint8)
    radius = random.uniform(9, 13)
    if radius > 10:
        mask[ellipse((30, 22), (radius, radius))] = 1
    mask[ellipse((30, 40), (radius * 1.4, radius * 1.4))] = 2
    mask[ellipse((30, 40), (radius, radius))] = 3
    return mask


def kinds_of_cells(seed: int) -> np.ndarray:
    """Objects, each of one of four kinds: a label is in several pieces."""
    mask = cells(seed, 20)
    return np.where(mask, mask % 4 + 1, 0).astype(np.uint8)


OBJECTS = {
    "few": [cells(seed, 6) for seed in range(8)],
    "some": [cells(seed, 25) for seed in range(8)],
    "in three images": [cells(seed, 25) for seed in range(3)],
    "the same number in each": [np.kron(np.arange(9).reshape(3, 3), np.pad(np.ones((4, 5)), 2)).astype(np.uint8)] * 4,
}
CLASSES = {
    "organs": [organs(seed, ORGANS, 0) for seed in range(8)],
    "organs, some absent": [organs(seed, ORGANS, 0.3) for seed in range(8)],
    "organs of one size": [organs(seed, ALIKE, 0) for seed in range(8)],
    "organs of one size, some absent": [organs(seed, ALIKE, 0.2) for seed in range(8)],
    "two organs": [organs(seed, ALIKE[:2], 0.2) for seed in range(8)],
    "a heart": [heart(seed) for seed in range(12)],
    "kinds of cells": [kinds_of_cells(seed) for seed in range(8)],
    "noise": [np.random.default_rng(seed).integers(0, 20, (SIDE, SIDE), np.uint8) for seed in range(4)],
}


def summaries(folder: Path, arrays: Iterable[np.ndarray]) -> list[masks.Summary]:
    paths = [folder / f"{number}.png" for number, _ in enumerate(arrays)]
    for path, mask in zip(paths, arrays, strict=True):
        Image.fromarray(mask).save(path)
    return [masks.summarise([path], indices=True) for path in paths]


@pytest.mark.parametrize("name", OBJECTS)
def test_numbered_objects_are_told(name: str, tmp_path: Path) -> None:
    assert numbered(summaries(tmp_path, OBJECTS[name]), indices=True)


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_no_numbered_objects(name: str, tmp_path: Path) -> None:
    assert not numbered(summaries(tmp_path, CLASSES[name]), indices=True)


@pytest.mark.parametrize("seed", range(20))
def test_eight_images_of_four_organs(seed: int, tmp_path: Path) -> None:
    absent = np.random.default_rng(seed).uniform(0, 0.5)
    arrays = [organs(100 * seed + number, ORGANS, absent) for number in range(8)]
    assert not numbered(summaries(tmp_path, arrays), indices=True)


@pytest.mark.parametrize("scale", [1, 3, 257])
def test_numbered_objects_are_refused_or_read_as_foreground(scale: int, with_masks: Callable[..., Path]) -> None:
    """Numbers up to 25 could be labels, larger ones not; 257 needs 16 bits."""
    arrays = [cells(seed, 25).astype(np.uint16) * scale for seed in range(6)]
    root = with_masks(arrays, ".tif")
    for number in range(6):
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(root / "images" / f"{number}.png")
    with pytest.raises(DataError, match=r"masks/\d\.tif: masks hold .*--config\.data\.labels=any") as error:
        scan(settings(images=root))
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"--config\.data\.labels=any"):
        scan(settings(images=root, classes=("ground", "cell")))
    assert scan(settings(images=root, labels="any", classes=("ground", "cell"))).reading.classes == ("ground", "cell")
    found = scan(settings(images=root, labels="any"))
    assert found.reading.classes == ("background", "foreground")
    assert "any other is foreground" in found.describe()
    for pair, array in zip(found.pairs, arrays, strict=True):
        np.testing.assert_array_equal(found.reading.labels(pair.mask)[0], array > 0)


def test_named_classes_are_no_objects(with_masks: Callable[..., Path]) -> None:
    root = with_masks(OBJECTS["the same number in each"])
    for path in (root / "images").iterdir():
        Image.fromarray(OBJECTS["the same number in each"][0]).save(path)
    names = ("background", *"abcdefgh")
    assert scan(settings(images=root, classes=names)).reading.kind == "labels"


@pytest.mark.parametrize("colours", ["a colour each", "colours used again"])
def test_objects_in_colours(colours: str, with_masks: Callable[..., Path]) -> None:
    """A colour for each object of the set, or the same colours in each image."""
    random = np.random.default_rng(0)
    palette = random.integers(60, 256, (200, 3), np.uint8)
    arrays = [cells(seed, 25) for seed in range(6)]
    first = [30 * number * (colours == "a colour each") for number in range(6)]
    coloured = [
        np.where(a[..., None] > 0, palette[a + n], 0).astype(np.uint8) for a, n in zip(arrays, first, strict=True)
    ]
    root = with_masks(coloured)
    for path in (root / "images").iterdir():
        Image.fromarray(arrays[0]).save(path)
    with pytest.raises(DataError, match=r"colours, which seem to be one for each object.*--config\.data\.labels=any"):
        scan(settings(images=root))
    found = scan(settings(images=root, labels="any"))
    for pair, array in zip(found.pairs, arrays, strict=True):
        np.testing.assert_array_equal(found.reading.labels(pair.mask)[0], array > 0)


def test_real_nuclei_are_numbered_objects(real_data: Path, tmp_path: Path) -> None:
    """Masks of the Data Science Bowl 2018, a file per nucleus, merged by number: all, and those of up to 12 nuclei."""
    with zipfile.ZipFile(real_data / "manual/stage1_train.zip") as archive:
        files_of = defaultdict(list)
        for name in archive.namelist():
            if "/masks/" in name and name.endswith(".png"):
                files_of[name.partition("/")[0]].append(name)
        few = [files for _, files in sorted(files_of.items()) if len(files) <= 12][:10]
        arrays = []
        for files in few:
            layers = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) > 0 for name in files]
            arrays.append(np.max([layer * number for number, layer in enumerate(layers, 1)], axis=0).astype(np.uint8))
    found = summaries(tmp_path, arrays)
    assert numbered(found, indices=True)
    assert numbered(found[:4], indices=True)
