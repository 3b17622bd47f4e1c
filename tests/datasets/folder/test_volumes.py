"""Volumes of the user: slices and their masks in one grid, groups by volume or patient, neighbours, and prediction."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

from datasets import formats
from datasets.errors import DataError
from datasets.folder import check, images, scan, volumes
from datasets.folder.pairs import Pair
from datasets.folder.settings import settings
from datasets.formats import search
from datasets.formats.stack import How
from launch.console import dataset
from launch.prediction import pipeline
from launch.preview import source
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.data import neighbours
from sharp_unet_jax.errors import InputError
from tests.datasets.formats.test_dicom import without, write_slice
from tests.datasets.formats.test_nifti import placed

SHAPE = (18, 17, 4)  # along axes to the left, to the back and up
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[3:9, 4:8, 1:] = 1
LABELS[10:, 12:, 2] = 2


def body(seed: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, SHAPE).astype(dtype)


def axial(voxels: np.ndarray) -> np.ndarray:
    return voxels.transpose(2, 1, 0)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Return a folder of three scans, each stored in its own way, and of masks, each stored in another way."""
    root = tmp_path / "scans"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number, (stored, drawn) in enumerate((("RAS", "LPS"), ("LPS", "PIR"), ("SLA", "SLA"))):
        placed(root / f"images/p{number}.nii.gz", body(number), stored)
        placed(root / f"masks/p{number}_seg.nii.gz", LABELS, drawn)
    return root


def test_volumes_become_slices_with_their_labels(scans: Path, build_and_read: Callable[..., Any]) -> None:
    built = build_and_read("folder", images=scans)
    assert built.ids == [f"p{volume}-{index:03}" for volume in range(3) for index in range(4)]
    assert built.groups == built.volumes == [f"p{volume}" for volume in range(3) for _ in range(4)]
    assert built.classes == ["background", "class 1", "class 2"]
    expected = np.concatenate([axial(body(volume)) for volume in range(3)])
    np.testing.assert_array_equal(np.stack(built.images)[..., 0], expected)
    np.testing.assert_array_equal(np.stack(built.masks)[..., 0], np.concatenate([axial(LABELS)] * 3))
    assert "3 images (12 axial slices) in" in built.builder.info.metadata["found"]


def test_slices_along_another_axis(scans: Path, build_and_read: Callable[..., Any]) -> None:
    built = build_and_read("folder", images=scans, axis="sagittal")
    assert len(built.ids) == 3 * 18
    seen = LABELS[::-1].transpose(0, 2, 1)[:, ::-1]
    np.testing.assert_array_equal(np.stack(built.masks[:18])[..., 0], seen)


def test_deep_volumes_share_a_window(scans: Path, build_and_read: Callable[..., Any]) -> None:
    for number in range(3):
        placed(scans / f"images/p{number}.nii.gz", body(number, np.int16) * 10 - 1000)
    built = build_and_read("folder", images=scans)
    low, high = built.builder.info.metadata["window"]
    hounsfield = axial(body(0, float) * 10 - 1000)
    expected = np.clip((hounsfield - low) * 255 / (high - low), 0, 255)
    np.testing.assert_allclose(np.stack(built.images[:4])[..., 0], expected, atol=0.501)


