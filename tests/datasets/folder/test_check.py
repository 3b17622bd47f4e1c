"""All faults and notes of two folders at once."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import formats
from datasets.errors import DataError
from datasets.folder.check import check
from datasets.folder.scan import scan
from datasets.folder.settings import settings

BLOB = np.zeros((12, 10), np.uint8)
BLOB[3:8, 2:6] = 255
GREYS = BLOB.copy()
GREYS[0, 0] = 60


def test_all_faults_are_named_and_the_rest_is_there(with_masks: Callable[..., Path], save: Callable[..., None]) -> None:
    root = with_masks([BLOB] * 9)
    (root / "masks/1.png").write_bytes(b"no image")
    (root / "masks/2.png").unlink()
    (root / "images/3.png").unlink()
    save(root / "masks/4.png", BLOB[:5])
    save(root / "images/5.bmp", BLOB)
    save(root / "images/deep.tif", np.full((12, 10), np.nan, np.float32))
    save(root / "masks/deep.png", BLOB)
    checked = check(settings(images=root))
    assert checked.found is not None
    assert [pair.id for pair in checked.found.pairs] == ["0", "5", "6", "7", "8"]
    expected = (
        r"5\.bmp and 5\.png have the same name",
        r"no mask in .* for 2\.png; no image in .* for 3\.png",
        r"masks/1\.png: cannot be read",
        r"4\.png is 10x12 but its mask 4\.png is 10x5",
        r"deep\.tif: holds pixels that are not numbers",
    )
    assert len(checked.faults) == len(expected)
    for fault, pattern in zip(checked.faults, expected, strict=True):
        assert re.search(pattern, fault)


def test_what_scan_accepts_has_no_faults(with_masks: Callable[..., Path]) -> None:
    root = with_masks([BLOB, BLOB * 0, BLOB[::-1]])
    checked = check(settings(images=root))
    assert checked.faults == checked.notes == []
    assert checked.found == scan(settings(images=root))
    assert checked.kinds == {"PNG RGB": 3}


# Masks that are refused, and the classes with which they would not be.
REFUSED = {
    "three greys": ([np.repeat([0, 128, 255], 40).reshape(12, 10)] * 2, ("background", "value128", "value255")),
    "a few greys": ([BLOB, GREYS], ("background", "foreground")),
    "one label": ([BLOB // 255 * 3] * 2, ("background", "foreground")),
    "a label left out": ([BLOB // 255, BLOB // 85], ("background", "value1", "value3")),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_names_for_masks_that_are_refused(kind: str, with_masks: Callable[..., Path]) -> None:
    masks, names = REFUSED[kind]
    root = with_masks([np.asarray(mask, np.uint8) for mask in masks])
    checked = check(settings(images=root))
    assert len(checked.faults) == 1
    assert checked.suits == {"classes": names}
    assert checked.found.reading == scan(settings(images=root, classes=names)).reading
    assert check(settings(images=root, classes=names)).faults == []


def test_masks_that_cannot_be_read_are_shown_value_by_value(with_masks: Callable[..., Path]) -> None:
    numbers = np.arange(120, dtype=np.uint8).reshape(12, 10)
    checked = check(settings(images=with_masks([numbers, numbers])))
    assert len(checked.faults) == 1
    assert checked.suits == {}
    assert checked.found is not None
    np.testing.assert_array_equal(checked.found.reading.labels(checked.found.pairs[0].mask)[0], numbers)


def test_surprises(with_masks: Callable[..., Path]) -> None:
    soft = BLOB.copy()
    soft[0, :3] = 9, 20, 240
    root = with_masks([BLOB, soft])
    Image.open(root / "masks/0.png").save(root / "masks/0_mask.jpg", quality=100)
    (root / "masks/0.png").unlink()
    photo = Image.open(root / "images/1.png")
    exif = photo.getexif()
    exif[0x0112] = 6
    (root / "images/1.png").unlink()
    photo.save(root / "images/1.jpg", exif=exif)
    (root / "images/2.xcf").touch()
    grey, jpeg, turned, other = (
        next(note for note in check(settings(images=root)).notes if word in note)
        for word in ("greys", "JPEG", "EXIF", "format")
    )
    assert grey.startswith(("1 of 2", "2 of 2"))
    assert jpeg.startswith("1 masks")
    assert "1.jpg" in turned
    assert "2.xcf" in other
    assert formats.header([root / "images/1.jpg"]).rotated


def test_no_pairs_at_all_say_how_masks_are_named(with_masks: Callable[..., Path]) -> None:
    root = with_masks([BLOB] * 2)
    for index in range(2):
        (root / f"masks/{index}.png").rename(root / f"masks/{'xy'[index]}.png")
    checked = check(settings(images=root))
    assert checked.found is None
    assert "the first image is 0.png and the first mask x.png" in checked.faults[-1]


def test_files_that_all_failed_are_not_said_to_have_no_partner(with_masks: Callable[..., Path]) -> None:
    root = with_masks([BLOB[:5]] * 2)
    checked = check(settings(images=root))
    assert len(checked.faults) == 2
    assert all("they must be equal" in fault for fault in checked.faults)


def test_files_are_checked_as_the_proposed_settings_pair_them(with_masks: Callable[..., Path]) -> None:
    root = with_masks([BLOB] * 3)
    for index in range(3):
        (root / f"masks/{index}.png").rename(root / f"masks/{index}_lesion.png")
    checked = check(settings(images=root))
    (fault,) = checked.faults
    assert fault.endswith("or give --config.data.mask_suffix=_lesion, which pairs all 3")
    assert checked.suits == {"mask_suffix": "_lesion"}
    again = check(settings(images=root, mask_suffix="_lesion"))
    assert again.faults == []
    assert again.found == checked.found


def test_one_folder_of_all_files_is_checked_as_proposed(with_masks: Callable[..., Path]) -> None:
    root = with_masks([BLOB] * 3)
    for index in range(3):
        (root / f"images/{index}.png").rename(root / f"{index}.png")
        (root / f"masks/{index}.png").rename(root / f"{index}_seg.png")
    (root / "images").rmdir()
    (root / "masks").rmdir()
    checked = check(settings(images=root))
    assert len(checked.faults) == 1
    assert checked.suits == {"mask_suffix": "_seg"}
    assert [pair.id for pair in checked.found.pairs] == ["0", "1", "2"]


def test_folders_that_may_be_patients_are_noted(with_masks: Callable[..., Path]) -> None:
    root = with_masks([BLOB] * 3)
    for index in range(3):
        for kind in ("images", "masks"):
            (root / kind / f"p{index % 2}").mkdir(exist_ok=True)
            (root / kind / f"{index}.png").rename(root / kind / f"p{index % 2}" / f"{index}.png")
    note = "images lie in 2 folders of 1 to 2: if a folder is a patient, give --config.data.groups=folders"
    assert check(settings(images=root)).notes == [note]
    checked = check(settings(images=root, groups="folders"))
    assert checked.notes == checked.faults == []
    assert [pair.group for pair in checked.found.pairs] == ["p0", "p1", "p0"]


def test_masks_in_folders_may_be_classes(with_masks: Callable[..., Path]) -> None:
    root = with_masks([BLOB] * 2)
    for index, name in enumerate(("wall", "core")):
        (root / "masks" / name).mkdir()
        (root / f"masks/{index}.png").rename(root / "masks" / name / f"{index}.png")
    (note,) = check(settings(images=root)).notes
    assert note.endswith("if a folder is a class, give --config.data.class_files=core,wall")


def test_a_table_is_checked_and_noted(with_masks: Callable[..., Path]) -> None:
    root = with_masks([BLOB] * 3)
    lines = [f"images/{index}.png,masks/{index}.png,p{index // 2},x" for index in range(3)]
    (root / "t.csv").write_text("\n".join(["image,mask,group,extra", *lines, "images/9.png,masks/9.png,p9,x"]))
    checked = check(settings(table=root / "t.csv"))
    assert checked.faults == [f"{root / 't.csv'}: there is no file {root / 'images/9.png'}"]
    assert checked.notes == [f"{root / 't.csv'}: its columns extra are not read"]
    assert [pair.group for pair in checked.found.pairs] == ["p0", "p0", "p1"]
    assert checked.found.describe().startswith(f"3 images and masks, paired by the table {root / 't.csv'}; all 10x12")


def test_pictures_in_subfolders_are_noted(with_masks: Callable[..., Path], save: Callable[..., None]) -> None:
    root = with_masks([BLOB] * 3)
    save(root / "images/more/9.png", BLOB)
    assert check(settings(images=root)).notes == [f"{root / 'images'}: 1 pictures in its subfolders are not read"]


def test_a_damaged_table_of_groups_hides_no_other_fault(with_masks: Callable[..., Path]) -> None:
    root = with_masks([BLOB] * 3)
    (root / "masks/1.png").write_bytes(b"no image")
    (root / "groups.csv").write_text("name,patient\n")
    broken, table = check(settings(images=root, groups=root / "groups.csv")).faults
    assert "masks/1.png: cannot be read" in broken
    assert table.endswith("groups.csv: the first line must be 'id,group', not 'name,patient'")


def test_a_pattern_of_images_needs_masks(with_masks: Callable[..., Path]) -> None:
    root = with_masks([BLOB] * 3)
    with pytest.raises(DataError, match=r"images/\*\.png: is a pattern of images; give data\.masks, too"):
        check(settings(images=root / "images/*.png"))
