"""COVID-19 CT: both releases, in every layout, and one line for each fault."""

import gzip
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from datasets.build import build
from datasets.errors import DataError

CLASSES = ["background", "ground-glass", "consolidation", "pleural effusion"]
WIDTH, HEIGHT, SLICES = 8, 6, 4
HOUNSFIELD = np.random.default_rng(0).integers(-1400, 400, (WIDTH, HEIGHT, SLICES))
LABELS = np.random.default_rng(1).integers(0, 4, (WIDTH, HEIGHT, SLICES))


def nifti(path: Path, voxels: np.ndarray, slope: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(voxels, np.eye(4))
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    nibabel.save(image, path)


def medseg(folder: Path, suffix: str = ".nii.gz", dtype: type = np.float32) -> Path:
    """Write a small pair in the official order of axes: column, row, slice."""
    nifti(folder / f"tr_im{suffix}", HOUNSFIELD.astype(dtype))
    nifti(folder / f"tr_mask{suffix}", LABELS.astype(dtype))
    return folder


def window(hounsfield: np.ndarray) -> np.ndarray:
    return np.clip((hounsfield + 1250.0) * 255 / 1500, 0, 255)


def assert_medseg(built: Any) -> None:
    assert built.ids == built.groups == ["slice-000", "slice-001", "slice-002", "slice-003"]
    for index, (image, mask) in enumerate(zip(built.images, built.masks, strict=True)):
        assert image.shape == (HEIGHT, WIDTH, 1)
        np.testing.assert_allclose(image[..., 0], window(HOUNSFIELD[:, :, index].T), atol=0.5001)
        np.testing.assert_array_equal(mask[..., 0], LABELS[:, :, index].T)
    assert list(built.classes) == CLASSES


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_medseg(suffix: str, dtype: type, tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    assert_medseg(build_and_read("covid19_ct", manual_dir=medseg(tmp_path / "manual", suffix, dtype)))


def test_medseg_in_figshare_s_zip(tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    zipped(medseg(tmp_path / "zip"), tmp_path / "manual" / "13521488.zip")
    assert_medseg(build_and_read("covid19_ct/medseg", manual_dir=tmp_path / "manual"))


def test_hu512_is_medseg_in_the_window_of_the_paper_s_code(tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    built = build_and_read("covid19_ct/hu512", manual_dir=medseg(tmp_path / "manual"))
    wide = build_and_read("covid19_ct", manual_dir=tmp_path / "manual")
    assert (built.ids, built.classes) == (wide.ids, wide.classes)
    assert list(built.builder.info.metadata["window"]) == [-512, 512]
    for index, (image, mask) in enumerate(zip(built.images, built.masks, strict=True)):
        expected = np.clip((HOUNSFIELD[:, :, index].T + 512.0) * 255 / 1024, 0, 255)
        np.testing.assert_allclose(image[..., 0], expected, atol=0.5001)
        np.testing.assert_array_equal(mask, wide.masks[index])


def test_medseg_with_a_slope(tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    folder = medseg(tmp_path / "manual")
    nifti(folder / "tr_im.nii.gz", HOUNSFIELD.astype(np.int16), slope=2.0)
    voxels = nibabel.load(folder / "tr_im.nii.gz").get_fdata()
    assert voxels.min() < -2000  # the slope is in the file
    built = build_and_read("covid19_ct", manual_dir=folder)
    np.testing.assert_allclose(built.images[0][..., 0], window(voxels[:, :, 0].T), atol=0.5001)


def semiseg(folder: Path) -> Path:
    """Write two slices in the training part and one in the test part of the release; their sizes differ."""
    for part, names in (
        ("TrainingSet/MultiClassInfection-Train", (10, 2)),
        ("TestingSet/MultiClassInfection-Test", (7,)),
    ):
        for kind in ("Imgs", "GT"):
            (folder / part / kind).mkdir(parents=True)
        for number in names:
            labels = np.zeros((20 + number, 30), np.uint8)
            labels[2:9, 3:9], labels[5:7, 5:7] = 1, 2
            Image.fromarray(np.full_like(labels, 10 * number)).save(folder / part / "Imgs" / f"{number}.jpg")
            mask = Image.fromarray(labels)
            mask.putpalette(bytes([0, 0, 0, 128, 0, 0, 0, 128, 0]))
            mask.save(folder / part / "GT" / f"{number}.png")
    return folder


def zipped(folder: Path, archive: Path) -> None:
    archive.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted(folder.rglob("*.*")):
            target.write(path, path.relative_to(folder))
    shutil.rmtree(folder)


LAYOUTS: dict[str, Callable[[Path], Any]] = {
    "extracted": lambda root: semiseg(root / "manual/COVID-SemiSeg/Dataset"),
    "inner folder": lambda root: semiseg(root / "manual/Dataset"),
    "as released": lambda root: [
        semiseg(root / "zip/COVID-SemiSeg/Dataset"),
        zipped(root / "zip", root / "manual/COVID-SemiSeg.zip"),
    ],
    "zip without the outer folder": lambda root: [
        semiseg(root / "zip/Dataset"),
        zipped(root / "zip", root / "manual/COVID-SemiSeg.zip"),
    ],
    "two zips": lambda root: [
        semiseg(root / "zip"),
        zipped(root / "zip/TrainingSet", root / "manual/MultiClassInfection-Train.zip"),
        zipped(root / "zip/TestingSet/MultiClassInfection-Test", root / "manual/MultiClassInfection-Test.zip"),
    ],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_semiseg(layout: str, tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    LAYOUTS[layout](tmp_path)
    built = build_and_read("covid19_ct/semiseg", manual_dir=tmp_path / "manual")
    assert built.ids == built.groups == ["2", "7", "10"]
    for image, mask, number in zip(built.images, built.masks, (2, 7, 10), strict=True):
        assert image.shape == (20 + number, 30, 1)
        assert np.unique(image) == 10 * number
        assert np.bincount(mask.ravel())[1:].tolist() == [38, 4]
    assert list(built.classes) == CLASSES[:3]


def grey(path: Path, value: int) -> None:
    Image.fromarray(np.full((30, 30), value, np.uint8)).save(path)


TRAIN = "COVID-SemiSeg/Dataset/TrainingSet/MultiClassInfection-Train"
BROKEN: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no folder": ("medseg", shutil.rmtree, "manual is not a folder"),
    "no image": ("medseg", lambda root: (root / "tr_im.nii.gz").unlink(), r"no 'tr_im\.nii\.gz' in .*figshare\.com"),
    "no mask": ("medseg", lambda root: (root / "tr_mask.nii.gz").unlink(), r"no 'tr_mask\.nii\.gz' in .*manual"),
    "shapes differ": (
        "medseg",
        lambda root: nifti(root / "tr_mask.nii.gz", LABELS[:, :, 1:].astype(np.int16)),
        r"tr_im\.nii\.gz is \(8, 6, 4\) but its mask .*tr_mask\.nii\.gz is \(8, 6, 3\)",
    ),
    "four dimensions": (
        "medseg",
        lambda root: [nifti(root / f"tr_{kind}.nii.gz", np.zeros((3, 3, 3, 2))) for kind in ("im", "mask")],
        r"is \(3, 3, 3, 2\).*3-D shape",
    ),
    "cut short": (
        "medseg",
        lambda root: (root / "tr_im.nii.gz").write_bytes((root / "tr_im.nii.gz").read_bytes()[:-30]),
        r"tr_im\.nii\.gz: cannot be read as NIfTI",
    ),
    "cut short before zipping": (
        "medseg",
        lambda root: (root / "tr_im.nii.gz").write_bytes(
            gzip.compress(gzip.decompress((root / "tr_im.nii.gz").read_bytes())[:-30])
        ),
        r"tr_im\.nii\.gz: cannot be read as NIfTI",
    ),
    "not NIfTI": ("medseg", lambda root: (root / "tr_im.nii.gz").write_text("<html>"), "cannot be read as NIfTI"),
    "a fifth label": (
        "medseg",
        lambda root: nifti(root / "tr_mask.nii.gz", LABELS.astype(np.int16) + 1),
        r"tr_mask\.nii\.gz: holds 1 to 4; the labels are 0, 1, 2 and 3",
    ),
    "half a label": (
        "medseg",
        lambda root: nifti(root / "tr_mask.nii.gz", LABELS.astype(np.float32) / 2),
        r"holds 0 to 1\.5; the labels are 0, 1, 2 and 3",
    ),
    "not Hounsfield units": (
        "medseg",
        lambda root: nifti(root / "tr_im.nii.gz", HOUNSFIELD.astype(np.int16) + 1400),
        "not Hounsfield units",
    ),
    "all empty": ("medseg", lambda root: nifti(root / "tr_mask.nii.gz", LABELS * 0.0), "all 4 masks are empty"),
    "no training part": (
        "semiseg",
        lambda root: shutil.rmtree(root / TRAIN),
        "no 'MultiClassInfection-Train' in .*Inf-Net",
    ),
    "no masks of one part": (
        "semiseg",
        lambda root: shutil.rmtree(root / TRAIN / "GT"),
        r"no mask for .*Imgs/2\.jpg, .*Imgs/10\.jpg",
    ),
    "no mask of a slice": (
        "semiseg",
        lambda root: (root / TRAIN / "GT/2.png").unlink(),
        r"no mask for .*Imgs/2\.jpg; add",
    ),
    "no image of a mask": (
        "semiseg",
        lambda root: (root / TRAIN / "Imgs/2.jpg").unlink(),
        r"no image for .*GT/2\.png; add",
    ),
    "one name twice": ("semiseg", lambda root: grey(root / TRAIN / "Imgs/7.jpg", 0), r"are both called 7"),
    "sizes differ": ("semiseg", lambda root: grey(root / TRAIN / "GT/2.png", 1), r"2\.jpg: .* 30x22 but .* 30x30"),
    "a third label": ("semiseg", lambda root: grey(root / TRAIN / "GT/10.png", 3), r"10\.jpg holds label 3"),
    "image cut short": (
        "semiseg",
        lambda root: (root / TRAIN / "Imgs/2.jpg").write_bytes((root / TRAIN / "Imgs/2.jpg").read_bytes()[:-50]),
        r"Imgs/2\.jpg: cannot be read as an image",
    ),
    "zip cut short": (
        "semiseg",
        lambda root: [shutil.rmtree(root / "COVID-SemiSeg"), (root / "COVID-SemiSeg.zip").write_bytes(b"PK\3\4")],
        r"COVID-SemiSeg\.zip: not a zip archive, or cut short",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_errors_name_the_file(name: str, tmp_path: Path) -> None:
    config, fault, message = BROKEN[name]
    semiseg(medseg(tmp_path / "manual") / "COVID-SemiSeg" / "Dataset")
    fault(tmp_path / "manual")
    with pytest.raises(DataError, match=message) as error:
        build(f"covid19_ct/{config}", manual_dir=tmp_path / "manual", data_dir=tmp_path / "data")
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "data").rglob("*array_record*"))


def test_real_semiseg(real_data: Path, build_and_read: Callable[..., Any]) -> None:
    built = build_and_read("covid19_ct/semiseg", manual_dir=real_data / "manual")
    assert built.ids == [str(number) for number in range(100) if number not in (22, 48)]
    stored = real_data / "manual/COVID-SemiSeg/Dataset/TestingSet/MultiClassInfection-Test"
    for name in ("6", "72"):
        image, mask = (of[built.ids.index(name)][..., 0] for of in (built.images, built.masks))
        np.testing.assert_array_equal(image, np.asarray(Image.open(stored / f"Imgs/{name}.jpg")))
        np.testing.assert_array_equal(mask, np.asarray(Image.open(stored / f"GT/{name}.png")))
    held = [tuple(np.unique(mask).tolist()) for mask in built.masks]
    assert {pattern: held.count(pattern) for pattern in set(held)} == {(0, 1, 2): 75, (0, 1): 21, (0, 2): 2}
