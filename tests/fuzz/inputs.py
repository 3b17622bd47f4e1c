"""Small inputs of every kind, as users and commands leave them."""

import dataclasses
import functools
import json
import shutil
import tempfile
from pathlib import Path

import jax
import nibabel
import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from launch.console import environment
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.report import paper_tables
from sharp_unet_jax.storage.atomic import write_json
from tests import tiny_sweep
from tests.conftest import squares

SIZE = (24, 32)
CONFIG = """\
import dataclasses

from sharp_unet_jax.config import Config
from tests import tiny_sweep

config = dataclasses.replace(tiny_sweep.CONFIG, checkpoint_minutes=0.0)
"""


def pixels(number: int, channels: int = 3) -> np.ndarray:
    """Return noise around a bright box."""
    image = np.random.default_rng(number).integers(0, 80, (*SIZE, channels), np.uint8)
    image[4 : 12 + number, 6:20] += 120
    return image[..., 0] if channels == 1 else image


def mask(number: int) -> np.ndarray:
    labels = np.zeros(SIZE, np.uint8)
    labels[4 : 12 + number, 6:20] = 255
    return labels


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array) if path.suffix == ".tif" else Image.fromarray(array).save(path)


def pairs(folder: Path) -> None:
    """Write images and masks of every format, and groups of two."""
    suffixes = (
        (".png", ".png"),
        (".jpg", ".bmp"),
        (".bmp", ".tif"),
        (".tif", ".png"),
        (".png", ".png"),
        (".jpg", ".png"),
    )
    for number, (of_image, of_mask) in enumerate(suffixes):
        save(folder / "images" / f"i{number}{of_image}", pixels(number))
        save(folder / "masks" / f"i{number}{of_mask}", mask(number))
    rows = "".join(f"i{number},patient {number // 2}\n" for number in range(len(suffixes)))
    (folder / "groups.csv").write_text("id,group\n" + rows)


def prepared(folder: Path) -> Dataset:
    """Write the tests' squares as a prepared data set, and return it."""
    dataset = dataclasses.replace(squares(), folder=folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", dataset.images)
    np.save(folder / "masks.npy", dataset.masks)
    names = {"ids": dataset.ids, "groups": dataset.groups, "sha256": dataset.sha256, "settings": {}}
    write_json(folder / "names.json", names)
    return dataset


@functools.cache
def _trained() -> Path:
    """Train the tests' tiny sweep once; return the folder that holds it and its prepared data set."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    tiny_sweep.make(folder / "w", prepared(folder / "prepared"))
    environment.write(folder / "w", "launch.cv", ["--config=a.py"], environment.facts(jax.devices()))
    paper_tables.write(folder / "w")
    return folder


def sweep(box: Path) -> None:
    """Put a finished sweep into box/w, its prepared data set into box/prepared and its config into box/c.py."""
    shutil.copytree(_trained(), box, dirs_exist_ok=True)
    write_json(box / "w" / "data.json", {"prepared": str(box / "prepared")})
    (box / "c.py").write_text(CONFIG)


@functools.cache
def _interrupted() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    config = dataclasses.replace(tiny_sweep.CONFIG, checkpoint_minutes=0.0)
    tiny_sweep.stopped_after(1, folder / "w", prepared(folder / "prepared"), config)
    return folder


def interrupted(box: Path) -> None:
    """Put a sweep that was stopped in its first run into box/w."""
    shutil.copytree(_interrupted(), box, dirs_exist_ok=True)
    write_json(box / "w" / "data.json", {"prepared": str(box / "prepared")})
    (box / "c.py").write_text(CONFIG)


def pictures(folder: Path) -> None:
    for number, suffix in enumerate((".png", ".jpg", ".bmp", ".tif", ".png")):
        save(folder / f"p{number}{suffix}", pixels(number))
    save(folder / "pages.tif", np.stack([pixels(6), pixels(7)]))


def volumes(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, suffix in enumerate((".nii", ".nii.gz", ".nii.gz")):
        voxels = np.stack([pixels(slice_, channels=1).T for slice_ in range(number + 2)], axis=-1)
        image = nibabel.Nifti1Image(voxels, np.diag([0.5, 0.5, 2, 1]))
        image.header.set_xyzt_units("mm")
        nibabel.save(image, folder / f"v{number}{suffix}")


def series(folder: Path) -> None:
    """Write two series of two slices in one folder, and one file alone in another."""
    for number, (name, uid, count) in enumerate(
        (("both/a", "1.2.3.4", 2), ("both/b", "1.2.3.5", 2), ("alone/c", "1.2.3.6", 1))
    ):
        for slice_ in range(count):
            path = folder / f"{name}{slice_}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            _dicom(path, uid, slice_, pixels(2 * number + slice_, channels=1))


def _dicom(path: Path, series_uid: str, number: int, array: np.ndarray) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = f"{series_uid}.{number}"
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3", series_uid, "1.2.9"
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "A^B", "p", "", "O"
    data.StudyDate, data.StudyTime, data.AccessionNumber, data.ReferringPhysicianName = "20200101", "000000", "", ""
    data.StudyID, data.SeriesNumber, data.InstanceNumber, data.Modality = "1", 1, number + 1, "CT"
    data.Manufacturer, data.PositionReferenceIndicator = "x", ""
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, float(number)], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [0.5, 0.5], 1
    data.Rows, data.Columns, data.SamplesPerPixel = *array.shape, 1
    data.PhotometricInterpretation, data.BitsAllocated, data.BitsStored, data.HighBit = "MONOCHROME2", 8, 8, 7
    data.PixelRepresentation, data.PixelData = 0, array.tobytes()
    pydicom.dcmwrite(path, data, enforce_file_format=False)


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]
