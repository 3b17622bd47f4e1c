"""DICOM: what files hold, which belong to one series, and masks that lie on their slices.

Real files come with pydicom; slices whose pixels are known are written here.
"""

import os
import re
import shutil
import sys
import warnings
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from datasets.errors import DataError
from datasets.files import read_image
from datasets.formats import dicom, dicom_seg, dicom_series, picture, search, tif
from sharp_unet_jax.advice import memory
from sharp_unet_jax.errors import InputError
from tests.datasets.formats.conftest import CLASSES, labels_of


def real(name: str) -> Path:
    """Return a file or folder that comes with pydicom, without a download."""
    return Path(pydicom.data.__file__).parent / "test_files" / name


def pixels(name: str) -> np.ndarray:
    (picture,) = dicom.read([real(name)]).pictures
    return picture[..., 0] if picture.shape[-1] == 1 else picture


def changed(name: str, path: Path, **elements) -> Path:
    """Write a copy of a real file with other elements."""
    file = pydicom.dcmread(real(name))
    for element, value in elements.items():
        setattr(file, element, value)
    file.save_as(path)
    return path


def blocks(shape) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[:, 2:7, 3:9] = 1
    labels[-1, 9:12, 4:15] = 2
    return labels


def test_a_ct_is_in_hounsfield_units():
    raw = np.frombuffer(pydicom.dcmread(real("CT_small.dcm")).PixelData, "<i2").reshape(128, 128)
    np.testing.assert_array_equal(pixels("CT_small.dcm"), raw.astype(float) - 1024)
    assert dicom.read([real("CT_small.dcm")]).area == pytest.approx(0.661468**2)


def test_slope_and_intercept_are_applied(tmp_path):
    """A PET or a CT of another maker has a slope that is not 1."""
    path = changed("CT_small.dcm", tmp_path / "a.dcm", RescaleSlope="2.5", RescaleIntercept="-7")
    raw = np.frombuffer(pydicom.dcmread(path).PixelData, "<i2").reshape(1, 128, 128)
    np.testing.assert_allclose(dicom.read([path]).pictures[..., 0], 2.5 * raw - 7, rtol=1e-6)


@pytest.mark.parametrize("kind", ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit"])
def test_one_picture_in_every_encoding(kind):
    np.testing.assert_array_equal(pixels(f"MR_small_{kind}.dcm"), pixels("MR_small.dcm"))


def test_what_no_decoder_reads_says_what_to_install():
    if pydicom.pixels.get_decoder(pydicom.uid.JPEGLosslessSV1).is_available:
        pytest.skip("a decoder for JPEG Lossless is installed here")
    with pytest.raises(DataError, match=r"SC_rgb_jpeg_gdcm.dcm: .*JPEG Lossless.*: pip install pylibjpeg") as error:
        pixels("SC_rgb_jpeg_gdcm.dcm")
    assert "\n" not in str(error.value)


def test_a_palette_is_looked_up():
    file = pydicom.dcmread(real("examples_palette.dcm"))
    red = np.frombuffer(file.RedPaletteColorLookupTableData, "<u2")
    index = np.frombuffer(file.PixelData, np.uint8)[: 350 * 800].reshape(350, 800)
    picture = pixels("examples_palette.dcm")
    assert picture.shape == (350, 800, 3)
    np.testing.assert_array_equal(picture[..., 0], red[index] >> 8)
    assert np.ptp(picture.astype(int), axis=-1).max() > 0, "it is not all grey"


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (12, np.uint16)])
def test_what_is_shown_inverted_is_inverted(tmp_path, bits, dtype):
    raw = np.arange(64 * 64, dtype=dtype).reshape(64, 64) % 200
    path = changed(
        "MR_small.dcm",
        tmp_path / "a.dcm",
        PhotometricInterpretation="MONOCHROME1",
        PixelRepresentation=0,
        BitsAllocated=raw.itemsize * 8,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelData=raw.tobytes(),
    )
    stack = dicom.read([path])
    assert stack.pictures.dtype == dtype
    np.testing.assert_array_equal(stack.pictures[0, ..., 0], 2**bits - 1 - raw)