def test_pictures_in_nifti_files(tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    """nibabel writes two axes and the identity."""
    for part, pictures in (("images", body(0)), ("masks", LABELS)):
        (tmp_path / part).mkdir()
        for number in range(3):
            picture = pictures[..., number]
            nibabel.save(nibabel.Nifti1Image(picture, np.eye(4)), tmp_path / part / f"p{number}.nii.gz")
    built = build_and_read("folder", images=tmp_path)
    assert built.ids == built.groups == ["p0", "p1", "p2"]
    assert built.volumes == [""] * 3
    np.testing.assert_array_equal(np.stack(built.images)[..., 0], axial(body(0))[:3])
    np.testing.assert_array_equal(np.stack(built.masks)[..., 0], axial(LABELS)[:3])


@pytest.mark.parametrize("context", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_a_run_predicts_from_the_pixels_that_it_was_trained_on(scans: Path, dtype: Any, context: int) -> None:
    for number in range(3):
        placed(scans / f"images/p{number}.nii.gz", body(number, dtype), "PIR")
    data = Data(builder="folder", images=str(scans), data_dir=str(scans / "built"), size=SHAPE[1::-1], context=context)
    trained = dataset.load(data, Console(quiet=True))
    assert trained.images.shape == (12, 17, 18, 2 * context + 1)
    run = SimpleNamespace(
        config=Config(data=data),
        dataset="folder/scans",
        slice_channels=1,
        window=trained.window,
        clipped=trained.clipped,
    )
    inputs = search.find([str(scans / "images")])
    opened = [pipeline._read(run, one) for one in inputs]
    given = [image for one in opened for image in neighbours.stacked(one.images, context)]
    np.testing.assert_array_equal(np.stack(given), trained.images)


def test_neighbours_of_single_pictures_are_refused_everywhere(scans: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(body(0)[..., :1], np.eye(4)), scans / "images/q.nii.gz")
    nibabel.save(nibabel.Nifti1Image(LABELS[..., 1:2], np.eye(4)), scans / "masks/q.nii.gz")
    data = Data(builder="folder", images=str(scans), data_dir=str(scans / "built"), size=(16, 16), context=1)
    with pytest.raises(InputError, match=r"q is a single picture, no slice of a volume"):
        dataset.load(data, Console(quiet=True))
    found, _ = source.inspect(data, Console(quiet=True))
    assert [fault for fault in found.faults if "q is a single picture" in fault]
    run = SimpleNamespace(config=Config(data=data), dataset="folder/scans", slice_channels=1, window=None)
    with pytest.raises(DataError, match=r"q\.nii\.gz: is a single picture.*give the volume"):
        pipeline._read(run, search.find([str(scans / "images/q.nii.gz")])[0])


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (lambda image: image.affine[:3, 3].__iadd__([0, 0, 3]), r"lies 3 mm from p1.nii.gz"),
        (lambda image: image.affine[:3, 0].__imul__(-1), r"lies [\d.]+ mm from p1.nii.gz"),
        (lambda image: image.affine[:3, :3].__imul__(1.2), r"lies [\d.]+ mm from p1.nii.gz"),
    ],
)
def test_a_mask_that_lies_elsewhere_is_refused(scans: Path, move: Callable[[Any], Any], message: str) -> None:
    path = scans / "masks/p1_seg.nii.gz"
    image = nibabel.load(placed(path, LABELS))
    affine = image.affine.copy()
    move(SimpleNamespace(affine=affine))
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), path)
    with pytest.raises(DataError, match=message) as error:
        scan.scan(settings(images=scans))
    assert "\n" not in str(error.value)


def test_a_mask_that_is_off_by_rounding_is_taken(scans: Path) -> None:
    path = scans / "masks/p1_seg.nii.gz"
    image = nibabel.load(placed(path, LABELS))
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine + 1e-4), path)
    assert scan.scan(settings(images=scans)).slices == (4, 4, 4)


@pytest.mark.parametrize("part", ["images/p1.nii.gz", "masks/p1_seg.nii.gz"])
def test_one_of_two_files_that_does_not_say_where_it_lies(scans: Path, part: str) -> None:
    nibabel.save(nibabel.Nifti1Image(LABELS, None), scans / part)
    with pytest.raises(DataError, match=rf"{part}: does not say where it lies .*, and p1.*\.nii\.gz does"):
        scan.scan(settings(images=scans))


def test_other_numbers_of_slices_are_said(scans: Path) -> None:
    placed(scans / "masks/p1_seg.nii.gz", LABELS[..., :3])
    with pytest.raises(
        DataError, match=r"p1.nii.gz is 18x17 x 4 slices but its mask p1_seg.nii.gz is 18x17 x 3 slices"
    ):
        scan.scan(settings(images=scans))


def test_labels_that_are_stored_as_floats(scans: Path, build_and_read: Callable[..., Any]) -> None:
    placed(scans / "masks/p0_seg.nii.gz", LABELS.astype(np.float64))
    scaled = nibabel.load(placed(scans / "masks/p1_seg.nii.gz", LABELS * 100))
    scaled.header.set_slope_inter(0.01, 0)
    scaled = nibabel.Nifti1Image(LABELS * 100, scaled.affine, scaled.header)
    scaled.header.set_slope_inter(0.01, 0)
    (scans / "masks/p1_seg.nii.gz").unlink()
    nibabel.save(scaled, scans / "masks/p1_seg.nii")
    assert np.abs(np.asarray(nibabel.load(scans / "masks/p1_seg.nii").dataobj) - LABELS).max() < 1e-6
    built = build_and_read("folder", images=scans)
    np.testing.assert_array_equal(np.stack(built.masks)[..., 0], np.concatenate([axial(LABELS)] * 3))
    placed(scans / "masks/p2_seg.nii.gz", LABELS * 0.5)
    with pytest.raises(DataError, match=r"p2_seg.nii.gz: holds 0(\.0)? to 1(\.0)?; a mask holds whole numbers"):
        scan.scan(settings(images=scans))


