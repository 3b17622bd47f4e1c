"""Every kind of image file gives prediction the pixels that it gave training."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from datasets.folder.scan import scan
from datasets.folder.settings import settings
from datasets.formats import search
from launch.prediction import pipeline
from sharp_unet_jax.config import Config, Data
from tests.datasets.formats.test_dicom import write_slice

SHAPE = (12, 16)  # of a picture
Write = Callable[[Path, np.ndarray], None]  # of an image without a suffix, from five channels (H, W, 5) uint16


def pillow(suffix: str, mode: str, **options: Any) -> Write:
    def write(path: Path, pixels: np.ndarray) -> None:
        picture = Image.fromarray((pixels[..., :3] >> 8).astype(np.uint8)).convert(mode)
        picture.save(path.with_name(path.name + suffix), **options)

    return write


def tif(dtype: Any, order: Callable[[np.ndarray], np.ndarray], **options: Any) -> Write:
    def write(path: Path, pixels: np.ndarray) -> None:
        scaled = pixels >> 8 if dtype == np.uint8 else pixels / 65535 if np.dtype(dtype).kind == "f" else pixels
        tifffile.imwrite(
            path.with_name(f"{path.name}.tif"), np.ascontiguousarray(order(scaled.astype(dtype))), **options
        )

    return write


def channels(path: Path, pixels: np.ndarray) -> None:
    for number, name in enumerate(("_red", "_far")):
        tifffile.imwrite(path.with_name(f"{path.name}{name}.tif"), pixels[..., number])


def numbered(path: Path, pixels: np.ndarray) -> None:
    for number in range(5):
        Image.fromarray((pixels[..., number] >> 8).astype(np.uint8)).save(
            path.with_name(f"{path.name}_{number:04}.png")
        )


def nifti(pixels_of: Callable[[np.ndarray], np.ndarray]) -> Write:
    def write(path: Path, pixels: np.ndarray) -> None:
        image = nibabel.Nifti1Image(pixels_of(pixels.astype(np.int32) - 1024), np.diag([-1.0, -1.0, 2.0, 1.0]))
        nibabel.save(image, path.with_name(f"{path.name}.nii.gz"))

    return write


def heights(path: Path, pixels: np.ndarray) -> None:
    """Write heights below and above 0, and only above in the second image."""
    base = -512 if path.name == "p0" else 60
    tifffile.imwrite(path.with_suffix(".tif"), pixels[..., 0].astype(np.float32) / 64 + base)


def dicom(path: Path, pixels: np.ndarray) -> None:
    for number in range(5):
        values = (pixels[..., number] >> 4).astype(np.int16)
        uid = f"1.2.{path.name[1:]}"
        write_slice(path / f"{number}.dcm", values, position=3.0 * number, number=5 - number, series=uid)


FIRST = {"photometric": "minisblack", "planarconfig": "separate"}
LAST = {"photometric": "minisblack", "planarconfig": "contig"}
KINDS: dict[str, tuple[Write, dict[str, Any]]] = {
    "PNG": (pillow(".png", "RGB"), {}),
    "grey PNG": (pillow(".png", "L"), {}),
    "palette": (pillow(".png", "P"), {}),
    "alpha": (pillow(".png", "RGBA"), {}),
    "GIF": (pillow(".gif", "P"), {}),
    "WebP": (pillow(".webp", "RGB", lossless=True), {}),
    "JPEG": (pillow(".jpg", "RGB"), {}),
    "CMYK TIF": (pillow(".tif", "CMYK"), {}),
    "two channels": (tif(np.uint8, lambda a: a[..., :2], **LAST), {}),
    "RGB and one": (tif(np.uint8, lambda a: a[..., :4], photometric="rgb", extrasamples=["unspecified"]), {}),
    "five channels of 16 bits": (tif(np.uint16, lambda a: a, **LAST), {}),
    "five channels, first": (tif(np.uint16, lambda a: a.transpose(2, 0, 1), **FIRST), {}),
    "fractions": (tif(np.float32, lambda a: a[..., 0]), {}),
    "heights": (heights, {}),
    "12 bits, a window set": (tif(np.uint16, lambda a: a[..., 0]), {"window": (500.0, 60000.0)}),
    "0 is white": (tif(np.uint16, lambda a: a[..., 0], photometric="miniswhite"), {}),
    "ImageJ, slices": (
        tif(np.uint8, lambda a: a.transpose(2, 0, 1), imagej=True, metadata={"axes": "ZYX"}),
        {},
    ),
    "ImageJ, slices that are channels": (
        tif(np.uint8, lambda a: a.transpose(2, 0, 1), imagej=True, metadata={"axes": "ZYX"}),
        {"pages": "channels"},
    ),
    "plain pages, slices": (
        tif(np.uint8, lambda a: a.transpose(2, 0, 1), photometric="minisblack", metadata=None),
        {"pages": "slices"},
    ),
    "files of channels": (channels, {"channel_files": ("_red", "_far")}),
    "nnU-Net's names": (numbered, {}),
    "NIfTI picture": (nifti(lambda a: a[..., 0].T), {}),
    "NIfTI": (nifti(lambda a: a.transpose(1, 0, 2)), {}),
    "NIfTI, coronal": (nifti(lambda a: a.transpose(1, 0, 2)), {"axis": "coronal"}),
    "NIfTI, a window set": (nifti(lambda a: a.transpose(1, 0, 2)), {"window": (-500.0, 9000.0)}),
    "DICOM series": (dicom, {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_prediction_read_alike(kind: str, tmp_path: Path) -> None:
    write, given = KINDS[kind]
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(2):
        write(tmp_path / f"images/p{number}", rng.integers(0, 65536, (*SHAPE, 5), np.uint16))
        mask(tmp_path, min((tmp_path / "images").glob(f"p{number}*")), f"p{number}", given)
    found = scan(settings(images=tmp_path, **given))
    trained, complete = [found.read(number)[0] for number in range(2)], found.settings
    data = Data(builder="folder", pages=complete.pages, axis=complete.axis)
    run = SimpleNamespace(
        config=Config(data=data), dataset="folder/x", slice_channels=found.channels, window=found.window, clipped=None
    )
    inputs = search.find([str(tmp_path / "images")], endings=complete.channel_files, channels=found.channels)
    predicted = [pipeline._read(run, one).images for one in inputs]
    assert [one.name for one in inputs] == [pair.id for pair in found.pairs] == ["p0", "p1"]
    for there, here in zip(trained, predicted, strict=True):
        assert there.std() > 20, "the picture is neither empty nor flooded"
        np.testing.assert_array_equal(here, there)


def mask(root: Path, image: Path, name: str, given: dict[str, Any]) -> None:
    """Write a mask that fits an image: a NIfTI in its grid, pages of a TIF, or a PNG."""
    (root / "masks").mkdir(exist_ok=True)
    if image.name.endswith(".nii.gz"):
        volume = nibabel.load(image)
        voxels = np.zeros(volume.shape, np.uint8)
        voxels[3:8, 2:9] = 1
        nibabel.save(nibabel.Nifti1Image(voxels, volume.affine), root / f"masks/{name}.nii.gz")
        return
    labels = np.zeros((5, *SHAPE), np.uint8)
    labels[:, 2:9, 3:8] = 255
    if image.is_dir():  # a DICOM series
        affine = np.diag([-0.8, -0.5, 3.0, 1.0])
        nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), affine), root / f"masks/{name}.nii.gz")
        return
    pages = given.get("pages") == "slices"
    if image.suffix == ".tif" and "pages" not in given:
        with tifffile.TiffFile(image) as file:
            pages = file.series[0].axes == "ZYX"
    if pages:
        tifffile.imwrite(root / f"masks/{name}.tif", labels, photometric="minisblack", metadata={"axes": "ZYX"})
    else:
        Image.fromarray(labels[0]).save(root / f"masks/{name}.png")