@pytest.mark.parametrize(("modality", "inverted"), [("CR", True), ("CT", False)])
def test_slopes_and_signs_do_not_keep_a_picture_from_being_inverted(tmp_path, modality, inverted):
    """A film beside one without a slope would be its negative; a CT is measured."""
    elements = {"PhotometricInterpretation": "MONOCHROME1", "Modality": modality}
    path = changed("CT_small.dcm", tmp_path / "a.dcm", RescaleSlope="2", RescaleIntercept="-7", **elements)
    raw = np.frombuffer(pydicom.dcmread(path).PixelData, "<i2").reshape(128, 128)
    (picture,) = dicom.read([path]).pictures[..., 0]
    np.testing.assert_array_equal(picture, 2.0 * (-1.0 - raw if inverted else raw) - 7)


@pytest.mark.parametrize(
    ("stored", "padding", "limit", "expected"),
    [
        ([-2000, -3, 5, 9], -2000, None, [-3, -3, 5, 9]),
        ([-2000, -1990, 5, 9], -1990, -2000, [5, 5, 5, 9]),
        ([-2000, -3, 5, 9], 63536, None, [-3, -3, 5, 9]),
        ([4095, -3, 5, 9], 4095, None, [-3, -3, 5, 9]),
        ([-2000, -3, 5, 9], 5, None, [-2000, -3, 5, 9]),
        ([-2000, -2000, -2000, -2000], -2000, None, [-2000, -2000, -2000, -2000]),
    ],
)
@pytest.mark.parametrize("shown", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_as_dark_as_the_darkest_pixel(tmp_path, stored, padding, limit, expected, shown):
    """A value among those of other pixels is kept, and so is a picture of nothing else."""
    write_slice(tmp_path / "a.dcm", np.zeros((2, 2)))
    file = pydicom.dcmread(tmp_path / "a.dcm")
    file.PixelData, file.PixelRepresentation = np.array(stored, "<i2").tobytes(), 1
    file.Modality, file.PhotometricInterpretation = "DX", shown
    file.add_new("PixelPaddingValue", "US" if padding > 32767 else "SS", padding)
    if limit is not None:
        file.add_new("PixelPaddingRangeLimit", "SS", limit)
    file.save_as(tmp_path / "a.dcm")
    found = dicom.read([tmp_path / "a.dcm"]).pictures.ravel()
    if shown == "MONOCHROME1":  # where what is darkest is the highest of the stored values
        others = [value for value, other in zip(stored, expected, strict=True) if value == other]
        expected = [-1 - (value if value in others else max(others)) for value in stored]
    np.testing.assert_array_equal(found + 1024, expected)


def test_a_real_series_and_where_its_mask_lies(tmp_path):
    (one,) = search.find([str(real("dicomdirtests/98892001/CT5N"))])
    assert len(one.paths) == 5
    stack = one.family.read(one.paths)
    volume = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in one.paths])
    labels = blocks(stack.pictures.shape[:3])
    dicom.write_masks(tmp_path / "m.dcm", labels, stack, CLASSES)
    mask = highdicom.seg.segread(tmp_path / "m.dcm").get_volume(combine_segments=True)
    np.testing.assert_allclose(mask.affine, volume.affine, atol=1e-6)
    feet_first = np.linalg.inv(volume.affine) @ [*map(float, stack.origin[0].ImagePositionPatient), 1]
    order = slice(None) if round(feet_first[0]) == 0 else slice(None, None, -1)
    np.testing.assert_array_equal(mask.array, labels[order])
    np.testing.assert_allclose(volume.array[order], stack.pictures[..., 0])  # highdicom returns Hounsfield units too


def test_a_volume_in_one_file(tmp_path):
    """The enhanced CT of the series has a slope and an intercept for each frame."""
    files = [pydicom.dcmread(path) for path in real("dicomdirtests/98892001/CT5N").iterdir()]
    files.sort(key=lambda file: file.ImagePositionPatient[2])
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        legacy_datasets=files,
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
    )
    enhanced.save_as(tmp_path / "e.dcm")
    stack, series = dicom.read([tmp_path / "e.dcm"]), dicom.read(list(real("dicomdirtests/98892001/CT5N").iterdir()))
    positions = [
        groups.PlanePositionSequence[0].ImagePositionPatient[2]
        for groups in stack.origin[0].PerFrameFunctionalGroupsSequence
    ]
    np.testing.assert_array_equal(stack.pictures[np.argsort(positions)], series.pictures)
    assert stack.area == pytest.approx(series.area)
    labels = blocks(stack.pictures.shape[:3])
    dicom.write_masks(tmp_path / "m.dcm", labels, stack, CLASSES)
    mask = highdicom.seg.segread(tmp_path / "m.dcm")
    frames = range(1, 6)
    found = mask.get_pixels_by_source_frame(stack.origin[0].SOPInstanceUID, frames, combine_segments=True)
    np.testing.assert_array_equal(found, labels)


