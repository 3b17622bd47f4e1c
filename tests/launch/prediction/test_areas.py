"""areas.csv: its rows, and the table after several commands, damaged or edited."""

import csv
import math
import os

import numpy as np
import pytest

from datasets.formats import picture
from datasets.formats.search import Input
from launch.prediction import areas
from launch.prediction.output import Output
from sharp_unet_jax.errors import InputError

CLASSES = ("background", "lung", "lesion")


def test_a_row_for_each_slice_and_class_but_the_background():
    labels = np.zeros((2, 2, 4), np.uint8)
    labels[0, 0] = 1
    labels[1] = [[1, 1, 2, 0], [1, 0, 0, 0]]
    assert areas.rows("a", labels, CLASSES, 0.5) == [
        ("a", "0", "lung", "4", "0.500000", "2.0000", "", "", "2"),
        ("a", "0", "lesion", "0", "0.000000", "0.0000", "", "", "2"),
        ("a", "1", "lung", "3", "0.375000", "1.5000", "", "", "2"),
        ("a", "1", "lesion", "1", "0.125000", "0.5000", "", "", "2"),
    ]
    for unknown in (None, math.nan):
        assert areas.rows("a", labels[:1], CLASSES[:2], unknown) == [
            ("a", "0", "lung", "4", "0.500000", "", "", "", "1")
        ]


def test_a_row_has_the_disagreement_of_its_slice_and_class():
    labels = np.zeros((2, 2, 4), np.uint8)
    found = areas.rows("a", labels, CLASSES, None, "note", [(0.25, 1.0), (0.0, 0.123456)])
    assert [row[6:] for row in found] == [(value, "note", "2") for value in ("0.2500", "1.0000", "0.0000", "0.1235")]
    assert [row[6] for row in areas.rows("a", labels, CLASSES, None, "note", [(), ()])] == [""] * 4


@pytest.fixture
def output(tmp_path):
    (tmp_path / "masks").mkdir()
    return Output(tmp_path)


def inputs(*names):
    return [Input(name, (), picture) for name in names]


def rows(name, pixels="1", slices=1):
    return [
        (name, str(number), label, pixels, "0.5", "", "", "", str(slices))
        for number in range(slices)
        for label in CLASSES[1:]
    ]


def written(output, *names):
    """Give each input a mask and the rows of two slices; return the bytes of the table."""
    for name in names:
        (output.folder / f"masks/{name}.png").write_bytes(b"mask")
    areas.sort(output, [], CLASSES)
    for name in names:
        areas.append(output, rows(name, slices=2))
    return (output.folder / "areas.csv").read_bytes()