@pytest.fixture
def dicom_series(tmp_path: Path) -> Callable[[Sequence[str]], None]:
    """Return a function that writes series of DICOM files with NIfTI masks; a series for each patient given."""

    def write(patients: Sequence[str]) -> None:
        import pydicom

        (tmp_path / "masks").mkdir()
        for number, patient in enumerate(patients):
            for k, pixels in enumerate(axial(body(number))):
                path = tmp_path / f"images/s{number}/{k}.dcm"
                write_slice(path, pixels, position=2.0 * k, number=9 - k, series=f"1.2.{number + 1}")
                file = pydicom.dcmread(path)
                file.PatientID = patient
                if not patient:
                    del file.PatientID
                file.save_as(path)
            placed(tmp_path / f"masks/s{number}.nii.gz", LABELS, "RAS", sides=(0.8, 0.5, 2.0))

    return write


def test_dicom_series_with_nifti_masks(tmp_path: Path, dicom_series: Callable[[Sequence[str]], None]) -> None:
    dicom_series(["A", "B", "A", ""])
    found = scan.scan(settings(images=tmp_path))
    assert [pair.id for pair in found.pairs] == ["s0", "s1", "s2", "s3"]
    assert [pair.group for pair in found.pairs] == ["A", "B", "A", ""], "several series of a patient are one group"
    assert found.slices == (4, 4, 4, 4)
    image, labels = found.read(1)
    low, high = found.window or (0.0, 1.0)
    expected = np.clip((axial(body(1)) - 1024.0 - low) * 255 / (high - low), 0, 255)
    np.testing.assert_allclose(image[..., 0], expected, atol=0.501)
    np.testing.assert_array_equal(labels, axial(LABELS))


def test_a_nifti_mask_beside_its_dicom_series_is_refused(
    tmp_path: Path, dicom_series: Callable[[Sequence[str]], None]
) -> None:
    dicom_series(["A", "B"])
    placed(tmp_path / "masks/s1.nii.gz", LABELS, "RAS", sides=(0.8, 0.6, 2.0))
    with pytest.raises(DataError, match=r"s1.nii.gz: lies 1.6 mm from 0.dcm"):
        scan.scan(settings(images=tmp_path))


@pytest.mark.parametrize("axis", ["axial", "coronal"])
@pytest.mark.parametrize(
    "orientation",
    [(0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), (-1, 0, 0, 0, -1, 0), (1, 0, 0, 0, 1, 0), (0.6, 0.8, 0, 0, 0, -1)],
    ids=["sagittal", "coronal", "prone", "axial", "oblique"],
)
def test_a_nifti_mask_is_turned_as_its_dicom_series_lies(tmp_path: Path, orientation: Any, axis: str) -> None:
    """All are cubes, of which no size tells how they lie; `axis` is for NIfTI images."""
    across, down = np.reshape(orientation, (2, 3)).astype(float)
    labels = np.random.default_rng(0).integers(0, 2, (6, 6, 6)).astype(np.uint8)
    (tmp_path / "masks").mkdir()
    for number, stored in enumerate(("RAS", "PIR", "SLA")):
        for k in range(6):
            place = (7.0 + 2.0 * k * np.cross(across, down)).tolist()
            path = tmp_path / f"images/s{number}/{k}.dcm"
            write_slice(path, labels[k], place, f"1.2.{number + 1}", k, orientation)
        lying = np.column_stack([across * 0.8, down * 0.5, 2.0 * np.cross(across, down), [7.0] * 3])
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.vstack([lying, [0, 0, 0, 1]])
        image = nibabel.Nifti1Image(labels.transpose(2, 1, 0), affine)
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(affine), nibabel.orientations.axcodes2ornt(stored)
        )
        nibabel.save(image.as_reoriented(turn), tmp_path / f"masks/s{number}.nii.gz")
    found = scan.scan(settings(images=tmp_path, axis=axis))
    for number in range(3):
        np.testing.assert_array_equal(found.read(number)[1], labels)


