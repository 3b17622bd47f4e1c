"""Notes: what is said once for all tables, and what stays below its table."""

import pandas as pd

from sharp_unet_jax.report import notes
from sharp_unet_jax.report.table import Table


def table(name, provenance, note):
    return Table(name, name.upper(), provenance, pd.DataFrame({"a": [1]}), note)


def test_each_line_is_said_once_below_its_first_table():
    tables = [
        table("a", "How.", "Rule.\nOwn of a.\n**Warning.**"),
        table("b", "How.\nIt differs.", "Rule.\nOwn of b."),
        table("c", "How.", "Rule.\nHow."),
    ]
    assert notes.parts(tables) == [
        ("How these numbers came about", ["How.", "It differs."]),
        ("A", ["Rule.", "Own of a."]),
        ("B", ["Own of b."]),
    ]
    assert [notes.loud(each) for each in tables] == ["**Warning.**", "", ""]
    assert notes.parts([]) == []