def lines(output):
    with open(output.folder / "areas.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        head, *rest = csv.reader(file)
    assert head == ["input", "slice", "class", "pixels", "share", "mm2", "disagreement", "note", "slices"]
    return list(map(tuple, rest))


def test_rows_are_sorted_by_input_after_those_of_earlier_commands(output):
    written(output, "old", "b", "a")
    assert areas.sort(output, inputs("a", "b"), CLASSES) == {"a", "b"}
    assert lines(output) == [row for name in ("old", "a", "b") for row in rows(name, slices=2)]
    assert areas.sort(output, inputs("a", "b"), CLASSES, changed={"a"}) == {"b"}
    assert lines(output) == [row for name in ("old", "b") for row in rows(name, slices=2)]


def test_an_input_is_done_if_its_mask_and_its_rows_are_there(output):
    written(output, "whole", "no mask", "empty mask", "no rows")
    (output.folder / "masks/no mask.png").unlink()
    (output.folder / "masks/empty mask.png").write_bytes(b"")
    kept = [row for row in lines(output) if row[0] != "no rows"]
    (output.folder / "areas.csv").write_bytes(areas._csv([areas.COLUMNS, *kept]))
    assert areas.sort(output, inputs("whole", "no mask", "empty mask", "no rows", "new"), CLASSES) == {"whole"}
    assert lines(output) == rows("whole", slices=2)
    (output.folder / "areas.csv").unlink()
    assert areas.sort(output, inputs("whole"), CLASSES) == set()
    assert lines(output) == []


def test_a_table_cut_short_anywhere_keeps_whole_inputs_alone(output):
    whole = written(output, "a", "b")
    ends = [whole.index(b"b,0"), len(whole)]
    for length in range(len(whole)):
        (output.folder / "areas.csv").write_bytes(whole[:length])
        done = areas.sort(output, inputs("a", "b"), CLASSES)
        assert done == {name for name, end in zip("ab", ends, strict=True) if length >= end}
        assert lines(output) == [row for name in sorted(done) for row in rows(name, slices=2)]


def test_what_cannot_be_the_table_is_refused_before_it_is_read(output):
    path = output.folder / "areas.csv"
    path.touch()
    os.truncate(path, 2**34)
    with pytest.raises(InputError, match=r"areas\.csv is not the table"):
        areas.sort(output, inputs("a"), CLASSES)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"areas\.csv is not the table"):
        areas.sort(output, inputs("a"), CLASSES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"b,1,lung,1,0.5,,,,2\n", b""),
        (b"b,1,lung,1,0.5,,,,2\n", b"b,1,lung,1,0.5\n"),
        (b"b,1,lung,1,0.5,,,,2\n", b"b,1,lung,1,0.5,,,,3\n"),
        (b"b,1,lung,1,0.5,,,,2\n", b"b,1,liver,1,0.5,,,,2\n"),
        (b"b,1,lung,1,0.5,,,,2\n", b"b,\xff\x00,lung,1,0.5,,,,2\n"),
        (b"b,1,lung,1,0.5,,,,2\n", b"b,1,lung,1,0.5,,,,2\nb,2,lung,1,0.5,,,,2\n"),
        (b"b,0,lung", b'"b,0,lung'),  # it goes on to the end of the table
        (b"b,0,lung", b'"' + 200_000 * b"b"),
    ],
)
def test_an_input_with_strange_rows_is_done_again(output, old, new):
    whole = written(output, "a", "b")
    assert old in whole
    (output.folder / "areas.csv").write_bytes(whole.replace(old, new, 1))
    assert areas.sort(output, inputs("a", "b"), CLASSES) == {"a"}
    assert lines(output) == rows("a", slices=2)


def test_the_later_of_two_predictions_wins(output):
    written(output, "a")
    areas.append(output, rows("a", "2", slices=2))
    assert areas.sort(output, inputs("a"), CLASSES) == {"a"}
    assert lines(output) == rows("a", "2", slices=2)


NAMES = (
    'a, "b"',
    b"\xe9".decode(errors="surrogateescape"),
    "=cmd|' /C calc'!A0",
    "@x",
    "'=y",
    "a\rb",
    "a\nb",
    "\r\n=1",
    "input",
    "-1",
)


def test_names_of_every_kind_survive(output):
    areas.sort(output, [], CLASSES)
    areas.append(output, [row for name in NAMES for row in rows(name)])
    before = (output.folder / "areas.csv").read_bytes()
    areas.sort(output, inputs("unknown"), CLASSES)
    assert (output.folder / "areas.csv").read_bytes() == before
    assert list(areas._read(output, CLASSES)) == list(NAMES)
    assert b"\xe9,0,lung" in before
    assert not [row for row in lines(output) if row[0].startswith(("=", "@", "\r"))]


def test_a_disk_that_takes_half_of_the_rows_is_full(output, monkeypatch):
    class Full:
        name = "areas.csv"

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, content):
            return len(content) // 2

    monkeypatch.setattr("builtins.open", lambda *_, **__: Full())
    with pytest.raises(OSError, match=r"No space left on device: 'areas\.csv'"):
        areas.append(output, rows("a"))
