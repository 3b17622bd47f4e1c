"""Every format, read and written back: the mask lies on the image, in whatever way the file says where that is."""

import gzip
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

from datasets import formats
from datasets.files import DataError
from datasets.folder import images
from datasets.folder.scan import scan as scan_folder
from datasets.formats import dicom, nifti, picture, tif
from launch.preview.overlay import PALETTE, overlay
from sharp_unet_jax.data.pixels import as_trained
from sharp_unet_jax.errors import InputError
from tests.datasets.folder.test_images import BLOB, GREY, KINDS, RGB

CLASSES = ("background", "lung", "lesion")
PAGES = np.moveaxis(RGB, -1, 0)
COLOURS = np.random.default_rng(2).integers(0, 2**16, (3, 256), np.uint16)
PICTURES = {kind: parts[:3] for kind, parts in KINDS.items()} | {
    "1-bit TIF": ("a.tif", BLOB, {"photometric": "minisblack"}),
    "TIF of 16 bits": ("a.tif", GREY.astype(np.uint16) * 200, {}),
    "TIF with a palette": ("a.tif", GREY, {"photometric": "palette", "colormap": COLOURS}),
    "TIF of grey and alpha": ("a.tif", RGB[..., :2], {"photometric": "minisblack"}),
    "TIF of three grey pages": ("a.tif", PAGES, {"photometric": "minisblack"}),
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def labels_of(shape):
    labels = np.zeros(shape, np.uint8)
    labels[:, 1:3, 2:4] = 1
    labels[-1, 4:, 5:] = 2
    return labels


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("L", (1, 6, 8)), ("LA", (1, 6, 8)), ("RGB", (1, 6, 8, 3)), ("RGBA", (1, 6, 8, 3)), ("P", (1, 6, 8, 3))],
)
def test_pictures_of_every_mode(tmp_path, rng, mode, shape):
    Image.fromarray(rng.integers(0, 255, (6, 8, 4), np.uint8)).convert("RGB").convert(mode).save(tmp_path / "a.png")
    stack = picture.read([tmp_path / "a.png"])
    assert stack.pictures.shape == shape
    assert stack.pictures.dtype == np.uint8


def test_a_mask_is_a_png_with_a_palette(tmp_path):
    labels = labels_of((1, 6, 8))
    picture.write_masks(tmp_path / "m.png", labels, picture.Stack(labels), CLASSES)
    with Image.open(tmp_path / "m.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), labels[0])
        np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), PALETTE[labels[0]])


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_read_as_in_training(tmp_path, kind):
    """Or the network would be given what it has never seen."""
    name, pixels, options = PICTURES[kind]
    path = tmp_path / "images" / name
    path.parent.mkdir()
    (tmp_path / "masks").mkdir()
    Image.fromarray(BLOB).save(tmp_path / "masks/a.png")
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, **options)
    else:
        (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path)
    found = scan_folder(tmp_path)
    (one,) = formats.find([str(path)])
    pictures = one.family.read(one.paths).pictures
    pictures = pictures[..., None] if pictures.ndim == 3 else pictures
    expected = images.read(path, found.channels, found.span)[None]
    np.testing.assert_array_equal(as_trained(pictures, found.channels, found.span), expected)


@pytest.mark.parametrize(
    ("array", "options", "shape"),
    [
        (np.zeros((6, 8), np.uint16), {}, (1, 6, 8)),
        (np.zeros((5, 6, 8), np.uint8), {"photometric": "minisblack"}, (5, 6, 8)),
        (np.zeros((3, 6, 8), np.uint8), {"photometric": "minisblack"}, (1, 6, 8, 3)),
        (np.zeros((3, 6, 8), np.uint8), {"photometric": "minisblack", "metadata": None}, (3, 6, 8)),
        (np.zeros((3, 6, 8), np.uint8), {"imagej": True, "metadata": {"axes": "ZYX"}}, (3, 6, 8)),
        (np.zeros((6, 8, 3), np.uint8), {"photometric": "rgb"}, (1, 6, 8, 3)),
        (np.zeros((6, 8, 4), np.uint8), {"photometric": "rgb", "extrasamples": ["unassalpha"]}, (1, 6, 8, 3)),
        (np.zeros((2, 6, 8, 3), np.uint8), {"photometric": "rgb"}, (2, 6, 8, 3)),
        (np.zeros((3, 6, 8), np.uint8), {"photometric": "rgb", "planarconfig": "separate"}, (1, 6, 8, 3)),
        (np.zeros((2, 3, 6, 8), np.uint8), {"imagej": True, "metadata": {"axes": "ZCYX"}}, (2, 6, 8, 3)),
    ],
)
def test_pages_and_colours_of_a_tif(tmp_path, array, options, shape):
    array = array.copy()
    array.flat[: array.size // 2] = 7
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    stack = tif.read([tmp_path / "a.tif"])
    assert stack.pictures.shape == shape
    assert stack.pictures.dtype == array.dtype


@pytest.mark.parametrize("shape", [(4, 6, 8), (2, 4, 6, 8), (2, 6, 8)])
def test_channels_of_a_tif_that_are_no_colours_are_refused(tmp_path, shape):
    axes = "ZCYX"[4 - len(shape) :]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint16), imagej=True, metadata={"axes": axes})
    with pytest.raises(DataError, match="are not pages of grey or RGB"):
        tif.read([tmp_path / "a.tif"])


