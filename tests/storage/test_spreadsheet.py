"""Cells that spreadsheets do not run, and the texts that they come from."""

import csv
import io
import itertools

import pandas as pd
import pytest

from sharp_unet_jax.storage import spreadsheet
from sharp_unet_jax.storage.spreadsheet import cell, original


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("-2-3", "'-2-3"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t'=1"),
        ("\r\n=1", "'\r'\n'=1"),
        ("\uff1d1", "'\uff1d1"),
        ("a;=1", "a;'=1"),
        ("'=1", "''=1"),
        ("'plain", "'plain"),
        ("deep/a-b=c", "deep/a-b=c"),
        ("", ""),
    ],
)
def test_what_looks_like_a_formula_is_text(text, safe):
    assert cell(text) == safe
    assert original(safe) == text


@pytest.mark.parametrize("number", ["-1", "+1.20", "12", "0.500000", "-1.5e-07", "1."])
def test_numbers_stay_numbers(number):
    assert cell(number) == original(number) == number


def test_every_text_comes_back():
    texts = {"".join(letters) for n in range(6) for letters in itertools.product("=-'a;\t", repeat=n)}
    assert {original(cell(text)) for text in texts} == texts
    assert all(original(cell(text)) == text for text in texts)
    assert len({cell(text) for text in texts}) == len(texts)


def test_all_text_of_a_table_is_safe():
    table = pd.DataFrame({"id": ["=1+1", "a,b"], "-x": [-1, 2], "score": [None, 0.5]})
    text = spreadsheet.csv(table)
    assert list(csv.reader(io.StringIO(text))) == [["id", "'-x", "score"], ["'=1+1", "-1", ""], ["a,b", "2", "0.5"]]


ROWS = [["id", "group"], ["ä", "p 1"], ["=b", "p,2"]]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_are_read_as_spreadsheets_write_them(separator, encoding, end):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end).writerows([*ROWS[:2], ["", " "], ["'=b ", "p,2"], []])
    assert spreadsheet.rows(text.getvalue().encode(encoding)) == ROWS


@pytest.mark.parametrize("content", [b"id,group\n\xff,1\n", b"a," + b"a" * 200_000, b"\xff\xfea"])
def test_bytes_that_are_no_table(content):
    with pytest.raises(ValueError, match=r"\w"):
        spreadsheet.rows(content)


def test_another_encoding_is_told_with_what_to_do():
    with pytest.raises(ValueError, match=r"^it is neither in UTF-8 nor in UTF-16; save it as CSV UTF-8$"):
        spreadsheet.rows("id,group\n0,Müller\n".encode("cp1252"))


def test_columns_are_found_by_their_headings():
    called = {"id": ("id", "image"), "group": ("group", "patient_id"), "fold": ("fold",)}
    assert spreadsheet.columns(["Image", "ID", "Patient-ID"], called) == {"id": 1, "group": 2}
    assert spreadsheet.columns([], called) == {}
    with pytest.raises(ValueError, match="two columns id"):
        spreadsheet.columns(["id", "Id"], called)


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("a", "a"),
        ("A", None),
        ("a.png", "a"),
        ("x/a.nii.gz", "a"),
        ("a.seg", "a.seg"),
        ("b.1", "b.1"),
        ("b.2", None),
        ("p/1", "p/1"),
        ("C:\\q\\p\\1.png", "p/1"),
        ("q\\p\\2", None),
        ("e\u0301", "é"),
        (".png", None),
    ],
)
def test_a_cell_names_an_id(cell, found):
    assert spreadsheet.find(cell, spreadsheet.by_name(["a", "a.seg", "b.1", "p/1", "é"])) == found