def test_a_localizer_is_one_picture_an_orientation(tmp_path):
    inputs = search.find([str(real("dicomdirtests/98892001"))])
    assert [(one.name, len(one.paths)) for one in inputs] == [("CT2N/6293", 1), ("CT2N/6924", 1), ("CT5N", 5)]
    stack = dicom.read(inputs[0].paths)
    dicom.write_masks(tmp_path / "m.dcm", blocks(stack.pictures.shape[:3]), stack, CLASSES)
    assert highdicom.seg.segread(tmp_path / "m.dcm").pixel_array.any()


def test_what_is_no_picture_is_passed_over(tmp_path):
    for name in ("CT_small.dcm", "rtdose.dcm", "test-SR.dcm", "liver_1frame.dcm", "dicomdirtests/DICOMDIR"):
        shutil.copy(real(name), tmp_path)
    assert [one.name for one in search.find([str(tmp_path)])] == ["CT_small"]
    with pytest.raises(InputError, match="none with pictures"):
        search.find([str(tmp_path / "rtdose.dcm")])


def test_a_film_that_lies_nowhere_has_no_mask(tmp_path):
    stack = dicom.read([real("examples_ybr_color.dcm")])
    assert stack.pictures.shape == (30, 240, 320, 3)
    with pytest.raises(DataError, match=r"no DICOM SEG can be written.*save its pictures as TIF"):
        dicom.write_masks(tmp_path / "m.dcm", np.zeros((30, 240, 320), np.uint8), stack, CLASSES[:2])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [("MR_truncated.dcm", "less than expected"), ("no_meta.dcm", "lacks the mark"), ("badVR.dcm", "invalid literal")],
)
def test_damaged_files_are_one_line(name, message):
    with pytest.raises(DataError, match=rf"{name}: cannot be read as DICOM pictures .*{message}") as error:
        pixels(name)
    assert "\n" not in str(error.value)


def write_slice(path: Path, pixels, position=0.0, series="1.2.3", number=1, orientation=(1, 0, 0, 0, 1, 0)):
    """Write a CT slice as a scanner does; its position is a height, or three coordinates."""
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
    file.ImagePositionPatient = [0.0, 0.0, position] if np.ndim(position) == 0 else [*position]
    file.ImageOrientationPatient = [*orientation]
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
    """Return the folder and the stored pixels of three slices, which are numbered against their order in space."""
    raw = rng.integers(0, 2000, (3, 6, 8))
    for k, pixels in enumerate(raw):
        write_slice(tmp_path / "scan" / f"{9 - k}.dcm", pixels, position=2.0 * k, number=9 - k)
    return tmp_path / "scan", raw


def test_a_series_is_read_in_the_order_of_space_and_in_hounsfield_units(scan):
    folder, raw = scan
    (one,) = search.find([str(folder)])
    assert (one.name, len(one.paths)) == ("scan", 3)
    stack = one.family.read(one.paths)
    np.testing.assert_array_equal(stack.pictures[..., 0], raw - 1024)
    assert stack.area == pytest.approx(0.4)


def test_a_dicom_mask_refers_to_its_slices(scan, tmp_path, rng):
    folder, _ = scan
    (one,) = search.find([str(folder)])
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
    assert [one.name for one in search.find([str(tmp_path / "x")])] == ["a", "b"]
    assert [one.name for one in search.find([str(tmp_path / "x" / "b")])] == ["b"]
    for k in range(4):
        write_slice(tmp_path / "x" / f"c{k}.dcm", rng.integers(0, 9, (4, 4)), series=f"1.{3 + k % 2}", number=k)
    assert [one.name for one in search.find([str(tmp_path)])] == ["x/1.3", "x/1.4", "x/a", "x/b"]