def written(path: Path, kind: str, voxels: np.ndarray) -> None:
    """Write voxels (x, y, z) as a file of a `kind` of FITTING or TURNED, without regard to where they lie."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name, _, how = kind.partition(" ")
    pages = axial(voxels)
    if name == "DICOM":
        for k, pixels in enumerate(pages):
            place = path / f"{k}.dcm" if len(pages) > 1 else path.with_suffix(".dcm")
            height = {"down": -2.0 * k, "still": 0.0}.get(how, 2.0 * k)
            write_slice(place, pixels + np.int16(1024), height, number=9 - k if how == "still" else k)
            if how == "film":
                without(place, "ImagePositionPatient")
    elif name == "TIF":
        tifffile.imwrite(path.with_suffix(".tif"), pages, imagej=True, metadata={"axes": "ZYX"})
    elif name == "PNG":
        Image.fromarray(pages[0].astype(np.uint8)).save(path.with_suffix(".png"))
    else:
        affine = {
            "LPS": np.diag([-0.5, -2.0, 3.0, 1.0]),
            "RAS": np.diag([0.5, 2.0, 3.0, 1.0]),
            "bare": np.eye(4),
            "nowhere": None,
            "origin": np.eye(4) + np.eye(4, k=3),
        }[how]
        nibabel.save(nibabel.Nifti1Image(voxels, affine), path.with_suffix(".nii"))


FITTING = [
    *(("TIF", mask) for mask in ("TIF", "NIfTI LPS", "NIfTI nowhere")),
    *((image, "TIF") for image in ("NIfTI LPS", "NIfTI nowhere", "DICOM up", "DICOM film")),
    *(("PNG", mask) for mask in ("NIfTI LPS", "NIfTI bare", "NIfTI nowhere")),
    *((image, "PNG") for image in ("NIfTI LPS", "NIfTI bare", "NIfTI nowhere", "DICOM down")),
    *(("NIfTI nowhere", "NIfTI nowhere"), ("DICOM film", "NIfTI LPS"), ("DICOM down", "DICOM down")),
    ("DICOM still", "DICOM still"),
]
TURNED = [
    *(("TIF", "NIfTI RAS"), ("NIfTI RAS", "TIF"), ("DICOM down", "TIF"), ("DICOM film", "NIfTI RAS")),
    ("DICOM still", "TIF"),
    *(("PNG", "NIfTI origin"), ("NIfTI origin", "PNG"), ("DICOM down", "DICOM film")),
]


@pytest.mark.parametrize(("image", "mask"), [*FITTING, *TURNED])
def test_masks_of_another_format_fit_or_are_refused(tmp_path: Path, image: str, mask: str) -> None:
    """Refuse files of which one is read as it lies in the patient, and the other as it is stored, and no others."""
    single = "PNG" in (image, mask)
    part = (slice(None), slice(None), slice(1, 2 if single else None))
    written(tmp_path / "images/a", image, (body(0) // 4 + 100 * LABELS)[part].astype(np.int16))
    written(tmp_path / "masks/a", mask, LABELS[part])
    given = settings(images=tmp_path, pages="slices")
    if (image, mask) in FITTING:
        pixels, labels = scan.scan(given).read(0)
        np.testing.assert_array_equal(labels > 0, pixels[..., 0] > pixels[labels == 0].max())
        return
    kind = {"PNG": "PNG", "TIF": "TIF", "DICOM film": "TIF"}.get(image, "NIfTI")
    with pytest.raises(DataError, match=rf"masks/a.*: may be turned against .*; export the mask as {kind}$") as error:
        scan.scan(given)
    assert "\n" not in str(error.value)


def test_a_tif_that_was_predicted_for_a_dicom_series_is_in_its_order(tmp_path: Path) -> None:
    """Read a TIF that `launch.predict` wrote in the order of its reading, since no DICOM SEG could be written."""
    written(tmp_path / "images/a", "DICOM down", body(0, np.int16))
    written(tmp_path / "output/masks/a", "TIF", LABELS)
    given = settings(images=tmp_path / "images", masks=tmp_path / "output/masks")
    with pytest.raises(DataError, match="may be turned"):
        scan.scan(given)
    (tmp_path / "output" / search.PREDICTION).write_text("{}")
    np.testing.assert_array_equal(scan.scan(given).read(0)[1], axial(LABELS))


def test_a_nifti_mask_of_a_single_dicom_slice(tmp_path: Path) -> None:
    """It lies in a volume, where its affine is rounded otherwise than in DICOM."""
    write_slice(tmp_path / "images/a.dcm", body(0)[..., 0].T, position=-433.35)
    (tmp_path / "masks").mkdir()
    affine = np.diag([-0.8, -0.5, 5.0, 1.0])
    for height, refused in ((-433.35, False), (-433.35 + 0.2, False), (-433.35 + 1, True)):
        affine[2, 3] = height
        nibabel.save(nibabel.Nifti1Image(LABELS[..., 1:2], affine + 1e-6 * np.eye(4, k=3)), tmp_path / "masks/a.nii.gz")
        if refused:
            with pytest.raises(DataError, match=r"a\.nii\.gz: lies 1 mm from a\.dcm"):
                scan.scan(settings(images=tmp_path))
        else:
            np.testing.assert_array_equal(scan.scan(settings(images=tmp_path)).read(0)[1], axial(LABELS)[1:2])


def test_slices_are_read_volume_by_volume(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices that are wanted in order decode each volume once, and so do threads that want one volume."""
    found = scan.scan(settings(images=scans))
    read, lock, seen = scan.Scan.read, threading.Lock(), []

    def counted(self: scan.Scan, number: int) -> Any:
        with lock:
            seen.append(number)
        return read(self, number)

    monkeypatch.setattr(scan.Scan, "read", counted)
    by_slice = scan.by_slice(found)
    images = [by_slice(index)[0] for index in range(12)]
    assert seen == [0, 1, 2]
    with ThreadPoolExecutor(4) as pool:
        again = [image for image, _ in pool.map(scan.by_slice(found), range(4, 8))]
    assert seen == [0, 1, 2, 1]
    np.testing.assert_array_equal(again, images[4:8])
    np.testing.assert_array_equal(np.stack(images)[..., 0], np.concatenate([axial(body(n)) for n in range(3)]))


