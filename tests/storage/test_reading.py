"""JSON and Parquet files that are missing, damaged or of another kind: one line names each."""

import hashlib
import os
from typing import Annotated, NotRequired, TypedDict

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import reading


class Kind(TypedDict):
    a: Annotated[float, msgspec.Meta(ge=0, le=1)]
    b: list[str]
    c: NotRequired[dict[str, int]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"a.json is missing: call for help"),
        (b"", r"is damaged \(Input data was truncated\)"),
        (b'{"a": 1', r"is damaged \(Input data was truncated\)"),
        (b"\xff", r"is damaged \(JSON is malformed"),
        (b'"\xff"', r"is damaged"),
        (b"[" * 10**6, r"is damaged \(.*recursion"),
        (b"[]", r"is damaged \(Expected `object`, got `array`\): call for help"),
        (b"null", r"got `null`"),
        (b"1", r"got `int`"),
        (b"{}", r"missing required field `a`"),
        (b'{"a": 1, "b": null}', r"Expected `array`, got `null` - at `\$\.b`"),
        (b'{"a": 1.5, "b": []}', r"Expected `float` <= 1.0 - at `\$\.a`"),
        (b'{"a": NaN, "b": []}', r"is damaged \(JSON is malformed"),
        (b'{"a": 1e999, "b": []}', r"is damaged \(Number out of range"),
        (b'{"a": 1, "b": [], "c": {"d": "e"}}', r"Expected `int`, got `str` - at `\$\.c"),
    ],
)
def test_json_of_another_kind_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        reading.read_json(tmp_path / "a.json", Kind, remedy="call for help")
    assert "a.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_json_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1, "b": []}', encoding="utf-8-sig")
    assert reading.read_json(tmp_path / "a.json", Kind, remedy="") == {"a": 1, "b": []}


def test_json_keeps_what_its_kind_does_not_name(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1, "b": ["±"], "d": 0.1}', encoding="utf-8")
    found = reading.read_json(tmp_path / "a.json", Kind, remedy="")
    assert found == {"a": 1, "b": ["±"], "d": 0.1}


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_folder_or_a_pipe_is_no_file(tmp_path, make):
    make(tmp_path / "a")
    for read in (
        lambda path: reading.read_json(path, dict, remedy=""),
        lambda path: reading.read_table(path, {}, remedy=""),
    ):
        with pytest.raises(InputError, match=r"a is damaged \(it is no file\)"):
            read(tmp_path / "a")


def test_json_too_large_to_be_ours_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "record.json"
    path.touch()
    os.truncate(path, 2**34)
    with pytest.raises(InputError, match=r"record.json is damaged \(it is too large\): remedy"):
        reading.read_json(path, dict[str, str], remedy="remedy")
    with pytest.raises(InputError, match="too large"):
        reading.read_table(path, {}, remedy="remedy")


def test_other_bytes_than_those_recorded_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    assert reading.read_json(tmp_path / "a", dict, remedy="", sha256=digest) == {}
    (tmp_path / "a").write_bytes(b"{ }")
    with pytest.raises(InputError, match="its bytes are not those recorded"):
        reading.read_json(tmp_path / "a", dict, remedy="", sha256=digest)


COLUMNS = {"id": pa.string(), "count": pa.int64(), "score": pa.float64()}
TABLE = pd.DataFrame({"id": ["a", "b"], "count": [1, 2], "score": [0.5, np.nan]})


def test_a_table_is_read_with_narrower_integers_and_nan(tmp_path):
    TABLE.astype({"count": np.int32}).to_parquet(tmp_path / "t")
    found = reading.read_table(tmp_path / "t", COLUMNS, remedy="")
    pd.testing.assert_frame_equal(found, TABLE, check_dtype=False)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.drop(columns="score"), "it lacks the column score"),
        (TABLE.assign(score=["a", "b"]), "its column score is .*string, not double"),
        (TABLE.assign(count=[0.5, 1]), "its column count is double, not int64"),
        (TABLE.assign(id=["a", None]), "its column id has empty cells"),
    ],
)
def test_a_table_with_other_columns_is_named(tmp_path, table, message):
    table.to_parquet(tmp_path / "t")
    with pytest.raises(InputError, match=rf"t is damaged \({message}\): call for help"):
        reading.read_table(tmp_path / "t", COLUMNS, remedy="call for help")


def test_a_table_with_any_byte_changed_is_read_or_named_in_one_line(tmp_path):
    TABLE.to_parquet(tmp_path / "t")
    whole = (tmp_path / "t").read_bytes()
    rng, said = np.random.default_rng(0), []
    for _ in range(300):
        place, byte = rng.integers(len(whole)), rng.integers(256)
        (tmp_path / "t").write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
        try:
            reading.read_table(tmp_path / "t", COLUMNS, remedy="call for help")
        except InputError as error:
            said.append(str(error))
    assert len(said) > 20
    assert all("\n" not in line and "t is damaged" in line for line in said)


def test_notes_of_pandas_in_a_table_are_not_needed(tmp_path):
    table = pa.Table.from_pandas(TABLE).replace_schema_metadata({"pandas": "damaged"})
    pyarrow.parquet.write_table(table, tmp_path / "t")
    pd.testing.assert_frame_equal(reading.read_table(tmp_path / "t", COLUMNS, remedy=""), TABLE)


def test_a_lack_of_memory_is_not_called_damage(tmp_path, monkeypatch):
    TABLE.to_parquet(tmp_path / "t")
    monkeypatch.setattr(pyarrow.parquet, "read_table", lambda file: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        reading.read_table(tmp_path / "t", COLUMNS, remedy="")
