"""Folds in a file of the user's: every form gives the same folds, and what is wrong is one line."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from sharp_unet_jax.data import split_file
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import spreadsheet

IDS = ["a", "b", "c", "d", "e", "f"]
FOLDS = {"c": 1, "a": 2, "b": 2, "d": 10, "e": 1, "f": 10}  # the fold called 10 is the last one
EXPECTED = [[2, 4], [0, 1], [3, 5]]


def write(path: Path, content) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def cells(*repeats):
    """Return folds.json with the test images of each fold of each repeat."""
    listed = [
        {"repeat": repeat, "fold": fold, "validation": [], "test": list(test)}
        for repeat, tests in enumerate(repeats)
        for fold, test in enumerate(tests)
    ]
    return {"group_of": {name: name for name in IDS}, "folds": listed}


def csv(rows, header="id,fold"):
    return "\n".join([header, *rows]) + "\n"


LINES = [f"{name},{fold}" for name, fold in FOLDS.items()]
FORMS = {
    "own.csv": csv(LINES),
    "excel.csv": "\ufeff" + csv([f" {line.replace(',', ' , ')} ,ignored" for line in LINES], "id,fold,hospital") + "\n",
    "german.csv": csv([line.replace(",", ";") for line in LINES], "ID;Fold"),
    "with_suffix.csv": csv(
        [f"images/{name}.png,{name}_mask.png,{fold}" for name, fold in FOLDS.items()], "Image,Mask,FOLD"
    ),
    "splits_final.json": [{"train": ["x"], "val": list(test)} for test in ("ec", "ab", "fd")],
    "own.json": FOLDS,
    "text.json": {name: str(fold) for name, fold in FOLDS.items()},
    "words.csv": csv(f"{name},{ {1: 'first', 2: 'second', 10: 'third'}[fold] }" for name, fold in FOLDS.items()),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_without_repeats_holds_for_each(tmp_path, name):
    found = split_file.tests(write(tmp_path / name, FORMS[name]), IDS, folds=3, repeats=2)
    assert list(found) == [(repeat, fold) for repeat in range(2) for fold in range(3)]
    assert [test.tolist() for test in found.values()] == EXPECTED * 2
    assert all(test.dtype == np.int64 for test in found.values())


def test_ids_may_come_from_a_table_that_spreadsheets_do_not_run(tmp_path):
    ids = ["=a", "-b-", "'@c", "d"]
    own = write(tmp_path / "own.csv", csv(f"{spreadsheet.cell(name)},{fold}" for fold, name in enumerate(ids)))
    found = split_file.tests(own, ids, folds=4, repeats=1)
    assert [test.tolist() for test in found.values()] == [[0], [1], [2], [3]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("splits_final.json", [{"train": [], "val": ["case-1", "flat"]}, {"train": [], "val": ["case-2"]}]),
        ("own.json", {"case-1": 0, "case-2": 1, "flat": 0}),
        ("own.csv", csv(["case-1.nii.gz,0", "flat.png,0", "case-2.nii.gz,1"])),
        ("slices.csv", csv(["case-1-000,0", "case-1-001,0", "flat,0", "case-2-000,1", "case-2-1000,1"])),
    ],
)
def test_a_volume_stands_for_its_slices(tmp_path, name, content):
    ids = ["case-1-000", "case-1-001", "flat", "case-2-000", "case-2-1000"]
    found = split_file.tests(write(tmp_path / name, content), ids, folds=2, repeats=1)
    assert [test.tolist() for test in found.values()] == [[0, 1, 2], [3, 4]]


def test_a_slice_beside_its_volume_is_refused(tmp_path):
    path = write(tmp_path / "own.json", {"case": 0, "case-001": 1})
    with pytest.raises(InputError, match="'case-001' is there 2 times"):
        split_file.tests(path, ["case-000", "case-001"], folds=2, repeats=1)


def test_an_image_is_no_volume_of_others(tmp_path):
    path = write(tmp_path / "own.json", {"case": 0, "case-001": 1})
    found = split_file.tests(path, ["case", "case-001"], folds=2, repeats=1)
    assert [test.tolist() for test in found.values()] == [[0], [1]]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_repeats_are_kept_apart(tmp_path, kind):
    repeats = ["ab", "cd", "ef"], ["fa", "bc", "de"]
    lines = [
        f"{repeat},{name},{fold}"
        for repeat, tests in enumerate(repeats)
        for fold, test in enumerate(tests)
        for name in test
    ]
    content = csv(lines, "repeat,id,fold") if kind == "csv" else cells(*repeats)
    path = write(tmp_path / f"own.{kind}", content)
    found = split_file.tests(path, IDS, folds=3, repeats=2)
    assert found[1, 0].tolist() == [0, 5]
    assert list(split_file.tests(path, IDS, folds=3, repeats=1)) == [(0, 0), (0, 1), (0, 2)]
    with pytest.raises(InputError, match="set repeats=2 or less, the number of repeats in it, instead of 3"):
        split_file.tests(path, IDS, folds=3, repeats=3)


def test_images_that_no_fold_of_a_folds_json_tests_are_known(tmp_path):
    found = split_file.tests(write(tmp_path / "folds.json", cells(["fb"])), IDS, folds=1, repeats=1)
    assert found[0, 0].tolist() == [1, 5]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("own.csv", csv(LINES[1:]), "no fold for 1 of the 6 images, such as 'c'"),
        ("own.csv", csv([f"01{LINES[0][1:]}", *LINES[1:]]), "such as 'c'; it names '01', which no image is called"),
        ("own.csv", csv([*LINES, "x,1", "y,1"]), r"the data set has no image 'x' \(2 such ids\)"),
        ("own.csv", csv([*LINES, "a,1"]), "'a' is there 2 times; an image has one fold in a repeat"),
        ("own.csv", csv([*LINES[:3], "d,1", "e,1", "f,1"]), "set folds=2, the number of folds in it, instead of 3"),
        ("own.csv", csv(["a,"]), "the line 'a,' has no fold"),
        ("own.csv", csv(["a"]), "the line 'a' has no fold"),
        ("own.csv", csv(["1,a,0", "2,b,0"], "repeat,id,fold"), "'b' has a fold in one repeat and none in another"),
        ("own.csv", csv(LINES, "name,fold"), "'name,fold' does not name the columns id and fold: give a CSV file of"),
        ("own.csv", "", "does not name the columns id and fold"),
        ("own.json", {**FOLDS, "a": 1.5}, r"own.json is damaged \(.*\): give a CSV file of"),
        ("own.json", "[1, 2]", "own.json is damaged"),
        ("own.json", [{"train": ["a"]}], "own.json is damaged"),
        ("own.json", [{"val": ["a", "b"]}, {"val": ["b", "c"]}, {"val": []}], "'b' is there 2 times"),
        ("own.csv", csv(LINES, "id,id"), "does not name the columns|two columns id"),
        ("own.json", "{", "own.json is damaged"),
        ("own.json", {"folds": [{"repeat": 0, "fold": 0}]}, r"own.json is damaged \(.*test"),
        ("own.json", cells(["ab", "", "cdef"]), "fold 1 has no images"),
        ("own.json", cells(["ab", "bc", "def"]), "'b' is there 2 times"),
        ("own.json", cells(["ab", "cd", "efx"]), "the data set has no image 'x'"),
        ("own.json", {}, "no fold for 6 of the 6 images"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(tmp_path, name, content, line):
    path = write(tmp_path / name, content)
    with pytest.raises(InputError, match=line) as error:
        split_file.tests(path, IDS, folds=3, repeats=1)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_may_be_a_misspelling():
    with pytest.raises(InputError, match="split: there is no file 'author'; say folds or authors, or give a CSV file"):
        split_file.tests(Path("author"), IDS, folds=3, repeats=1)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "own.csv").write_bytes(b"id,fold\n\xff\xfe,1\n")
    with pytest.raises(InputError, match="cannot be read as a CSV file"):
        split_file.tests(tmp_path / "own.csv", IDS, folds=3, repeats=1)


@pytest.mark.parametrize("form", ["by name", "nnU-Net", "folds.json"])
def test_accents_may_be_encoded_in_another_way(tmp_path, form):
    ids = [unicodedata.normalize("NFD", name) for name in ("ä", "ö", "ü")]
    here = [unicodedata.normalize("NFC", name) for name in ids]
    content = {
        "by name": dict(zip(here, (0, 1, 2), strict=True)),
        "nnU-Net": [{"train": [], "val": [name]} for name in here],
        "folds.json": {"folds": [{"repeat": 0, "fold": fold, "test": [name]} for fold, name in enumerate(here)]},
    }[form]
    found = split_file.tests(write(tmp_path / "s.json", content), ids, folds=3, repeats=1)
    assert [found[0, fold].tolist() for fold in range(3)] == [[0], [1], [2]]