@pytest.mark.parametrize(
    "uid",
    [
        "../../escaped",
        "/tmp/escaped",
        "..",
        "1.2/3",
        "a" * 300,
        "C:\\x",
        "1.2\n3",
        "\u00e9",
        "1." * 32 + "1",
        "con",
        "1..2",
    ],
)
def test_a_uid_of_other_characters_is_no_path(tmp_path, rng, uid):
    for name, series in (("a", uid), ("b", "1.2.3.5")):
        for number in range(2):
            pixels = rng.integers(0, 9, (4, 4))
            write_slice(tmp_path / "x" / f"{name}{number}.dcm", pixels, series="1.2.3", number=number)
            changed_series(tmp_path / "x" / f"{name}{number}.dcm", series)
    first, second = sorted(one.name for one in search.find([str(tmp_path)]))
    assert first == "x/1.2.3.5" or second == "x/1.2.3.5"
    (other,) = {first, second} - {"x/1.2.3.5"}
    assert re.fullmatch(r"x/[A-Za-z0-9_]{0,40}-[0-9a-f]{12}", other)
    assert sorted(one.name for one in search.find([str(tmp_path)])) == [first, second], "the same in the next command"


def changed_series(path: Path, uid: str) -> None:
    file = pydicom.dcmread(path)
    with warnings.catch_warnings(action="ignore"):
        file.SeriesInstanceUID = uid
        file.save_as(path)


def test_uids_that_are_alike_but_for_such_characters_stay_apart():
    names = [
        dicom_series.file_name(uid)
        for uid in ("1.2/3", "1.2_3", "1.2\\3", "1.2.3", "1_2_3", "a" * 99, "a" * 100, "A" * 99)
    ]
    assert len({name.casefold() for name in names}) == len(names)
    assert names[3] == "1.2.3"


@pytest.mark.parametrize(
    "spacing",
    [
        [-1, 1],
        [0, 1],
        [1, 0],
        [-1, -1],
        ["nan", "1"],
        ["1", "inf"],
        ["-inf", "-inf"],
        ["1e200", "1e200"],
        [1],
        ["x", "1"],
        [1, 2, 3],
    ],
)
def test_an_impossible_spacing_gives_no_area(scan, spacing):
    folder, _ = scan
    paths = sorted(folder.iterdir())
    assert dicom.read(paths).area == pytest.approx(0.4)
    file = pydicom.dcmread(paths[1])
    file.add(pydicom.DataElement("PixelSpacing", "LO", list(map(str, spacing))))  # its own VR takes only numbers
    file.save_as(paths[1])
    assert np.isnan(dicom.read(paths).area)
    assert np.isnan(dicom.read(paths[1:2]).area)


def test_slices_of_another_spacing_give_no_area(scan):
    folder, _ = scan
    paths = sorted(folder.iterdir())
    for spacing, area in (([0.50001, 0.8], 0.4), ([0.6, 0.8], np.nan), (None, None)):
        file = pydicom.dcmread(paths[1])
        file.PixelSpacing = spacing
        file.save_as(paths[1])
        assert dicom.read(paths).area == (area if area is None else pytest.approx(area, rel=1e-3, nan_ok=True))


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Rows": 0}, r"a\.dcm: holds no pictures, but 1 of 0x64 pixels"),
        ({"Rows": 65535, "Columns": 65535}, r"a\.dcm: is 65535x65535 pixels, and more than"),
        ({"NumberOfFrames": 2**31 - 1}, r"a\.dcm: needs [\d,.]+ GB of memory, and"),
        ({"NumberOfFrames": -1}, r"a\.dcm: holds no pictures"),
        ({"NumberOfFrames": 9}, r"a\.dcm: cannot be read as DICOM pictures"),
    ],
)
@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm"])
def test_a_header_of_another_size(tmp_path, name, elements, message):
    path = changed(name, tmp_path / "a.dcm", **elements)
    with pytest.raises(DataError, match=message) as error:
        dicom.read([path])
    assert "\n" not in str(error.value)