def test_a_tif_mask_has_the_pages_and_a_palette(tmp_path, rng):
    labels = labels_of((3, 6, 8))
    tif.write_masks(tmp_path / "m.tif", labels, tif.Stack(labels), CLASSES)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "m.tif"), labels)
    with tifffile.TiffFile(tmp_path / "m.tif") as mask:
        np.testing.assert_array_equal(mask.pages[0].colormap.T >> 8, PALETTE)
    probabilities = rng.random((3, 6, 8, 3), np.float32)
    tif.write_probabilities(tmp_path / "p.tif", probabilities, tif.Stack(labels), CLASSES)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "p.tif")[3:6], np.moveaxis(probabilities[1], -1, 0))


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PIR", "SLA"])
def test_a_nifti_is_seen_alike_however_its_axes_are_stored(tmp_path, rng, axes):
    """One body in four storage orders: the slices seen are the same, and each mask has its file's own order."""
    body = rng.integers(-1000, 500, (7, 6, 5)).astype(np.int16)  # x to the left, y to the back, z to the head
    image = nibabel.Nifti1Image(body, np.diag([-0.5, -2.0, 3.0, 1.0]))
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("LPS"), nibabel.orientations.axcodes2ornt(axes)
    )
    stored = image.as_reoriented(turn)
    assert "".join(nibabel.aff2axcodes(stored.affine)) == axes
    stored.set_sform(stored.affine, 1)
    nibabel.save(stored, tmp_path / "a.nii.gz")
    stack = nifti.read([tmp_path / "a.nii.gz"])
    np.testing.assert_array_equal(stack.pictures, body.transpose(2, 1, 0))
    assert stack.area == pytest.approx(1.0)
    labels = (stack.pictures > 0).astype(np.uint8)
    nifti.write_masks(tmp_path / "m.nii.gz", labels, stack, CLASSES)
    mask = nibabel.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(stored.dataobj) > 0)
    np.testing.assert_allclose(mask.affine, stored.affine)
    assert mask.get_data_dtype() == np.uint8
    nifti.write_probabilities(tmp_path / "p.nii.gz", rng.random((5, 6, 7, 3), np.float32), stack, CLASSES)
    assert nibabel.load(tmp_path / "p.nii.gz").shape == (*stored.shape, 3)


def test_a_nifti_that_does_not_say_where_it_lies_is_taken_as_stored(tmp_path, rng):
    voxels = rng.integers(0, 9, (7, 6, 5)).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, None)
    nibabel.save(image, tmp_path / "a.nii")
    stack = nifti.read([tmp_path / "a.nii"])
    np.testing.assert_array_equal(stack.pictures, voxels.transpose(2, 1, 0))
    assert stack.area is None


def test_a_real_volume(tmp_path):
    """nibabel's own scan: big-endian, 2 mm, its second axis to the front."""
    path = Path(nibabel.__file__).parent / "tests/data/anatomical.nii"
    image, stack = nibabel.load(path), nifti.read([path])
    voxels = np.asarray(image.dataobj)
    assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
    np.testing.assert_array_equal(stack.pictures, voxels[:, ::-1].transpose(2, 1, 0))
    assert stack.area == pytest.approx(4.0)
    labels = (stack.pictures > 9000).astype(np.uint8)
    nifti.write_masks(tmp_path / "m.nii.gz", labels, stack, CLASSES)
    mask = nibabel.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), voxels > 9000)
    np.testing.assert_allclose(mask.affine, image.affine)
    with pytest.raises(DataError, match=r"example4d.nii.gz: is of shape \(128, 96, 24, 2\).*save its volumes apart"):
        nifti.read([path.with_name("example4d.nii.gz")])


