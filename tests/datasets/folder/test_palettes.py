"""Palettes whose indices can be trusted, and palettes of which only the colours can."""

from pathlib import Path

import numpy as np
import pytest

from datasets.folder.masks import BLACK, COLOUR, TRANSPARENT, WHITE, Summary
from datasets.folder.palettes import by_index

RED, GREEN = COLOUR + 0xFF0000, COLOUR + 0x00FF00


def summary(*colours: int, values: tuple[int, ...] | None = None) -> Summary:
    found = np.array(range(len(colours)) if values is None else values)
    return Summary(Path("a.png"), 1, (2, 3), found, found, frozenset(zip(found.tolist(), colours, strict=False)))


@pytest.mark.parametrize(
    ("palettes", "named", "trusted"),
    [
        ([(BLACK, RED, GREEN), (BLACK, RED, GREEN)], (), True),
        ([(BLACK, RED, GREEN), (BLACK, GREEN, RED)], (), False),  # renumbered
        ([(BLACK, RED, GREEN), (BLACK, GREEN, RED)], (1,), False),
        ([(RED, BLACK)], (), False),  # black is not the first
        ([(WHITE, RED)], (), False),  # nor anywhere
        ([(WHITE, RED)], (0, 1), True),  # but the user names numbers
        ([(WHITE, RED)], (WHITE, RED), False),
        ([(TRANSPARENT, RED)], (), True),
        ([(TRANSPARENT, BLACK)], (), True),
        ([(BLACK, BLACK, BLACK)], (), True),  # a palette without colours
        ([(BLACK, WHITE)], (), False),  # read as 0 and 255, as one bit is
        ([(), (BLACK, RED)], (), True),
        ([()], (), True),
    ],
)
def test_indices_or_colours(palettes: list[tuple[int, ...]], named: tuple[int, ...], trusted: bool) -> None:
    assert by_index([summary(*colours, values=None if colours else (0, 1)) for colours in palettes], named) == trusted


def test_indices_beside_a_file_in_colours_are_not_trusted() -> None:
    assert not by_index([summary(BLACK, RED), summary(values=(BLACK, RED))], ())


def test_an_index_that_no_mask_uses() -> None:
    """Objects everywhere: index 0 is not among those that the masks hold."""
    assert by_index([summary(RED, values=(1,))], ())
    assert not by_index([summary(RED, BLACK, values=(1, 2))], ())