def test_a_deflated_file_that_may_fill_the_memory_is_refused(monkeypatch):
    path = real("image_dfl.dcm")
    assert dicom.read([path]).pictures.shape == (1, 512, 512, 1)
    monkeypatch.setattr(memory, "free", lambda: 2**20)
    with pytest.raises(DataError, match=r"image_dfl\.dcm: is deflated, and may not fit into memory; inflate it first"):
        dicom.read([path])


def test_gigabytes_after_the_pictures_are_refused_at_once(tmp_path):
    path = tmp_path / "a.dcm"
    write_slice(path, np.zeros((8, 8)))
    os.truncate(path, 2**32)
    with pytest.raises(DataError, match="far larger than the pictures that its header names"):
        dicom.read([path])


def test_numbers_near_the_largest_float_warn_of_nothing(tmp_path):
    for number in range(2):
        write_slice(
            tmp_path / f"{number}.dcm", np.zeros((8, 8)), orientation=[1e300] * 6, position=1e300, number=number
        )
    paths = sorted(tmp_path.iterdir())
    assert len(dicom.series(paths, tmp_path)) == 1
    dicom.read(paths)
    dicom.header(paths)
    dicom.without_seg(paths)


def test_a_picture_that_is_cut_short_needs_no_other_decoder(tmp_path):
    path = changed("SC_rgb_jpeg_dcmtk.dcm", tmp_path / "a.dcm")
    file = pydicom.dcmread(path)
    file.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8 no JPEG"])
    file.save_as(path)
    with pytest.raises(DataError, match=r"a\.dcm: cannot be read as DICOM pictures .*; it is damaged") as error:
        dicom.read([path])
    assert "pip install" not in str(error.value)


def test_what_is_no_dicom_is_said(tmp_path):
    (tmp_path / "a.dcm").write_text("not a picture")
    (one,) = search.find([str(tmp_path)])
    with pytest.raises(DataError, match=r"a\.dcm: cannot be read as DICOM"):
        one.family.read(one.paths)


def test_without_the_extra_dicom_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r"pip install --editable '\.\[dicom\]'"):
        dicom.read([tmp_path / "a.dcm"])


def test_headers_say_what_is_read():
    """All files of pydicom that can be read: grey, RGB, YBR, palettes, frames, Hounsfield units, 1 to 32 bits."""
    kinds = set()
    for path in sorted(real("").glob("*.dcm")):
        try:
            pictures = dicom.read([path]).pictures
        except DataError:
            continue
        header = dicom.header([path])
        assert (header.slices, *header.size[::-1], header.channels) == pictures.shape, path
        assert header.deep == (pictures.dtype != np.uint8), path
        kinds.add(header.kind)
    assert {"DICOM CT float32", "DICOM US uint8", "DICOM MR int16", "DICOM OT uint32"} <= kinds


def test_a_header_needs_no_pixels(tmp_path, monkeypatch):
    write_slice(tmp_path / "a.dcm", np.ones((6, 8)))
    monkeypatch.setattr(pydicom.pixels, "pixel_array", None)
    header = dicom.header([tmp_path / "a.dcm"])
    assert (header.slices, header.size, header.channels, header.patient) == (1, (8, 6), 1, "1")
    assert (header.deep, header.kind) == (True, "DICOM CT float32")


def test_the_grid_of_a_series_is_that_of_highdicom():
    (one,) = search.find([str(real("dicomdirtests/98892001/CT5N"))])
    volume = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in one.paths])
    header = dicom.header(one.paths)
    # highdicom's axes are slice, row, column, and to the left and the back; its slices may run down.
    corner = np.array([0.0, 0.0, 0.0, 1.0])
    lps = np.linalg.inv(volume.affine) @ np.diag([-1, -1, 1, 1]) @ header.grid @ corner
    np.testing.assert_allclose(lps[1:3], 0, atol=1e-3)
    assert min(abs(lps[0]), abs(lps[0] - 4)) < 1e-3
    across = np.diag([-1, -1, 1, 1]) @ header.grid @ [1.0, 0, 0, 0]
    np.testing.assert_allclose(across, volume.affine @ [0, 0, 1.0, 0], atol=1e-6)
    down = np.diag([-1, -1, 1, 1]) @ header.grid @ [0, 1.0, 0, 0]
    np.testing.assert_allclose(down, volume.affine @ [0, 1.0, 0, 0], atol=1e-6)


