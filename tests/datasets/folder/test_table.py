"""Pairs from a CSV file: any paths, any order of columns, and one line for each fault."""

import unicodedata
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest

from datasets.errors import DataError
from datasets.folder import layout, pairs, table
from datasets.folder.settings import settings
from tests.datasets.folder.test_matching import touch


def written(root: Path, text: str) -> Path:
    path = root / "pairs.csv"
    path.write_bytes(text.encode())
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return touch(tmp_path, "x/1.png", "x/2.png", "y/1.nii.gz", "m/a.png", "m/b.png", "m/c.png")


def test_paths_ids_groups_and_folds(root: Path) -> None:
    path = written(
        root, f"Mask;ID;Scanner;Image;Group;Fold\nm/b.png;two;A;x/2.png;p;1\n{root}/m/a.png;one;B;x/1.png;q;0\n"
    )
    one, two = pairs.pairs(settings(table=path))
    assert (one.id, one.image, one.mask, one.group) == ("one", (root / "x/1.png",), (root / "m/a.png",), "q")
    assert (two.id, two.image, two.mask, two.group) == ("two", (root / "x/2.png",), (root / "m/b.png",), "p")
    assert table.notes(path) == [
        f"{path}: its columns Scanner are not read",
        f"{path}: its column fold is used with --config.split={path} --config.folds=2",
    ]
    assert pairs.describe(settings(table=path)) == f" and masks, paired by the table {path}"


def test_patients_are_groups(root: Path) -> None:
    path = written(root, "image,mask,patient\nx/1.png,m/a.png,p\nx/2.png,m/b.png,q\n")
    assert [pair.group for pair in pairs.pairs(settings(table=path))] == ["p", "q"]
    assert table.notes(path) == []


def test_a_mask_of_two_images_is_noted(root: Path) -> None:
    path = written(root, "image,mask\nx/1.png,m/a.png\nx/2.png,m/a.png\n")
    assert table.notes(path) == [f"{path}: {root}/m/a.png are masks of several images each: is that meant?"]


def test_an_id_is_the_images_name_where_the_table_has_none(root: Path) -> None:
    path = written(root, "image,mask\nx/2.png,m/b.png\ny/1.nii.gz,m/a.png\n")
    assert [pair.id for pair in pairs.pairs(settings(table=path))] == ["1", "2"]
    assert pairs.ids(settings(table=path)) == ["1", "2"]
    assert layout.paths(settings(table=path)) == [
        root / name for name in ("y/1.nii.gz", "m/a.png", "x/2.png", "m/b.png")
    ]


def test_paths_may_have_the_backslashes_of_windows(root: Path) -> None:
    path = written(root, "image,mask\nx\\1.png,m\\a.png\nx\\2.png,m/a.png\n")
    assert [pair.image[0] for pair in pairs.pairs(settings(table=path))] == [root / "x/1.png", root / "x/2.png"]
    assert table.notes(path) == [f"{path}: {root}/m/a.png are masks of several images each: is that meant?"]
    touch(root, "x\\1.png")
    assert root / "x\\1.png" in [pair.image[0] for pair in pairs.pairs(settings(table=path))], "a file may be called so"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,mask\nx/1.png,m/a.png\ny/1.nii.gz,m/b.png\n",
            "two images have the id 1; give each its own in a column id",
        ),
        ("id,image,mask\n1,x/1.png,m/a.png\n1,x/2.png,m/b.png\n", "two images have the id 1; remove one"),
        ("id,image,mask\n1,x/1.png,m/a.png\n2,x/1.png,m/b.png\n", r"1 and 2 are one image, .*/x/1\.png; remove one"),
        ("id,image,mask\n1,x/1.png,m/a.png\n2,m/../x/1.png,m/b.png\n", "1 and 2 are one image"),
        ("image,mask\nx/1.png,x/1.png\n", r"/x/1\.png: is image and mask at once"),
        ("image,mask\nx/3.png,m/a.png\n", r"there is no file .*/x/3\.png"),
        ("image,mask\nx/1.png,m/d.png\n", r"there is no file .*/m/d\.png"),
        ("image,mask\nx/1.png,\n", r"every line is an image and its mask, unlike 'x/1\.png,'"),
        ("picture,mask\nx/1.png,m/a.png\n", "first line must be 'image,mask', not 'picture,mask'"),
        ("image,mask,group\nx/1.png,m/a.png,p\nx/2.png,m/b.png,\n", "no group for 2; give each image one, or none"),
        ("image,mask\nx,m/a.png\n", r"/x: is no file, and no folder of one DICOM series"),
    ],
)
def test_errors(text: str, message: str, root: Path) -> None:
    path = written(root, text)
    with pytest.raises(DataError, match=message) as error:
        pairs.pairs(settings(table=path))
    assert "\n" not in str(error.value)
    faults: list[str] = []
    pairs.pairs(settings(table=path), faults)
    assert faults == [str(error.value)]


def test_a_table_stands_alone(root: Path) -> None:
    path = written(root, "image,mask,group\nx/1.png,m/a.png,p\n")
    for others, message in (
        ({"images": root}, r"leave out data\.images and data\.masks"),
        ({"groups": "folders"}, r"data\.groups=folders is for images in folders"),
        ({"class_files": ["core", "wall"]}, r"leave out data\.class_files"),
        ({"mask_suffix": "_mask"}, r"leave out data\.mask_suffix"),
        ({"groups": root / "groups.csv"}, r"has a column group, so leave out data\.groups"),
    ):
        with pytest.raises(DataError, match=message):
            pairs.pairs(settings(table=path, **others))


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: no such file; it should be a CSV file of 'image,mask' lines"):
        pairs.pairs(settings(table=tmp_path / "no.csv"))


@hypothesis.settings(max_examples=50, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    st.lists(
        st.tuples(st.sampled_from(["x/1.png", "x/2.png", "y/1.nii.gz"]), st.sampled_from("abcd")),
        min_size=1,
        max_size=4,
    )
)
def test_no_line_is_ever_dropped(root: Path, lines: list[tuple[str, str]]) -> None:
    path = written(root, "image,mask\n" + "".join(f"{image},m/{mask}.png\n" for image, mask in lines))
    try:
        found = pairs.pairs(settings(table=path))
    except DataError:
        return
    expected = sorted((root / image, root / f"m/{mask}.png") for image, mask in lines)
    assert sorted((*pair.image, *pair.mask) for pair in found) == expected


def test_accents_may_be_encoded_in_another_way_than_on_the_disk(tmp_path: Path) -> None:
    touch(tmp_path, unicodedata.normalize("NFD", "Müller/ä.png"), "m.png")
    path = written(tmp_path, f"image,mask\n{unicodedata.normalize('NFC', 'Müller/ä.png')},m.png\n")
    assert [row.image[0].exists() for row in table.rows(path)] == [True]


def test_the_home_of_nobody_is_a_name(tmp_path: Path) -> None:
    touch(tmp_path, "~nobodyx/1.png", "m.png")
    path = written(tmp_path, "image,mask\n~nobodyx/1.png,m.png\n")
    assert [row.image[0].exists() for row in table.rows(path)] == [True]
