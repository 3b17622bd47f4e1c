"""The files of a folder: which are read, and what is said of the others."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from datasets.errors import DataError
from datasets.folder import pairs, walk
from datasets.folder.settings import settings
from tests.datasets.folder.test_matching import touch


def listed(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in walk.listing(root)]


def test_pictures_beside_folders_are_read_alone(tmp_path: Path) -> None:
    touch(tmp_path, "10.png", "9.tif", "more/1.png", "notes.txt", ".hidden.png", "x.nii.gz")
    assert listed(tmp_path) == ["9.tif", "10.png", "x.nii.gz"]
    assert walk.notes(tmp_path, []) == [
        f"{tmp_path}: notes.txt are of no format that is read, and are skipped",
        f"{tmp_path}: 1 pictures in its subfolders are not read",
    ]


def test_folders_without_pictures_are_walked(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "p10/1.png",
        "p9/2.png",
        "p9/deep/er/3.bmp",
        "p9/.git/4.png",
        "__MACOSX/5.png",
        "p9/@eaDir/2.png/SYNOPHOTO_THUMB_M.jpg",
        "#recycle/6.png",
        "readme.md",
        "p9/a.csv",
    )
    assert listed(tmp_path) == ["p9/2.png", "p9/deep/er/3.bmp", "p10/1.png"]
    assert walk.notes(tmp_path, []) == [
        f"{tmp_path}: p9/a.csv, readme.md are of no format that is read, and are skipped"
    ]


def test_links_to_folders_are_followed_but_not_around(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.png", "images/a/2.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "images/b")
    os.symlink(tmp_path / "images", tmp_path / "images/a/around")
    assert listed(tmp_path / "images") == ["a/2.png", "b/1.png"]


def test_dicom_without_a_suffix_is_a_picture(tmp_path: Path) -> None:
    touch(tmp_path, "IM2", "readme")
    (tmp_path / "IM1").write_bytes(b"\0" * 128 + b"DICM")
    assert listed(tmp_path) == ["IM1"]


def test_outer_folders_that_all_share_are_no_part_of_names(tmp_path: Path) -> None:
    touch(tmp_path, "set/images/p1/1.png", "set/images/p2/1.nii.gz")
    found = walk.named(tmp_path, walk.listing(tmp_path), series=True)
    assert [(one.folders, one.stem) for one in found] == [(("p1",), "1"), (("p2",), "1")]
    kept = walk.named(tmp_path, walk.listing(tmp_path), series=True, keep=("Images",))
    assert kept[0].folders == ("images", "p1")


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "a/notes.txt")
    with pytest.raises(DataError, match=r"holds no images \(\.png .*\)$"):
        walk.listing(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stack.tif", r"is a file, not a folder; name its folder, a pattern of files such as .*/\*\.tif, or pairs"),
        ("RoiSet.zip", r"is a file that is not read; masks are pictures in a folder, a COCO file or LabelMe files"),
        ("a.geojson", r"is a file that is not read"),
        ("nowhere", "no such folder; check the path"),
    ],
)
def test_a_file_where_a_folder_is_expected(name: str, message: str, tmp_path: Path) -> None:
    touch(tmp_path, "stack.tif", "RoiSet.zip", "a.geojson", "images/1.png")
    for given in (
        settings(images=tmp_path / name),
        settings(images=tmp_path / name, masks=tmp_path / "images"),
        settings(images=tmp_path / "images", masks=tmp_path / name),
    ):
        with pytest.raises(DataError, match=rf"^{tmp_path / name}: {message}"):
            pairs.pairs(given)


def test_a_name_that_is_no_text_is_a_fault_and_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b\nc/2.png")
    paths = walk.listing(tmp_path)
    (fault,) = walk.no_text(tmp_path, paths)
    assert "the name 'b\\nc' is not UTF-8, or no text" in fault
    assert [one.stem for one in walk.named(tmp_path, paths, series=True)] == ["1"]


def test_a_pattern_stands_for_the_pictures_that_it_fits(tmp_path: Path) -> None:
    """PH2 has a third folder beside those of image and lesion."""
    touch(tmp_path, *(f"P{n}/P{n}_image/P{n}.png" for n in (10, 9)), "P9/P9_roi/P9_1.png", "P9/P9_image/readme.txt")
    pattern = tmp_path / "*/*_image/*"
    assert [path.name for path in walk.listing(pattern)] == ["P9.png", "P10.png"]
    assert walk.top(pattern) == tmp_path
    assert walk.notes(pattern, []) == []
    with pytest.raises(DataError, match=r"_seg/\*: holds no images"):
        walk.listing(tmp_path / "*/*_seg/*")
    (tmp_path / "a[1]").mkdir()
    touch(tmp_path / "a[1]", "x.png")
    assert walk.top(tmp_path / "a[1]") == tmp_path / "a[1]", "a folder may have such a name"
    assert [path.name for path in walk.listing(tmp_path / "a[1]")] == ["x.png"]
    assert [path.name for path in walk.listing(tmp_path / "a[1]/*.png")] == ["x.png"]
    with pytest.raises(DataError, match=r"P\*/\*_image: fits only folders; .* such as .*P\*/\*_image/\*\.png$"):
        walk.listing(tmp_path / "P*/*_image")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "p0/1.png", "p1/1.png")
    scandir = os.scandir

    def refusing(path: str | os.PathLike[str]) -> Any:
        if Path(path).name == "p1":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"p1: cannot be read \(Permission denied\); check"):
        walk.listing(tmp_path)
    touch(tmp_path, "0.png")  # now the folders are not read
    assert listed(tmp_path) == ["0.png"]
    assert walk.notes(tmp_path, []) == [
        f"{tmp_path / 'p1'}: cannot be read (Permission denied); check its permissions and its disk",
        f"{tmp_path}: 1 pictures in its subfolders are not read",
    ]


def test_a_link_to_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "p0/1.png")
    (tmp_path / "p1").symlink_to("/not/mounted/p1")
    with pytest.raises(DataError, match=r"p1: is a link to /not/mounted/p1, which is not there; mount it"):
        walk.listing(tmp_path)


def test_folders_may_be_called_like_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "p0.dcm/1.png", "p1.png/2.png")
    assert listed(tmp_path) == ["p0.dcm/1.png", "p1.png/2.png"]


def test_masks_below_the_folder_of_images_are_no_unread_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "masks/1.png", "old/1.png")
    notes = pairs.notes(settings(images=tmp_path, masks=tmp_path / "masks"))
    assert notes == [f"{tmp_path}: 1 pictures in its subfolders are not read"]
