"""DICOM files listed for training: a series is one image, unless each of its slices has a mask of its own."""

from pathlib import Path

import pydicom
import pytest

from datasets.errors import DataError
from datasets.folder import layout, pairs
from datasets.folder.settings import settings
from tests.datasets.folder.test_matching import names, touch

CT, REPORT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def dicom(root: Path, *files: str, kind: str = CT, series: str = "") -> None:
    """Write headers; `series` is the folder's name by default."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = kind, "1.2.840.10008.1.2.1"
        uid = "1.2." + (series or str(int.from_bytes(path.parent.name.encode(), "big")))
        dataset = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SeriesInstanceUID = uid
        pydicom.dcmwrite(path, dataset, enforce_file_format=False)


def paired(root: Path) -> dict[str, tuple[str, ...]]:
    return {pair.id: names(pair, root) for pair in pairs.pairs(settings(images=root))}


def test_a_folder_a_series(tmp_path: Path) -> None:
    dicom(tmp_path / "images", "c10/IM1", "c10/IM2", "c9/1.dcm", "c9/2.dcm", "single.dcm")
    touch(tmp_path / "masks", "c10.nii.gz", "c9.nii.gz", "single_seg.png")
    with pytest.raises(DataError, match=r"no image in .* for c9\.nii\.gz, c10\.nii\.gz"):  # single.dcm is one image
        paired(tmp_path)
    (tmp_path / "images/s").mkdir()
    (tmp_path / "images/single.dcm").rename(tmp_path / "images/s/single.dcm")
    assert paired(tmp_path) == {
        "c9": ("images/c9/1.dcm", "images/c9/2.dcm", "masks/c9.nii.gz"),
        "c10": ("images/c10/IM1", "images/c10/IM2", "masks/c10.nii.gz"),
        "single": ("images/s/single.dcm", "masks/single_seg.png"),
    }


def test_series_as_masks_of_series(tmp_path: Path) -> None:
    dicom(tmp_path, *(f"{kind}/{case}/{slice_}" for kind in ("images", "masks") for case in "ab" for slice_ in "12"))
    expected = {case: tuple(f"{kind}/{case}/{at}" for kind in ("images", "masks") for at in "12") for case in "ab"}
    assert paired(tmp_path) == expected


def test_each_slice_has_a_mask_of_its_own(tmp_path: Path) -> None:
    dicom(tmp_path, *(f"images/IM{number}.dcm" for number in range(3)))
    touch(tmp_path, *(f"masks/IM{number}.png" for number in range(3)))
    assert list(paired(tmp_path)) == ["IM0", "IM1", "IM2"]


def test_files_without_pictures_are_noted_among_images_and_refused_as_masks(tmp_path: Path) -> None:
    dicom(tmp_path, "images/a.dcm")
    dicom(tmp_path, "images/report.dcm", kind=REPORT, series="7")
    dicom(tmp_path, "masks/a.dcm", kind=SEGMENTATION)
    assert paired(tmp_path) == {"a": ("images/a.dcm", "masks/a.dcm")}  # whose reading is refused by its format
    (note,) = pairs.notes(layout.complete(settings(images=tmp_path)))
    assert note == f"{tmp_path / 'images/report.dcm'}: are DICOM files without pictures, and are skipped"


def test_dots_in_names_without_a_suffix_are_part_of_them(tmp_path: Path) -> None:
    """PACS exports name files and folders by their UIDs."""
    slices = [f"1.2.840.{case}.{at}" for case in range(2) for at in range(2)]
    dicom(tmp_path, *(f"images/{name}" for name in slices))
    touch(tmp_path, *(f"masks/{name}.png" for name in slices))
    assert list(paired(tmp_path)) == slices
    dicom(tmp_path, *(f"ct/1.2.{case}/{at}" for case in (8, 9) for at in "12"), "ct/Doe.Jane/1", "ct/Doe.John/1")
    lines = [
        "image,mask",
        *(f"{image},masks/{slices[0]}.png" for image in ("ct/1.2.8", "ct/1.2.9", "images/1.2.840.0.1")),
    ]
    lines += [f"ct/Doe.{name},masks/{slices[0]}.png" for name in ("Jane", "John")]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    found = [pair.id for pair in pairs.pairs(settings(table=tmp_path / "pairs.csv"))]
    assert found == ["1.2.8", "1.2.9", "1.2.840.0.1", "Doe.Jane", "Doe.John"]
