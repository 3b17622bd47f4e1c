"""Areas of pixels, bounds on the sizes that headers name, and errors in reading."""

import math

import numpy as np
import pytest

from datasets.errors import DataError
from datasets.formats import stack
from sharp_unet_jax.advice import memory


@pytest.mark.parametrize(
    "sides",
    [(0, 1), (-1, 1), (-1, -1), (math.nan, 1), (1, math.inf), (-math.inf, -1), (1e-30, 1e30), (3e38, 0.5)],
)
def test_impossible_sides_have_no_area(sides):
    empty = np.zeros((1, 1, 1, 1), np.uint8)
    assert math.isnan(stack.Stack(empty, sides).area)
    assert stack.Stack(empty, (0.5, 0.8)).area == 0.4
    assert stack.Stack(empty).area is None


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((0, 4, 5), 0, "a.nii: holds no pictures, but 0 of 4x5 pixels; remove or repair it"),
        ((3, -4, 5), 60, "holds no pictures"),
        ((1, 4, 5, 0), 0, "holds no pictures"),
        ((1, 2**14, 2**14 + 1), 1, r"a.nii: is 16384x16385 pixels, and more than 268,435,456 are not read; crop it"),
        ((9, 4, 5), 2**40, r"a.nii: needs 1,099.5 GB of memory, and 1.1 GB are free; free memory, or save it in parts"),
    ],
)
def test_what_a_header_says_is_refused_before_it_is_read(monkeypatch, shape, size, message):
    monkeypatch.setattr(memory, "free", lambda: 2**30)
    stack.check_size("a.nii", (99, 2**14, 2**14), 2**30)
    with pytest.raises(DataError, match=message):
        stack.check_size("a.nii", shape, size)


def test_too_little_memory_is_no_damage():
    for error in (MemoryError(), OSError(12, "Cannot allocate memory")):
        with pytest.raises(DataError) as end, stack.reading("a.nii", "NIfTI"):
            raise error
        assert str(end.value) == "a.nii: is too large for the memory; free memory, or save it in parts"
    with (
        pytest.raises(DataError, match=r"a.nii: cannot be read as NIfTI .KeyError.; it is damaged, cut short, or of"),
        stack.reading("a.nii", "NIfTI"),
    ):
        raise KeyError
