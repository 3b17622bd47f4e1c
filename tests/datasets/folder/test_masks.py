"""Codes of mask files: greys, palette indices and colours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.files import DataError
from datasets.folder import masks

INDICES = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
RED, GREEN = 0x1FF0000, 0x100FF00


@pytest.fixture
def coloured(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes INDICES with a palette."""

    def write(name: str, *colours: int) -> Path:
        image = Image.fromarray(INDICES)
        image.putpalette(bytes(colours))
        image.save(tmp_path / name)
        return tmp_path / name

    return write


def test_a_palette_is_read_as_indices_or_as_colours(coloured: Callable[..., Path]) -> None:
    path = coloured("a.png", 0, 0, 0, 255, 0, 0, 0, 255, 0)
    summary = masks.summarise([path], indices=True)
    assert (summary.values.tolist(), summary.counts.tolist(), summary.size) == ([0, 1, 2], [2, 2, 2], (3, 2))
    assert summary.palette == {0: masks.COLOUR, 1: RED, 2: GREEN}
    assert masks.summarise([path], indices=False).values.tolist() == [masks.COLOUR, GREEN, RED]


@pytest.mark.parametrize(
    ("other", "agree"),
    [
        ((0, 0, 0, 255, 0, 0, 0, 255, 0), True),
        ((0, 0, 0, 0, 255, 0, 255, 0, 0), False),  # renumbered
        ((255, 0, 0, 0, 0, 0, 0, 255, 0), False),  # black is not the first
    ],
)
def test_palettes_agree_or_only_their_colours_can_be_trusted(
    coloured: Callable[..., Path], other: tuple[int, ...], agree: bool
) -> None:
    paths = coloured("a.png", 0, 0, 0, 255, 0, 0, 0, 255, 0), coloured("b.png", *other)
    assert masks.palettes_agree([masks.summarise([path], indices=True) for path in paths]) == agree
    assert masks.palettes_agree([masks.summarise([paths[1]], indices=True)]) == (other[:3] == (0, 0, 0))


def test_greys_and_colours_have_codes_of_their_own() -> None:
    codes = np.array([0, 128, 255, RED])
    assert masks.as_colours(codes).tolist() == [0x1000000, 0x1808080, 0x1FFFFFF, RED]


@pytest.mark.parametrize(
    ("pixels", "codes"),
    [
        (np.array([[False, True]]), [0, 255]),
        (np.array([[[7, 7, 7], [9, 9, 9]]], np.uint8), [7, 9]),
        (np.array([[[255, 0, 0], [9, 9, 9]]], np.uint8), [RED, 0x1090909]),
        (np.array([[[7, 7, 7, 0], [9, 9, 9, 255]]], np.uint8), [7, 9]),
    ],
)
def test_codes_of_bits_greys_and_colours(pixels: np.ndarray, codes: list[int], tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = masks.read([tmp_path / "a.png"], indices=True)
    assert (found.tolist(), found.dtype) == ([[codes]], np.int32)


def test_fractions_are_no_codes(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "a.tif", np.full((2, 3), 0.5, np.float32))
    with pytest.raises(DataError, match=r"a\.tif: holds 0\.5 to 0\.5; a mask holds whole numbers"):
        masks.read([tmp_path / "a.tif"], indices=True)
