"""Lung CT: slices and volumes in every layout, and one line for each fault."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile

from datasets.build import build
from datasets.errors import DataError

SHAPE = (6, 5)
RNG = np.random.default_rng(0)
PICTURES = {name: RNG.integers(-1024, 1500, SHAPE) for name in ("ID_0000_Z_0142", "ID_0001_Z_0146", "ID_0010_Z_0061")}
VOLUMES = {name: RNG.integers(-1024, 1500, (7, *SHAPE)) for name in ("0002", "0031")}
LUNG = np.zeros(SHAPE, np.uint8)
LUNG[1:3, 2:4] = 255
LUNGS = np.stack([LUNG * 0, LUNG, LUNG, LUNG * 0, LUNG, LUNG * 0, LUNG * 0])  # in slices 1, 2 and 4


def nifti(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)


def tif(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels)


def kaggle(folder: Path, dtype: type = np.int32) -> Path:
    """Write small files in the layout of the Kaggle set."""
    for name, pixels in PICTURES.items():
        tif(folder / "2d_images" / f"{name}.tif", pixels.astype(dtype))
        tif(folder / "2d_masks" / f"{name}.tif", LUNG)
    for name, voxels in VOLUMES.items():
        nifti(folder / "3d_images" / f"IMG_{name}.nii.gz", voxels.astype(np.int16))
        nifti(folder / "3d_images" / f"MASK_{name}.nii.gz", LUNGS)
    (folder / "lung_stats.csv").write_text("img_id\n")
    return folder


def window(hounsfield: np.ndarray) -> np.ndarray:
    return np.clip((hounsfield + 512.0) * 255 / 1024, 0, 255)


def assert_slices(built: Any) -> None:
    assert built.ids == built.groups == list(PICTURES)
    assert not any(built.volumes)
    for image, mask, pixels in zip(built.images, built.masks, PICTURES.values(), strict=True):
        assert image.shape == (*SHAPE, 1)
        np.testing.assert_allclose(image[..., 0], window(pixels), atol=0.5001)
        np.testing.assert_array_equal(mask[..., 0], LUNG > 0)
    assert list(built.classes) == ["background", "lung"]


def assert_volumes(built: Any) -> None:
    expected = [(name, index) for name in VOLUMES for index in (1, 2, 4)]
    assert built.ids == [f"IMG_{name}-{index:03d}" for name, index in expected]
    assert built.groups == [f"IMG_{name}" for name, _ in expected]
    first = {1: 1, 2: 1, 4: 4}  # a slice that is left out parts those around it
    assert built.volumes == [f"IMG_{name}-{first[index]:03d}" for name, index in expected]
    for image, mask, (name, index) in zip(built.images, built.masks, expected, strict=True):
        np.testing.assert_allclose(image[..., 0], window(VOLUMES[name][index]), atol=0.5001)
        np.testing.assert_array_equal(mask[..., 0], LUNG > 0)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_slices(dtype: type, tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    assert_slices(build_and_read("lung_ct", manual_dir=kaggle(tmp_path / "manual", dtype)))


def test_minmax_is_every_slice_by_itself(tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    """At twice the size each pixel is a sum of 8 by 8, at distances 0.5 to 3.5."""
    ramp = np.add.outer(np.arange(512), np.zeros(512)) * 4 - 1000
    spot = np.full((512, 512), -1000)
    spot[100, 200] = 1000
    lung = np.zeros((512, 512), np.uint8)
    lung[100:103, 200:204] = 255
    for name, pixels in (("ID_0000_Z_0142", ramp), ("ID_0001_Z_0146", spot)):
        tif(tmp_path / "manual/2d_images" / f"{name}.tif", pixels.astype(np.int16))
        tif(tmp_path / "manual/2d_masks" / f"{name}.tif", lung)
    built = build_and_read("lung_ct/minmax", manual_dir=tmp_path / "manual")
    slope, dot = (image[..., 0] for image in built.images)
    assert slope.shape == (256, 256)
    assert (slope.min(), slope.max()) == (dot.min(), dot.max()) == (0, 255)
    np.testing.assert_allclose(slope[4:-4, 0], np.linspace(0, 255, 256)[4:-4], atol=0.7)
    taps = np.sinc(np.arange(-3.5, 4)) * np.sinc(np.arange(-3.5, 4) / 4)
    answer = np.outer(taps, taps)[::2, ::2]  # 3.5, 1.5, 0.5 and 2.5 pixels from the spot
    np.testing.assert_allclose(dot[48:52, 98:102], (answer - answer.min()) * 255 / np.ptp(answer), atol=0.5001)
    for mask in built.masks:
        np.testing.assert_array_equal(np.argwhere(mask[..., 0]), [[50, 100], [50, 101], [51, 100], [51, 101]])
    assert built.builder.info.metadata["window"] is None


def test_minmax_is_opencv_s(tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    cv2 = pytest.importorskip("cv2")
    built = build_and_read("lung_ct/minmax", manual_dir=kaggle(tmp_path / "manual"))
    for image, mask, picture in zip(built.images, built.masks, PICTURES.values(), strict=True):
        theirs = cv2.resize(picture.astype(np.float32), (256, 256), interpolation=cv2.INTER_LANCZOS4)
        theirs = 255 * (theirs - theirs.min()) / np.ptp(theirs)
        np.testing.assert_allclose(image[..., 0], theirs, atol=0.501)
        nearest = cv2.resize(LUNG, (256, 256), interpolation=cv2.INTER_NEAREST)
        np.testing.assert_array_equal(mask[..., 0], nearest > 0)


def test_volumes(tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    kaggle(tmp_path / "manual" / "finding-lungs-in-ct-data")
    assert_volumes(build_and_read("lung_ct/volumes", manual_dir=tmp_path / "manual"))


def test_volumes_with_slices_last(tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    voxels = RNG.integers(-1024, 1500, (4, 4, 3)).astype(np.int16)
    nifti(tmp_path / "manual/3d_images/IMG_0002.nii", voxels)
    nifti(tmp_path / "manual/3d_images/MASK_0002.nii", (voxels > 0).astype(np.uint8))
    built = build_and_read("lung_ct/volumes", manual_dir=tmp_path / "manual")
    for index, (image, mask) in enumerate(zip(built.images, built.masks, strict=True)):
        np.testing.assert_allclose(image[..., 0], window(voxels[:, :, index].T), atol=0.5001)
        np.testing.assert_array_equal(mask[..., 0], voxels[:, :, index].T > 0)


@pytest.mark.parametrize("name", ["archive.zip", "finding-lungs-in-ct-data.zip"])
@pytest.mark.parametrize("inside", ["{path}", "{kind}/{path}", "finding-lungs-in-ct-data/{path}"])
def test_zip(name: str, inside: str, tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    folder = kaggle(tmp_path / "extracted")
    (tmp_path / "manual").mkdir()
    with zipfile.ZipFile(tmp_path / "manual" / name, "w") as archive:
        for path in sorted(folder.glob("*/*")):  # Kaggle puts some folders into another of the same name
            archive.write(path, inside.format(path=path.relative_to(folder).as_posix(), kind=path.parent.name))
    assert_slices(build_and_read("lung_ct", manual_dir=tmp_path / "manual"))
    assert_volumes(build_and_read("lung_ct/volumes", manual_dir=tmp_path / "manual"))


def test_zips_of_single_folders(tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    folder = kaggle(tmp_path / "extracted")
    (tmp_path / "manual").mkdir()
    for kind in ("2d_images", "2d_masks"):
        with zipfile.ZipFile(tmp_path / "manual" / f"{kind}.zip", "w") as archive:
            for path in (folder / kind).iterdir():
                archive.write(path, path.name)
    assert_slices(build_and_read("lung_ct", manual_dir=tmp_path / "manual"))


def test_pictures_of_8_bits_are_taken_as_they_are(tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    folder = kaggle(tmp_path / "manual")
    pixels = np.arange(30, dtype=np.uint8).reshape(SHAPE) * 8
    tif(folder / "2d_images" / "ID_0000_Z_0142.tif", np.stack([pixels] * 3, -1))
    built = build_and_read("lung_ct", manual_dir=folder)
    np.testing.assert_array_equal(built.images[0][..., 0], pixels)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


FIRST = "2d_{}/ID_0000_Z_0142.tif"
BROKEN: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no images": ("slices", lambda root: shutil.rmtree(root / "2d_images"), "no '2d_images' in .*kaggle.com/datasets"),
    "no masks": ("slices", lambda root: shutil.rmtree(root / "2d_masks"), "no '2d_masks' in .*kaggle.com/datasets"),
    "no volumes": (
        "volumes",
        lambda root: shutil.rmtree(root / "3d_images"),
        "no '3d_images' in .*kaggle.com/datasets",
    ),
    "nothing": ("slices", lambda root: [shutil.rmtree(root), root.mkdir()], "is empty.*2d_images"),
    "no mask": (
        "slices",
        lambda root: (root / FIRST.format("masks")).unlink(),
        r"no mask for .*images/ID_0000_Z_0142\.tif",
    ),
    "no image": ("slices", lambda root: (root / FIRST.format("images")).unlink(), r"no image for .*masks/ID_0000"),
    "no mask of a volume": (
        "volumes",
        lambda root: (root / "3d_images/MASK_0002.nii.gz").unlink(),
        r"no mask for .*IMG_0002\.nii\.gz",
    ),
    "one name twice": (
        "slices",
        lambda root: tif(root / "2d_images" / "more" / "ID_0000_Z_0142.tif", LUNG),
        "are both called ID_0000_Z_0142",
    ),
    "sizes differ": ("slices", lambda root: tif(root / FIRST.format("masks"), LUNG[1:]), "ID_0000.* 5x6 but .* 5x5"),
    "shapes differ": (
        "volumes",
        lambda root: nifti(root / "3d_images/MASK_0002.nii.gz", LUNGS[1:]),
        r"IMG_0002\.nii\.gz is \(7, 6, 5\) but its mask .*MASK_0002\.nii\.gz is \(6, 6, 5\)",
    ),
    "image cut short": (
        "slices",
        lambda root: cut(root / FIRST.format("images")),
        r"ID_0000_Z_0142\.tif: cannot be read",
    ),
    "volume cut short": (
        "volumes",
        lambda root: cut(root / "3d_images/IMG_0031.nii.gz"),
        "IMG_0031.* be read as NIfTI",
    ),
    "not finite": (
        "minmax",
        lambda root: tif(root / FIRST.format("images"), np.full(SHAPE, np.nan, np.float32)),
        r"ID_0000_Z_0142\.tif: holds voxels that are not numbers",
    ),
    "sizes differ, resized": (
        "minmax",
        lambda root: tif(root / FIRST.format("masks"), LUNG[1:]),
        "ID_0000.* 5x6 but .* 5x5",
    ),
    "not Hounsfield units": (
        "slices",
        lambda root: tif(root / FIRST.format("images"), np.full(SHAPE, 200, np.uint16)),
        r"ID_0000_Z_0142\.tif: holds 200 to 200, not Hounsfield units",
    ),
    "all empty": (
        "slices",
        lambda root: [tif(path, LUNG * 0) for path in (root / "2d_masks").iterdir()],
        "all 3 masks are empty",
    ),
    "a volume without lung": (
        "volumes",
        lambda root: nifti(root / "3d_images/MASK_0031.nii.gz", LUNGS * 0),
        r"MASK_0031\.nii\.gz: no slice shows lung",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_errors_name_the_file(name: str, tmp_path: Path) -> None:
    config, fault, message = BROKEN[name]
    fault(kaggle(tmp_path / "manual"))
    with pytest.raises(DataError, match=message) as error:
        build(f"lung_ct/{config}", manual_dir=tmp_path / "manual", data_dir=tmp_path / "data")
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "data").rglob("*array_record*"))


def test_real_pairs(real_data: Path, build_and_read: Callable[..., Any]) -> None:
    sample = real_data / "samples" / "lung_kaggle"
    built = build_and_read("lung_ct", manual_dir=sample)
    assert built.ids == sorted(path.stem for path in (sample / "2d_masks").iterdir())
    for name, image, mask in zip(built.ids, built.images, built.masks, strict=True):
        assert image.shape == (512, 512, 1)
        np.testing.assert_array_equal(mask, tifffile.imread(sample / "2d_masks" / f"{name}.tif")[..., :1] == 255)