def test_slices_in_no_even_row_have_no_grid(scan):
    folder, _ = scan
    assert dicom.header(sorted(folder.iterdir())).grid is not None
    file = pydicom.dcmread(folder / "8.dcm")
    file.ImagePositionPatient = [0, 0, 3.0]
    file.save_as(folder / "8.dcm")
    assert dicom.header(sorted(folder.iterdir())).grid is None


def test_frames_of_one_place_have_no_grid(scan):
    """Such as those of a nuclear camera: which way they run stands elsewhere, or nowhere."""
    path = scan[0] / "8.dcm"
    assert dicom.header([path]).axes == "LPS"
    file = pydicom.dcmread(path)
    file.NumberOfFrames, file.PixelData = 2, 2 * file.PixelData
    file.save_as(path)
    header = dicom.header([path])
    assert (header.slices, header.grid, header.axes) == (2, None, "")


def without(path: Path, *names: str) -> Path:
    file = pydicom.dcmread(path)
    for name in names:
        delattr(file, name)
    file.save_as(path)
    return path


def test_without_a_patient_a_mask_is_written_all_the_same(scan, tmp_path):
    folder, raw = scan
    for path in folder.iterdir():
        without(path, *dicom_seg.MAY_BE_EMPTY)
    (one,) = search.find([str(folder)])
    assert (one.family, one.note) == (dicom, "")
    assert dicom.header(one.paths).patient == ""
    stack = dicom.read(one.paths)
    np.testing.assert_array_equal(stack.pictures[..., 0], raw - 1024)
    labels = labels_of((3, 6, 8))
    dicom.write_masks(tmp_path / "m.dcm", labels, stack, CLASSES)
    ids = [file.SOPInstanceUID for file in stack.origin]
    mask = highdicom.seg.segread(tmp_path / "m.dcm")
    found = mask.get_pixels_by_source_instance(ids, combine_segments=True, assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("name", "lost", "family", "why"),
    [
        ("examples_ybr_color.dcm", (), tif, "Only a single frame is supported"),
        ("CT_small.dcm", ("FrameOfReferenceUID",), picture, "no Frame Of Reference UID"),
        ("MR_small.dcm", ("StudyInstanceUID",), picture, "it has no StudyInstanceUID"),
        ("SC_rgb_jpeg_dcmd.dcm", ("Modality",), picture, "it has no Modality"),
        ("CT_small.dcm", ("PatientID", "StudyDate"), dicom, ""),
        ("examples_rgb_color.dcm", (), dicom, ""),
        ("SC_rgb_rle_2frame.dcm", (), tif, "a spacing but no thickness"),
    ],
)
def test_what_no_dicom_seg_can_hold_is_known_by_the_header(tmp_path, name, lost, family, why):
    """The search says so before anything is predicted, and the chosen format writes the mask."""
    shutil.copy(real(name), tmp_path / "a.dcm")
    without(tmp_path / "a.dcm", *lost)
    (one,) = search.find([str(tmp_path)])
    assert one.family is family
    assert why in one.note
    assert bool(one.note) == bool(why)
    stack = dicom.read(one.paths)
    labels = blocks(stack.pictures.shape[:3])
    mask = tmp_path / f"m{family.MASK}"
    family.write_masks(mask, labels, stack, CLASSES)
    if family is dicom:
        assert highdicom.seg.segread(mask).pixel_array.any()
    else:
        np.testing.assert_array_equal(read_image(mask), labels if len(labels) > 1 else labels[0])


def test_slices_without_a_frame_of_reference_have_a_tif(scan):
    folder, _ = scan
    for path in folder.iterdir():
        without(path, "FrameOfReferenceUID")
    (one,) = search.find([str(folder)])
    assert (one.family, len(one.paths)) == (tif, 3)


def test_a_segmentation_is_no_picture(scan, tmp_path):
    folder, _ = scan
    stack = dicom.read(sorted(folder.iterdir()))
    dicom.write_masks(tmp_path / "m.dcm", labels_of((3, 6, 8)), stack, CLASSES)
    for read in (dicom.read, dicom.header):
        with pytest.raises(DataError, match=r"m\.dcm: is a DICOM segmentation .*export it as NIfTI, as by") as error:
            read([tmp_path / "m.dcm"])
        assert "\n" not in str(error.value)