def test_how_is_that_of_the_settings() -> None:
    assert settings(axis="coronal").how == How(axis="coronal")


def test_what_was_recognised_is_said(scans: Path) -> None:
    assert "3 images (51 coronal slices) in" in scan.scan(settings(images=scans, axis="coronal")).describe()
    assert not [note for note in check.check(settings(images=scans)).notes if "lie in the patient" in note]
    for path in ("images/p1.nii.gz", "masks/p1_seg.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(LABELS, None), scans / path)
    (note,) = (note for note in check.check(settings(images=scans)).notes if "lie in the patient" in note)
    assert "it is not known where the volumes p1 lie" in note


def test_the_window_of_many_slices_is_that_of_a_sample(tmp_path: Path) -> None:
    """Every third slice of a hundred; 63 slices count one and all."""
    for slices, step in ((100, 3), (63, 1)):
        voxels = np.random.default_rng(slices).normal(0, 100, (9, 8, slices)).astype(np.float32)
        path = placed(tmp_path / "a.nii", voxels)
        expected = np.percentile(axial(voxels)[::step], (0.1, 99.9))
        np.testing.assert_allclose(images.common_window([[path]]), expected)


def test_channels_that_are_files_lie_in_one_grid(tmp_path: Path) -> None:
    """Each channel may be stored in axes of its own, as nnU-Net allows, and none may lie elsewhere."""
    paths = [placed(tmp_path / f"a_{k:04}.nii.gz", body(k), axes) for k, axes in enumerate(("RAS", "PIR"))]
    how = How(axis="coronal")
    pictures, header = formats.read(paths, how).pictures, formats.header(paths, how)
    for channel in (0, 1):
        np.testing.assert_array_equal(pictures[..., channel], body(channel).transpose(1, 2, 0)[:, ::-1])
    np.testing.assert_allclose(header.grid, formats.header(paths[:1], how).grid)
    mask = placed(tmp_path / "a.nii.gz", LABELS, "SLA")
    volumes.check_grids(Pair("a", tuple(paths), (mask,)), header, how)
    affine = nibabel.load(placed(paths[1], body(1))).affine
    for other in (affine + 2 * np.eye(4, k=3), None):
        nibabel.save(nibabel.Nifti1Image(body(1), other), paths[1])
        for read in (formats.read, formats.header):
            with pytest.raises(DataError, match=r"a_0001.nii.gz: (lies 2 mm from a_0000|does not say where it lies)"):
                read(paths)


def test_files_of_classes_lie_in_the_grid_of_the_image(tmp_path: Path) -> None:
    image = placed(tmp_path / "a.nii.gz", body(0), "RAS")
    masks = tuple(
        placed(tmp_path / f"a_{k}.nii.gz", (k == LABELS).astype(np.uint8), axes) for k, axes in ((1, "RAS"), (2, "SLA"))
    )
    volumes.check_grids(Pair("a", (image,), masks), formats.header([image]), How())
    moved = placed(masks[1], (LABELS == 2).astype(np.uint8), sides=(0.5, 2.0, 4.0))
    with pytest.raises(DataError, match=r"a_2.nii.gz: lies 3 mm from a_1.nii.gz"):
        volumes.check_grids(Pair("a", (image,), (masks[0], moved)), formats.header([image]), How())
