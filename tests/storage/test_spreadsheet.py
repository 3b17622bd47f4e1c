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