def test_what_is_no_volume_is_refused(tmp_path, rng):
    nibabel.save(nibabel.Nifti1Image(rng.random((4, 4, 3, 2)), np.eye(4)), tmp_path / "four.nii.gz")
    with pytest.raises(DataError, match=r"four.nii.gz: is of shape \(4, 4, 3, 2\)"):
        nifti.read([tmp_path / "four.nii.gz"])
    whole = (tmp_path / "four.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.nii").write_text("not a volume")
    for name in ("cut.nii.gz", "text.nii"):
        with pytest.raises(DataError, match=f"{name}: cannot be read as NIfTI"):
            nifti.read([tmp_path / name])
    (tmp_path / "text.tif").write_text("not a picture")
    with pytest.raises(DataError, match="cannot be read as a TIF"):
        tif.read([tmp_path / "text.tif"])


def write_slice(path: Path, pixels, position=0.0, series="1.2.3", number=1):
    """A CT slice as a scanner writes it."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{series}.{number}"
    file = pydicom.dataset.Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality, file.SeriesInstanceUID, file.StudyInstanceUID = "CT", series, "1.2"
    file.FrameOfReferenceUID = "1.2.9"
    file.PatientID, file.PatientName, file.PatientBirthDate, file.PatientSex = "1", "A^B", "", ""
    file.StudyDate, file.StudyTime, file.StudyID, file.AccessionNumber = "20260101", "120000", "1", ""
    file.ReferringPhysicianName, file.InstanceNumber, file.SeriesNumber = "", number, 1
    file.ImagePositionPatient, file.ImageOrientationPatient = [0.0, 0.0, position], [1, 0, 0, 0, 1, 0]
    file.PixelSpacing, file.SliceThickness = [0.5, 0.8], 2.0
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.RescaleSlope, file.RescaleIntercept = 1, -1024
    file.PixelData = pixels.astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


@pytest.fixture
def scan(tmp_path, rng):
    """A series of three slices, numbered against their order in space."""
    raw = rng.integers(0, 2000, (3, 6, 8))
    for k, pixels in enumerate(raw):
        write_slice(tmp_path / "scan" / f"{9 - k}.dcm", pixels, position=2.0 * k, number=9 - k)
    return tmp_path / "scan", raw


def test_a_series_is_read_in_the_order_of_space_and_in_hounsfield_units(scan):
    folder, raw = scan
    (one,) = formats.find([str(folder)])
    assert (one.name, len(one.paths)) == ("scan", 3)
    stack = one.family.read(one.paths)
    np.testing.assert_array_equal(stack.pictures, raw - 1024)
    assert stack.area == pytest.approx(0.4)


def test_a_dicom_mask_refers_to_its_slices(scan, tmp_path, rng):
    folder, _ = scan
    (one,) = formats.find([str(folder)])
    stack = one.family.read(one.paths)
    labels = labels_of((3, 6, 8))
    dicom.write_masks(tmp_path / "m.dcm", labels, stack, CLASSES)
    mask = highdicom.seg.segread(tmp_path / "m.dcm")
    assert [mask.get_segment_description(k).segment_label for k in (1, 2)] == ["lung", "lesion"]
    ids = [file.SOPInstanceUID for file in stack.origin]
    assert ids == ["1.2.3.9", "1.2.3.8", "1.2.3.7"]
    found = mask.get_pixels_by_source_instance(ids, combine_segments=True, assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(found, labels)
    assert mask.PatientID == "1"
    probabilities = rng.random((3, 6, 8, 3), np.float32)
    dicom.write_probabilities(tmp_path / "p.dcm", probabilities, stack, CLASSES)
    found = highdicom.seg.segread(tmp_path / "p.dcm").get_pixels_by_source_instance(ids)
    np.testing.assert_allclose(found, probabilities[..., 1:], atol=1 / 254)


def test_nothing_found_is_a_valid_dicom_mask(scan, tmp_path):
    folder, _ = scan
    stack = dicom.read(sorted(folder.iterdir()))
    dicom.write_masks(tmp_path / "m.dcm", np.zeros((3, 6, 8), np.uint8), stack, CLASSES[:2])
    mask = highdicom.seg.segread(tmp_path / "m.dcm")
    assert mask.pixel_array.max() == 0


def test_dicom_files_alone_and_series_side_by_side(tmp_path, rng):
    for name, series in (("a.dcm", "1.1"), ("b", "1.2")):
        write_slice(tmp_path / "x" / name, rng.integers(0, 9, (4, 4)), series=series)
    assert [one.name for one in formats.find([str(tmp_path / "x")])] == ["a", "b"]
    assert [one.name for one in formats.find([str(tmp_path / "x" / "b")])] == ["b"]
    for k in range(4):
        write_slice(tmp_path / "x" / f"c{k}.dcm", rng.integers(0, 9, (4, 4)), series=f"1.{3 + k % 2}", number=k)
    assert [one.name for one in formats.find([str(tmp_path)])] == ["x/1.3", "x/1.4", "x/a", "x/b"]


def test_what_is_no_dicom_is_said(tmp_path):
    (tmp_path / "a.dcm").write_text("not a picture")
    (one,) = formats.find([str(tmp_path)])
    with pytest.raises(DataError, match=r"a\.dcm: cannot be read as DICOM"):
        one.family.read(one.paths)


def test_without_the_extra_dicom_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(InputError, match=r'pip install "\.\[dicom\]"'):
        dicom.read([tmp_path / "a.dcm"])


def test_inputs_are_found_and_named(tmp_path):
    users = ("2.png", "10.JPG", "deep/er/3.tif", "v.nii.gz", "notes.txt", ".hidden.png")
    made = [f"{out}/{name}" for out in ("out", "deep/out") for name in ("masks/er/2.tif", "prediction.json")]
    for name in (*users, *made):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b""))
    assert [one.name for one in formats.find([str(tmp_path)])] == ["2", "10", "deep/er/3", "v"]
    assert [one.name for one in formats.find([str(tmp_path / "**" / "*.tif")])] == ["3"]
    assert [one.name for one in formats.find([str(tmp_path / "2.png"), str(tmp_path / "deep/er/3.tif")])] == [
        "2",
        "deep/er/3",
    ]


def test_names_do_not_depend_on_how_paths_are_given(tmp_path, monkeypatch):
    for name in ("in/a.png", "x/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("x")
    monkeypatch.chdir(tmp_path / "in")
    for given in (["a.png", "../x/b.png"], ["a.png", str(tmp_path / "x/b.png"), "./a.png"]):
        assert [(one.name, *one.paths) for one in formats.find(given)] == [
            ("in/a", tmp_path / "in/a.png"),
            ("x/b", tmp_path / "x/b.png"),
        ]


def test_what_is_named_and_no_image_is_noted(tmp_path):
    for name in ("a.png", "notes.txt"):
        (tmp_path / name).write_text("x")
    given, faults = [str(tmp_path / name) for name in ("a.png", "notes.txt", "notes.txt")], []
    assert [one.name for one in formats.find(given, faults)] == ["a"]
    assert [fault.split(" (")[0] for fault in faults] == [f"{tmp_path}/notes.txt: is of no format known here"]
    with pytest.raises(InputError, match=r"notes.txt: is of no format known here"):
        formats.find(given)
    with pytest.raises(InputError, match=r"notes.txt: is of no format known here"):
        formats.find(given[1:], [])


def test_inputs_that_are_none(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="there is no such file or folder"):
        formats.find([str(tmp_path / "*.png")])
    with pytest.raises(InputError, match="holds no images"):
        formats.find([str(tmp_path)])
    with pytest.raises(InputError, match="of no format known here"):
        formats.find([str(tmp_path / "notes.txt")])
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=r"a\.(png|jpg) and .*a\.(png|jpg) would both become a:"):
        formats.find([str(tmp_path)])


def test_an_overlay_outlines_and_tints():
    picture_ = np.full((9, 9, 1), 100, np.uint8)
    labels = np.zeros((9, 9), np.uint8)
    labels[2:7, 2:7] = 2
    drawn = overlay(picture_, labels)
    assert (drawn[0, 0] == 100).all()
    np.testing.assert_array_equal(drawn[2, 4], PALETTE[2])
    np.testing.assert_allclose(drawn[4, 4], 0.75 * 100 + 0.25 * PALETTE[2].astype(float), atol=1)
    assert len(np.unique(PALETTE, axis=0)) == 256
