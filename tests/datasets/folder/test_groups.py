"""The group of each image: from tables as spreadsheets write them, and from folders."""

import os
import unicodedata
from pathlib import Path

import pytest

from datasets.errors import DataError
from datasets.folder import groups, pairs
from datasets.folder.settings import settings

TABLE = "id,group\n0,p1\n1,p2\n2,p2\n"
# The same table as other programs write it.
WRITTEN = {
    "semicolons": TABLE.replace(",", ";").encode(),
    "tabs": TABLE.replace(",", "\t").encode(),
    "UTF-16 of Excel": TABLE.replace(",", "\t").encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + TABLE.encode("utf-16-be"),
    "a line that names the separator": b"sep=;\r\n" + TABLE.replace(",", ";").encode(),
    "Excel's byte-order mark": TABLE.encode("utf-8-sig"),
    "capitals": TABLE.replace("id,group", "ID,Group").encode(),
    "other headings": TABLE.replace("id,group", "Image,Patient ID").encode(),
    "names with suffix": b"id,group\n0.png,p1\n1.nii.gz,p2\n2.PNG,p2\n",
    "paths": b"image,group\nimages/0.png,p1\nC:\\data\\1.png,p2\n./2.png,p2\n",
    "another order, and more columns": b"age,group,sex,id\n30,p1,f,0\n,p2,,1\n50,p2,m,2\n",
    "empty lines": b"id,group\n0,p1\n,\n1,p2\n2,p2\n,\n,\n",
    "quotes": b'"id","group"\n"0","p1"\n"1","p2"\n"2","p2"\n',
    "a line twice": TABLE.encode() + b"2,p2\n",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_table_as_spreadsheets_write_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_bytes(WRITTEN[name])
    assert groups.groups(tmp_path / "groups.csv", ["0", "1", "2"]) == {"0": "p1", "1": "p2", "2": "p2"}


def test_columns_that_are_not_read_are_noted(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("ID;Group;Age;Sex\n0;p1;20;f\n")
    assert groups.notes(tmp_path / "groups.csv") == [f"{tmp_path / 'groups.csv'}: its columns Age, Sex are not read"]
    assert groups.notes(None) == groups.notes(groups.FOLDERS) == []


def test_a_group_is_one_however_its_accents_are_encoded(tmp_path: Path) -> None:
    """Tables and folders of macOS have letters of two characters, those of other systems of one."""
    one, two = (unicodedata.normalize(form, "Zo\u00eb") for form in ("NFC", "NFD"))
    (tmp_path / "groups.csv").write_text(f"id,group\n0,{one}\n1,{two}\n", encoding="utf-8")
    assert groups.groups(tmp_path / "groups.csv", ["0", "1"]) == {"0": one, "1": one}
    for kind in ("images", "masks"):
        for path in (tmp_path / kind / one / "a.png", tmp_path / kind / two / "b.png"):
            path.parent.mkdir(parents=True)
            path.touch()
    assert {pair.group for pair in pairs.pairs(settings(images=tmp_path, groups="folders"))} == {one}
    lines = (f"images/{name}/{file}.png,masks/{name}/{file}.png,{name}" for name, file in ((one, "a"), (two, "b")))
    (tmp_path / "pairs.csv").write_text("\n".join(("image,mask,group", *lines)), encoding="utf-8")
    assert {pair.group for pair in pairs.pairs(settings(table=tmp_path / "pairs.csv"))} == {one}
    assert groups.alike(tmp_path, [one, two]) == []


def test_groups_that_may_be_one_are_noted(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("id,group\n0,Patient 1\n1,patient  1\n2,patient 11\n3,10\n4,7\n5,07\n6,7.0\n7,1\n")
    assert groups.notes(table) == [
        f"{table}: 'Patient 1', 'patient  1', '07', '7' and 1 more are different groups: if some are one, write it in "
        "one way"
    ]
    for kind in ("images", "masks"):
        for name in ("P1/a.png", "p1/b.png", "p2/c.png"):
            path = tmp_path / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    note = "'P1', 'p1' are different groups: if some are one, write it in one way"
    given = settings(images=tmp_path / "images", masks=tmp_path / "masks", groups="folders")
    assert pairs.notes(given) == [f"{tmp_path / 'images'}: {note}"]
    (tmp_path / "pairs.csv").write_text("image,mask,group\nimages/P1/a.png,masks/P1/a.png,P1\na,b,p1\n")
    assert pairs.notes(settings(table=tmp_path / "pairs.csv")) == [f"{tmp_path / 'pairs.csv'}: {note}"]


def test_an_id_with_a_dot_is_not_taken_for_a_suffix(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("id,group\na.seg,p1\na,p2\n")
    assert groups.groups(tmp_path / "groups.csv", ["a", "a.seg"]) == {"a": "p2", "a.seg": "p1"}


def test_an_id_with_folders_is_matched_whole(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("id,group\nP1/1.png,p1\nC:\\data\\P2\\1.png,p2\n")
    assert groups.groups(tmp_path / "groups.csv", ["P1/1", "P2/1"]) == {"P1/1": "p1", "P2/1": "p2"}


def test_slices_name_their_volume(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("id,group\ncase-000,p1\ncase-001,p1\nflat,p2\n")
    assert groups.groups(tmp_path / "groups.csv", ["case", "flat"]) == {"case": "p1", "flat": "p2"}
    (tmp_path / "groups.csv").write_text("id,group\ncase-000,p1\ncase-001,p3\nflat,p2\n")
    with pytest.raises(DataError, match="case-001 is in group p1 and in group p3"):
        groups.groups(tmp_path / "groups.csv", ["case", "flat"])


def test_folders_are_groups(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        for name in ("a/1.png", "a/left/2.png", "b/3.png"):
            path = tmp_path / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    given = settings(images=tmp_path, groups="folders")
    assert {pair.id: pair.group for pair in pairs.pairs(given)} == {"1": "a", "2": "a", "3": "b"}
    assert groups.groups(given.groups, ["1", "2", "3"]) == {}


def test_folders_where_there_are_none(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "1.png").touch()
    with pytest.raises(DataError, match=r"data\.groups=folders, and 1 lie in none below it"):
        pairs.pairs(settings(images=tmp_path, groups="folders"))


def test_groups(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("\ufeffid,group\r\n2, p2\r\n0,p1\r\n\r\n1,p2\r\n", encoding="utf-8")  # written by Excel
    assert groups.groups(table, ["0", "1", "2"]) == {"0": "p1", "1": "p2", "2": "p2"}


def test_groups_meet_ids_however_accents_and_spaces_are_written(tmp_path: Path) -> None:
    table, apart = tmp_path / "groups.csv", unicodedata.normalize("NFD", "été")
    table.write_text("id,group\nété,a\n3,b\n", encoding="utf-8")
    assert groups.groups(table, [apart, "3 "]) == {apart: "a", "3 ": "b"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"id,group\n0,a\n", "no group for 1, 2; add a line"),
        (
            b"id,group\n0,a\n10,b\n01,b\n",
            "no group for 1, 2; add a line for each image; its lines name 01, 10, which no image is called",
        ),
        (b"id,group\n0,a\n1,a\n2,b\n3,b\n4.png,b\n", r"no image is called 3, 4\.png "),
        (b"name,patient\n0,a\n1,a\n2,b\n", "first line must be 'id,group', not 'name,patient'"),
        (b"id,case\n0,a\n1,a\n2,b\n", "first line must be 'id,group', not 'id,case'"),
        (b"id,group,Group\n0,a,b\n", "it has two columns group"),
        (b"id,group\n0,a\n1,a\n2,b\n1.png,b\n", r"1\.png is in group a and in group b"),
        (b"", "first line must be 'id,group', not ''"),
        (b"id,group\n0,a\n1\n2,b\n", "every line is an id and its group, unlike '1'"),
        (b"id,group\n0,a\n1,a\n2,b\n1,b\n", "1 is in group a and in group b"),
        (b"id,group\n0,\xff\xfe\n", r"cannot be read as a CSV file \(it is neither in UTF-8 .*; save it as CSV UTF-8"),
        (b"id,group\n0,a\x00\n1,a\n2,b\n", r"unlike '0,a\\x00'"),
        (b"id,group\n0,a\n\x1b[2J,a\n2,b\n", r"unlike '\\x1b\[2J,a'"),
        (b'id,group\n0,"a\n1",a\n2,b\n', r"unlike '0,a\\n1,a'"),
        ("id,group\n0,a\n".encode("utf-16-le"), r"first line must be 'id,group', not 'i\\x00d"),
        (b"id group\n0 a\n", "first line must be 'id,group', not 'id group'"),
        (b"id\n0\n", "first line must be 'id,group', not 'id'"),
        (b"PK\x03\x04\x14\x00", r"first line must be 'id,group', not 'PK\\x03"),
        (b"id,group\n0," + b"a" * 200_000 + b"\n", "cannot be read as a CSV file"),
    ],
)
def test_errors_of_groups(table: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_bytes(table)
    with pytest.raises(DataError, match=message) as error:
        groups.groups(tmp_path / "groups.csv", ["0", "1", "2"])
    assert str(error.value).startswith(str(tmp_path / "groups.csv"))
    assert str(error.value).isprintable()


def test_a_table_of_groups_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "groups.csv")
    with pytest.raises(DataError, match=r"groups\.csv: is no file"):
        groups.groups(tmp_path / "groups.csv", ["0"])
