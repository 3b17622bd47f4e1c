"""Sides of pixels, from the files to the examples, and images that are brought to one spacing by them."""

import dataclasses
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

from datasets.build import build
from launch.console import dataset
from launch.preview import source
from sharp_unet_jax.config import Data
from sharp_unet_jax.errors import InputError
from tests.datasets.formats.test_dicom import write_slice
from tests.datasets.formats.test_nifti import placed

QUIET = Console(quiet=True)


def square(sides: tuple[float, float], shape: tuple[int, int] = (40, 48)) -> np.ndarray:
    """Return a mask (h, w) uint8 of a square of 10 mm, whose pixels are sides[0] mm high and sides[1] mm wide."""
    mask = np.zeros(shape, np.uint8)
    mask[5 : 5 + round(10 / sides[0]), 8 : 8 + round(10 / sides[1])] = 1
    return mask


def as_nifti(top: Path, name: str, mask: np.ndarray, sides: tuple[float, float]) -> None:
    """Write two axial slices."""
    labels = np.stack([mask.T] * 2, axis=-1)
    placed(top / f"images/{name}.nii.gz", labels.astype(np.int16) * 500, sides=(sides[1], sides[0], 3.0))
    placed(top / f"masks/{name}.nii.gz", labels, sides=(sides[1], sides[0], 3.0))


def as_dicom(top: Path, name: str, mask: np.ndarray, sides: tuple[float, float]) -> None:
    """Write a slice."""
    import pydicom

    path = top / f"images/{name}.dcm"
    write_slice(path, 500 * mask.astype(int), series=f"1.2.{len(list(path.parent.iterdir()))}")
    file = pydicom.dcmread(path)
    file.PixelSpacing = [*sides]
    file.save_as(path)
    Image.fromarray(255 * mask).save(top / f"masks/{name}.png")


@pytest.mark.parametrize("write", [as_nifti, as_dicom])
def test_a_square_of_10_mm_comes_out_equally_large_whatever_the_file_has_for_a_pixel(tmp_path: Path, write) -> None:
    top = tmp_path / "scans"
    for part in ("images", "masks"):
        (top / part).mkdir(parents=True)
    for name, sides in (("a", (0.5, 0.5)), ("b", (1.0, 1.25))):
        write(top, name, square(sides), sides)
    data = Data(builder="folder", images=str(top), data_dir=str(tmp_path / "built"), fit="crop", size=(16, 16))
    own = dataset.load(data, QUIET)
    common = dataset.load(dataclasses.replace(data, spacing=0.5), QUIET)
    assert {tuple(size) for size in own.sizes.tolist()} == {(40, 48)}
    assert {tuple(size) for size in common.sizes.tolist()} == {(40, 48), (80, 120)}
    for before, after in zip(own.masks, common.masks, strict=True):
        rows, columns = (np.flatnonzero(after.any(axis=axis)) for axis in (1, 0))
        assert (len(rows), len(columns)) == (20, 20), "10 mm by 0.5 mm"
        assert after.sum() == 400
        assert before.sum() in (400, 80)


@pytest.mark.parametrize(("axis", "sides"), [("axial", (2.0, 0.5)), ("coronal", (3.0, 0.5)), ("sagittal", (3.0, 2.0))])
def test_slices_have_the_spacing_of_their_plane(tmp_path: Path, axis: str, sides: tuple[float, float]) -> None:
    labels = np.zeros((7, 6, 5), np.uint8)
    labels[2:5, 2:4, 1:4] = 1
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        placed(tmp_path / part / "a.nii.gz", labels)
    built = build("folder", images=tmp_path, data_dir=tmp_path / "built", axis=axis)
    assert {tuple(one["spacing"].tolist()) for one in built.as_data_source("train")} == {sides}


OME = {"axes": "YX", "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
PLAIN: dict[str, Any] = {"resolution": (300, 300), "resolutionunit": "INCH", "metadata": None}


@pytest.mark.parametrize(
    ("name", "options", "sides"),
    [
        ("a.ome.tif", {"metadata": OME}, (0.0005, 0.00025)),  # micrometres
        ("a.ome.tif", {"metadata": OME | {"PhysicalSizeYUnit": "nm", "PhysicalSizeXUnit": "mm"}}, (5e-7, 0.25)),
        ("a.ome.tif", {"metadata": OME | {"PhysicalSizeYUnit": "pixel"}}, (0, 0)),
        ("a.ome.tif", {"metadata": {"axes": "YX", "PhysicalSizeX": 0.25}}, (0, 0)),
        ("a.tif", {"imagej": True, "resolution": (4, 2), "metadata": {"unit": "um"}}, (0.0005, 0.00025)),
        ("a.tif", {"imagej": True, "resolution": (4, 2), "metadata": {"unit": "\\u00B5m"}}, (0.0005, 0.00025)),
        ("a.tif", {"imagej": True, "resolution": (4, 2), "metadata": {"unit": "mm"}}, (0.5, 0.25)),
        ("a.tif", {"imagej": True, "resolution": (4, 2), "metadata": {"unit": "pixel"}}, (0, 0)),
        ("a.tif", {"imagej": True, "resolution": (4, 2)}, (0, 0)),
        ("a.tif", PLAIN, (0, 0)),  # the dots per inch of a printer
        ("a.png", {"dpi": (300, 300)}, (0, 0)),
    ],
)
def test_a_picture_has_a_spacing_where_its_file_is_no_print(
    tmp_path: Path, name: str, options: dict[str, Any], sides: tuple[float, float]
) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    mask = 255 * square((1, 1))
    if name.endswith(".png"):
        Image.fromarray(mask // 2).save(tmp_path / "images" / name, **options)
    else:
        tifffile.imwrite(tmp_path / "images" / name, mask // 2, **options)
    Image.fromarray(mask).save(tmp_path / "masks" / f"{name.removesuffix('.tif').removesuffix('.png')}.png")
    (example,) = build("folder", images=tmp_path, data_dir=tmp_path / "built").as_data_source("train")
    np.testing.assert_allclose(example["spacing"], sides, rtol=1e-6)


def test_impossible_sides_are_unknown_ones(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        image = nibabel.Nifti1Image(square((1, 1))[..., None], np.eye(4))
        content = bytearray(image.to_bytes())
        content[80:84] = np.float32(np.nan).tobytes()  # pixdim[1]
        (tmp_path / part / "a.nii").write_bytes(content)
    (example,) = build("folder", images=tmp_path, data_dir=tmp_path / "built").as_data_source("train")
    assert example["spacing"].tolist() == [0, 0]


@pytest.fixture
def pictures(tmp_path: Path) -> Data:
    """Two PNGs, which say no spacing."""
    for part, value in (("images", 100), ("masks", 255)):
        (tmp_path / "mine" / part).mkdir(parents=True)
        for name in "ab":
            Image.fromarray(value * square((1, 1))).save(tmp_path / "mine" / part / f"{name}.png")
    return Data(builder="folder", images=str(tmp_path / "mine"), data_dir=str(tmp_path / "built"), size=(16, 16))


def test_pictures_of_unknown_spacing_are_refused_by_both_commands(pictures: Data) -> None:
    data = dataclasses.replace(pictures, fit="crop", spacing=0.5)
    with pytest.raises(InputError, match=r"^a: data.spacing=0.5 mm is asked for, and the file does not say .* set"):
        dataset.load(data, QUIET)
    found, _ = source.inspect(data, QUIET)
    assert [fault for fault in found.faults if fault.startswith("a, b: data.spacing=0.5 mm is asked for")]
