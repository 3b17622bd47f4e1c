"""areas.csv: its rows, and the table after several commands."""

import numpy as np
import pytest

from datasets.formats import picture
from datasets.formats.search import Input
from launch.prediction import areas
from launch.prediction.output import Output

CLASSES = ("background", "lung", "lesion")


def test_a_row_for_each_slice_and_class_but_the_background():
    labels = np.zeros((2, 2, 4), np.uint8)
    labels[0, 0] = 1
    labels[1] = [[1, 1, 2, 0], [1, 0, 0, 0]]
    assert areas.rows("a", labels, CLASSES, 0.5) == [
        ("a", "0", "lung", "4", "0.500000", "2.0000"),
        ("a", "0", "lesion", "0", "0.000000", "0.0000"),
        ("a", "1", "lung", "3", "0.375000", "1.5000"),
        ("a", "1", "lesion", "1", "0.125000", "0.5000"),
    ]
    assert areas.rows("a", labels[:1], CLASSES[:2], None) == [("a", "0", "lung", "4", "0.500000", "")]


@pytest.fixture
def output(tmp_path):
    (tmp_path / "masks").mkdir()
    return Output(tmp_path)


def inputs(*names):
    return [Input(name, (), picture) for name in names]


def row(name, pixels="1", number="0", label="lung"):
    return (name, number, label, pixels, "0.5", "")


def lines(output):
    head, *rest = (output.folder / "areas.csv").read_text().splitlines()
    assert head == "input,slice,class,pixels,share,mm2"
    return [tuple(line.split(",")) for line in rest]


def test_rows_are_sorted_by_input_after_those_of_earlier_commands(output):
    areas.sort(output, [])  # writes the header
    areas.append(output, [row("old"), row("b"), row("b", number="1")])
    areas.append(output, [row("a")])
    for name in ("a", "b"):
        (output.folder / f"masks/{name}.png").touch()
    areas.sort(output, inputs("a", "b"))
    assert lines(output) == [row("old"), row("a"), row("b"), row("b", number="1")]


def test_rows_without_a_mask_and_rows_cut_off_are_dropped_and_later_ones_win(output):
    areas.sort(output, [])
    areas.append(output, [row("gone"), row("a", "1"), row("a", "1", label="lesion")])
    areas.append(output, [row("a", "2")])
    with open(output.folder / "areas.csv", "a", encoding="utf-8") as file:
        file.write("a,0,les")
    (output.folder / "masks/a.png").touch()
    areas.sort(output, inputs("a", "gone"))
    assert lines(output) == [row("a", "2"), row("a", "1", label="lesion")]


def test_names_with_commas_and_without_utf_8_survive(output):
    names = ('a, "b"', b"\xe9".decode(errors="surrogateescape"))
    areas.sort(output, [])
    areas.append(output, [row(name) for name in names])
    before = (output.folder / "areas.csv").read_bytes()
    areas.sort(output, [])
    assert (output.folder / "areas.csv").read_bytes() == before
    assert b"\xe9,0,lung" in before
