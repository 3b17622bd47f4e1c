"""Two folders scanned: what is found, and faults collected or raised."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from datasets.errors import DataError
from datasets.folder.scan import scan, scan_pairs
from datasets.folder.settings import settings

BLOB = np.zeros((12, 10), np.uint8)
BLOB[3:8, 2:6] = 255
MASKS = BLOB, BLOB[::-1], BLOB[:, ::-1]


def test_a_set_is_described_in_a_paragraph(with_masks: Callable[..., Path], save: Callable[..., None]) -> None:
    root = with_masks(MASKS)
    save(root / "masks" / "0.png", BLOB * 0)
    for kind in ("images", "masks"):
        save(root / kind / "1.png", np.zeros((20, 30), np.uint8))
    assert scan(settings(images=root)).describe() == (
        f"3 images in {root}/images with masks in {root}/masks, paired by name; 10x12 to 30x20 (width x height), RGB; "
        "mask values: 0 is background, 255 is foreground; 2 of the masks are empty."
    )


def test_masks_that_ask_to_show_0_as_white_are_told_of(tmp_path: Path, save: Callable[..., None]) -> None:
    """Their tag does not decide: tifffile writes it for every mask of one bit, whatever the bits mean."""
    save(tmp_path / "images/a.png", BLOB)
    save(tmp_path / "masks/a.tif", BLOB > 0)
    found = scan(settings(images=tmp_path))
    assert found.read(0)[1][0].tolist() == (BLOB > 0).tolist()
    assert found.describe().endswith(
        "; 1 of the masks ask to show 0 as white, and are read by their numbers: if 0 is an object, name the classes "
        "with their values."
    )
    named = scan(settings(images=tmp_path, classes=("background=255", "object=0")))
    assert named.read(0)[1][0].tolist() == (BLOB == 0).tolist()
    assert "as white" not in named.describe()


def test_faults_are_collected_or_the_first_is_raised(with_masks: Callable[..., Path]) -> None:
    root = with_masks(MASKS)
    Image.fromarray(BLOB[:5]).save(root / "masks" / "0.png")
    (root / "masks" / "2.png").write_text("no image")
    with pytest.raises(DataError, match=r"0\.png is 10x12 but its mask 0\.png is 10x5"):
        scan_pairs(settings(images=root))
    faults: list[str] = []
    scanned, indices = scan_pairs(settings(images=root), faults)
    assert [one.pair.id for one in scanned] == ["1"]
    assert len(faults) == 2
    assert indices
    assert scanned[0].mask.values.tolist() == [0, 255]
    assert scanned[0].header.size == scanned[0].mask.size == (10, 12)


def test_the_iteration_can_be_tracked(with_masks: Callable[..., Path]) -> None:
    root, seen = with_masks(MASKS), []
    scan_pairs(settings(images=root), track=lambda items, total: seen.append(total) or items)
    assert seen == [3]


def turned(root: Path, orientation: int, size: tuple[int, int]) -> None:
    """Write an image with EXIF data, and a mask without."""
    photo, (width, height) = Image.new("RGB", size), size
    exif = photo.getexif()
    exif[0x0112] = orientation
    mask = np.zeros((height, width), np.uint8)
    mask[1:4, 1:6] = 255
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    photo.save(root / "images/a.jpg", exif=exif)
    Image.fromarray(mask).save(root / "masks/a.png")


@pytest.mark.parametrize(("orientation", "size"), [(3, (10, 8)), (2, (10, 8)), (6, (9, 9))])
def test_a_turn_that_keeps_the_size_is_asked_about(orientation: int, size: tuple[int, int], tmp_path: Path) -> None:
    turned(tmp_path, orientation, size)
    with pytest.raises(DataError, match=r"a\.jpg: its EXIF data ask to show it .* as stored, or as shown\?"):
        scan(settings(images=tmp_path))


@pytest.mark.parametrize(("orientation", "size"), [(1, (9, 9)), (6, (10, 8))])
def test_a_turn_that_the_size_of_the_mask_decides(orientation: int, size: tuple[int, int], tmp_path: Path) -> None:
    turned(tmp_path, orientation, size)
    assert scan(settings(images=tmp_path)).sizes[0] == size


def test_a_mask_that_is_turned_like_its_image(tmp_path: Path) -> None:
    turned(tmp_path, 3, (10, 8))
    mask = Image.open(tmp_path / "masks/a.png")
    exif = mask.getexif()
    exif[0x0112] = 3
    mask.save(tmp_path / "masks/a.png", exif=exif)
    assert scan(settings(images=tmp_path)).sizes[0] == (10, 8)


def test_a_slice_that_is_called_as_another_image_is_refused(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for name, slices in (("a", 3), ("a-001", 1)):
            volume = np.zeros((4, 5, slices), np.uint8)
            volume[1:3] = 1
            nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / kind / f"{name}.nii.gz")
    with pytest.raises(DataError, match=r"a\.nii\.gz and .*a-001\.nii\.gz would both hold the image a-001; rename"):
        scan(settings(images=tmp_path))
