"""Images, masks and groups matched by file name."""

import os
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from datasets.files import DataError
from datasets.folder import pairs
from datasets.folder.pairs import Pair
from datasets.folder.settings import settings

ENDINGS = (
    "",
    "_mask",
    "_masks",
    "_segmentation",
    "_seg",
    "_label",
    "_labels",
    "-mask",
    ".seg",
    " gt",
    "_MASK",
    "_Mask",
)


def paired(images: Path, masks: Path) -> tuple[Pair, ...]:
    return pairs.pairs(settings(images=images, masks=masks))


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("ending", ENDINGS)
def test_endings_of_mask_names(ending: str, tmp_path: Path) -> None:
    images, masks = touch(tmp_path / "i", "Case 7.jpg"), touch(tmp_path / "m", f"case 7{ending}.png")
    (pair,) = paired(images, masks)
    assert (pair.id, pair.image[0].name, pair.mask[0].name) == ("Case 7", "Case 7.jpg", f"case 7{ending}.png")


stems = st.text(st.sampled_from("aA1é_-m"), min_size=1, max_size=4).filter(lambda stem: not pairs.ENDING.search(stem))


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(st.lists(stems, min_size=1, max_size=6, unique_by=str.casefold), st.randoms(use_true_random=False))
def test_case_accents_suffixes_and_endings_do_not_matter(stems: list[str], random: Any) -> None:
    mask_of = {
        stem: unicodedata.normalize(random.choice(("NFC", "NFD")), random.choice((stem, stem.upper())))
        + random.choice(ENDINGS)
        for stem in stems
    }
    with tempfile.TemporaryDirectory() as root:
        images = touch(
            Path(root, "i"), "._a.png", *(f"{stem}{random.choice(('.png', '.JPG', '.tif'))}" for stem in stems)
        )
        masks = touch(Path(root, "m"), ".DS_Store", *(f"{mask}.BMP" for mask in mask_of.values()))
        assert {pair.id: pair.mask[0].stem for pair in paired(images, masks)} == mask_of


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    st.sets(st.sampled_from(["a", "A", "a_mask", "a_mask_mask", "b", "a1", "a10", "a2"])),
    st.sets(st.sampled_from(["a", "a_mask", "a_Mask_mask", "a1_seg", "a1", "a10", "a2", "b"])),
)
def test_no_file_is_ever_dropped(image_stems: set[str], mask_stems: set[str]) -> None:
    with tempfile.TemporaryDirectory() as root:
        images, masks = (
            touch(Path(root, name), *(f"{stem}.png" for stem in stems))
            for name, stems in (("i", image_stems), ("m", mask_stems))
        )
        try:
            found = paired(images, masks)
        except DataError:
            return
    assert len(found) == len(image_stems) == len(mask_stems)
    assert {pair.image[0].stem for pair in found} == image_stems
    assert {pair.mask[0].stem for pair in found} == mask_stems


def test_an_image_may_be_named_like_a_mask(tmp_path: Path) -> None:
    images, masks = (touch(tmp_path / kind, "a_seg.png", "b.png") for kind in ("i", "m"))
    assert [(pair.id, pair.mask[0].name) for pair in paired(images, masks)] == [
        ("a_seg", "a_seg.png"),
        ("b", "b.png"),
    ]
    assert len(paired(touch(tmp_path / "i", "a.png"), touch(tmp_path / "m", "a_mask.png"))) == 3


def test_order_is_natural(tmp_path: Path) -> None:
    names = [f"{stem}.png" for stem in ("10", "2", "1b", "1", "b1", "a", "01")]
    found = paired(touch(tmp_path / "i", *names), touch(tmp_path / "m", *names))
    assert [pair.id for pair in found] == ["01", "1", "1b", "2", "10", "a", "b1"]


def test_real_names_with_endings(real_data: Path) -> None:
    manual = real_data / "manual"
    found = paired(manual / "ISIC2018_Task1-2_Training_Input", manual / "ISIC2018_Task1_Training_GroundTruth")
    assert len(found) == 300
    assert all(pair.mask[0].stem == f"{pair.image[0].stem}_segmentation" for pair in found)


def test_groups(tmp_path: Path) -> None:
    table = tmp_path / "groups.csv"
    table.write_text("\ufeffid,group\r\n2, p2\r\n0,p1\r\n\r\n1,p2\r\n", encoding="utf-8")  # written by Excel
    assert pairs.groups(table, ["0", "1", "2"]) == {"0": "p1", "1": "p2", "2": "p2"}


def test_groups_meet_ids_however_accents_and_spaces_are_written(tmp_path: Path) -> None:
    table, apart = tmp_path / "groups.csv", unicodedata.normalize("NFD", "été")
    table.write_text("id,group\nété,a\n3,b\n", encoding="utf-8")
    assert pairs.groups(table, [apart, "3 "]) == {apart: "a", "3 ": "b"}


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"a\nb.png"])
def test_a_name_that_is_no_text_is_refused(name: bytes, tmp_path: Path) -> None:
    images, masks = touch(tmp_path / "i", "0.png"), touch(tmp_path / "m", "0.png")
    for folder in (images, masks):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).touch()
    with pytest.raises(DataError, match=r"/i: the name 'caf\\udce9\.png' is|/i: the name 'a\\nb\.png' is") as error:
        paired(images, masks)
    assert str(error.value).isprintable()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        pairs.folders(settings(images=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"id,group\n0,a\n", "no group for 1, 2; add a line"),
        (b"id,group\n0,a\n1,a\n2,b\n3,b\n2.png,b\n", r"no image is called 2\.png, 3 "),
        (b"image,patient\n0,a\n1,a\n2,b\n", "first line must be 'id,group', not 'image,patient'"),
        (b"", "first line must be 'id,group', not ''"),
        (b"id,group\n0,a\n1\n2,b\n", "every line is an id and its group, unlike '1'"),
        (b"id,group\n0,a\n1,a\n2,b\n1,b\n", "1 is in group a and in group b"),
        (b"id,group\n0,\xff\xfe\n", "cannot be read as a CSV file"),
        (b"id,group\n0,a\x00\n1,a\n2,b\n", r"unlike '0,a\\x00'"),
        (b"id,group\n0,a\n\x1b[2J,a\n2,b\n", r"unlike '\\x1b\[2J,a'"),
        (b'id,group\n0,"a\n1",a\n2,b\n', r"unlike '0,a\\n1,a'"),
        ("id,group\n0,a\n".encode("utf-16"), "cannot be read as a CSV file"),
        ("id,group\n0,a\n".encode("utf-16-le"), r"first line must be 'id,group', not 'i\\x00d"),
        (b"id\tgroup\n0\ta\n", r"first line must be 'id,group', not 'id\\tgroup'"),
        (b"id\n0\n", "first line must be 'id,group', not 'id'"),
        (b"PK\x03\x04\x14\x00", r"first line must be 'id,group', not 'PK\\x03"),
        (b"id,group\n0," + b"a" * 200_000 + b"\n", "cannot be read as a CSV file"),
    ],
)
def test_errors_of_groups(table: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_bytes(table)
    with pytest.raises(DataError, match=message) as error:
        pairs.groups(tmp_path / "groups.csv", ["0", "1", "2"])
    assert str(error.value).startswith(str(tmp_path / "groups.csv"))
    assert str(error.value).isprintable()


def test_a_table_of_groups_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "groups.csv")
    with pytest.raises(DataError, match=r"groups\.csv: is no file"):
        pairs.groups(tmp_path / "groups.csv", ["0"])
