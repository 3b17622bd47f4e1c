"""NIfTI: the same slices however the axes are stored, and masks that lie on their volume."""

import gzip
import math
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from datasets.errors import DataError
from datasets.formats import nifti
from datasets.formats.stack import How
from tests.datasets.formats.conftest import CLASSES


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PIR", "SLA"])
def test_a_nifti_is_seen_alike_however_its_axes_are_stored(tmp_path, rng, axes):
    """One body in four storage orders has the same slices, and each mask has its file's own order."""
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
    np.testing.assert_array_equal(stack.pictures[..., 0], body.transpose(2, 1, 0))
    assert stack.area == pytest.approx(1.0)
    labels = (stack.pictures[..., 0] > 0).astype(np.uint8)
    nifti.write_masks(tmp_path / "m.nii.gz", labels, stack, CLASSES)
    mask = nibabel.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(stored.dataobj) > 0)
    np.testing.assert_allclose(mask.affine, stored.affine)
    assert mask.get_data_dtype() == np.uint8
    nifti.write_probabilities(tmp_path / "p.nii.gz", rng.random((5, 6, 7, 3), np.float32), stack, CLASSES)
    assert nibabel.load(tmp_path / "p.nii.gz").shape == (*stored.shape, 3)
    values = rng.random((5, 6, 7), np.float32)
    nifti.write_map(tmp_path / "d.nii.gz", values, stack)
    back = nifti.read([tmp_path / "d.nii.gz"])
    np.testing.assert_array_equal(back.pictures[..., 0], values)
    np.testing.assert_allclose(nibabel.load(tmp_path / "d.nii.gz").affine, stored.affine)


def test_a_nifti_that_does_not_say_where_it_lies_is_taken_as_stored(tmp_path, rng):
    voxels = rng.integers(0, 9, (7, 6, 5)).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, None)
    nibabel.save(image, tmp_path / "a.nii")
    stack = nifti.read([tmp_path / "a.nii"])
    np.testing.assert_array_equal(stack.pictures[..., 0], voxels.transpose(2, 1, 0))
    assert stack.area is None


def test_a_real_volume(tmp_path):
    """nibabel's own scan: big-endian, 2 mm, its second axis to the front."""
    path = Path(nibabel.__file__).parent / "tests/data/anatomical.nii"
    image, stack = nibabel.load(path), nifti.read([path])
    voxels = np.asarray(image.dataobj)
    assert nibabel.aff2axcodes(image.affine) == ("L", "A", "S")
    np.testing.assert_array_equal(stack.pictures[..., 0], voxels[:, ::-1].transpose(2, 1, 0))
    assert stack.area == pytest.approx(4.0)
    labels = (stack.pictures[..., 0] > 9000).astype(np.uint8)
    nifti.write_masks(tmp_path / "m.nii.gz", labels, stack, CLASSES)
    mask = nibabel.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), voxels > 9000)
    np.testing.assert_allclose(mask.affine, image.affine)
    with pytest.raises(DataError, match=r"example4d.nii.gz: is of shape \(128, 96, 24, 2\).*save its volumes apart"):
        nifti.read([path.with_name("example4d.nii.gz")])


def altered(path: Path, offset: int, code: str, *values: float) -> Path:
    """Write a volume of 4x5x3 voxels with a change at `offset` of its header."""
    content = bytearray(nibabel.Nifti1Image(np.zeros((4, 5, 3), np.uint8), np.diag([0.5, 0.8, 3, 1])).to_bytes())
    struct.pack_into(f"<{code}", content, offset, *values)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("side", [-0.5, 0.0, math.nan, math.inf, -math.inf])
def test_an_impossible_spacing_gives_no_area(tmp_path, capfd, ending, side):
    for axis, offset in enumerate((80, 84, 88)):
        stack = nifti.read([altered(tmp_path / f"a{ending}", offset, "f", side)])
        assert stack.pictures.shape == (3, 5, 4, 1)
        assert stack.area == pytest.approx(math.nan if axis < 2 else 0.4, nan_ok=True)
        nifti.write_masks(tmp_path / "m.nii.gz", np.ones((3, 5, 4), np.uint8), stack, CLASSES)
        assert np.asarray(nibabel.load(tmp_path / "m.nii.gz").dataobj).sum() == 60
    assert not capfd.readouterr().err


def test_units_of_length(tmp_path):
    for code, area in ((0, 0.4), (1, 4e5), (2, 0.4), (3, 4e-7), (5, 0.4)):
        assert nifti.read([altered(tmp_path / "a.nii", 123, "B", code)]).area == pytest.approx(area)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ((3, 4, 5, 0), r"a\.nii.*: holds no pictures, but 0 of 5x4 pixels"),
        ((3, 0, 5, 3), r"holds no pictures"),
        ((3, -4, 5, 3), r"holds no pictures|cannot be read as NIfTI"),
        ((3, 32767, 32767, 1), r"is 32767x32767 pixels, and more than 268,435,456 are not read"),
        ((5, 9999, 9999, 32767, 1, 1), r"needs 3,276.\d GB of memory, and [\d.]+ GB are free"),
        ((4, 4, 5, 3, 32767), r"is of shape \(4, 5, 3, 32767\)"),
        ((3, 40, 50, 30), r"cannot be read as NIfTI"),
    ],
)
def test_a_header_of_other_dimensions(tmp_path, ending, dims, message):
    path = altered(tmp_path / f"a{ending}", 40, f"{len(dims)}h", *dims)
    with pytest.raises(DataError, match=message) as error:
        nifti.read([path])
    assert "\n" not in str(error.value)


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


def placed(path: Path, voxels: np.ndarray, axes: str = "LPS", sides=(0.5, 2.0, 3.0)) -> Path:
    """Write voxels, which are along axes to the left, the back and the head, in the order of `axes`."""
    image = nibabel.Nifti1Image(voxels, np.diag([-sides[0], -sides[1], sides[2], 1.0]))
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("LPS"), nibabel.orientations.axcodes2ornt(axes)
    )
    stored = image.as_reoriented(turn)
    stored.set_sform(stored.affine, 1)
    nibabel.save(stored, path)
    return path


# A body of (left, back, up) as slices, rows, columns: patient's right on the left, nose to the left, head on top.
CUTS = {
    "axial": (lambda body: body.transpose(2, 1, 0), 0.5 * 2.0),
    "coronal": (lambda body: body.transpose(1, 2, 0)[:, ::-1], 0.5 * 3.0),
    "sagittal": (lambda body: body[::-1].transpose(0, 2, 1)[:, ::-1], 2.0 * 3.0),
}


@pytest.mark.parametrize("axis", CUTS)
@pytest.mark.parametrize("axes", ["LPS", "RAS", "PIR", "SLA"])
def test_slices_along_each_axis_are_seen_as_radiologists_do(tmp_path, rng, axis, axes):
    body = rng.integers(-1000, 500, (7, 6, 5)).astype(np.int16)
    path, how = placed(tmp_path / "a.nii.gz", body, axes), How(axis=axis)
    stack, header = nifti.read([path], how), nifti.header([path], how)
    cut, area = CUTS[axis]
    np.testing.assert_array_equal(stack.pictures[..., 0], cut(body))
    assert stack.area == pytest.approx(area)
    assert (header.slices, *header.size[::-1], header.channels) == stack.pictures.shape
    labels = (stack.pictures[..., 0] > 0).astype(np.uint8)
    nifti.write_masks(tmp_path / "m.nii.gz", labels, stack, CLASSES)
    mask, stored = (nibabel.load(each) for each in (tmp_path / "m.nii.gz", path))
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(stored.dataobj) > 0)
    np.testing.assert_allclose(mask.affine, stored.affine)


def test_grids_are_equal_however_the_axes_are_stored(tmp_path, rng):
    body = rng.integers(0, 9, (7, 6, 5)).astype(np.uint8)
    grids = [
        nifti.header([placed(tmp_path / f"{axes}.nii", body, axes)], How(axis="coronal")).grid
        for axes in ("LPS", "RAS", "PIR", "SLA")
    ]
    for grid in grids:
        np.testing.assert_allclose(grid, grids[0], atol=1e-6)
    # The first pixel is of the rightmost, uppermost and foremost voxel, whose place is that of LPS's index (0, 0, 4).
    np.testing.assert_allclose(grids[0] @ [0, 0, 0, 1], np.diag([-0.5, -2.0, 3.0, 1.0]) @ [0, 0, 4, 1])


@pytest.mark.parametrize("shape", [(80, 48), (80, 48, 1), (80, 48, 1, 1)])
@pytest.mark.parametrize("affine", [np.eye(4), np.diag([0.5, 0.8, 1, 1]), None])
def test_a_picture_is_upright(tmp_path, rng, shape, affine):
    pixels = rng.integers(0, 256, (48, 80), np.uint8)
    nibabel.save(nibabel.Nifti1Image(pixels.T.reshape(shape), affine), tmp_path / "a.nii.gz")
    for axis in CUTS:
        stack = nifti.read([tmp_path / "a.nii.gz"], How(axis=axis))
        np.testing.assert_array_equal(stack.pictures, pixels[None, ..., None])
    assert nifti.header([tmp_path / "a.nii.gz"]).size == (80, 48)
    nifti.write_masks(tmp_path / "m.nii.gz", (pixels > 99).astype(np.uint8)[None], stack, CLASSES)
    mask = nibabel.load(tmp_path / "m.nii.gz")
    assert mask.shape == shape[:3]
    np.testing.assert_array_equal(np.asarray(mask.dataobj).reshape(80, 48), pixels.T > 99)
    nifti.write_probabilities(tmp_path / "p.nii.gz", rng.random((1, 48, 80, 3), np.float32), stack, CLASSES)
    assert nibabel.load(tmp_path / "p.nii.gz").shape == (80, 48, 1, 3)
    nifti.write_probabilities(tmp_path / "q.nii.gz", rng.random((1, 48, 80, 1), np.float32), stack, CLASSES[:2])
    assert nibabel.load(tmp_path / "q.nii.gz").shape == shape[:3]


def test_one_slice_of_a_scan_is_seen_as_in_the_scan(tmp_path, rng):
    body = rng.integers(0, 99, (7, 6, 5)).astype(np.int16)
    scan = nibabel.Nifti1Image(body[::-1, ::-1], np.array([[0.5, 0, 0, -9], [0, 2, 0, -8], [0, 0, 3, 7], [0, 0, 0, 1]]))
    nibabel.save(scan, tmp_path / "a.nii")
    nibabel.save(scan.slicer[:, :, 2:3], tmp_path / "b.nii")
    whole, single = (nifti.read([tmp_path / name]).pictures for name in ("a.nii", "b.nii"))
    np.testing.assert_array_equal(whole[2:3], single)
    with pytest.raises(DataError, match=r"b.nii: its sagittal slices are 6x1 pixels .*--config.data.axis"):
        nifti.read([tmp_path / "b.nii"], How(axis="sagittal"))


def test_channels_of_a_volume(tmp_path, rng):
    """RGB voxels, a vector per voxel, and a fourth axis that the user calls channels."""
    colours = rng.integers(0, 256, (7, 6, 5, 3), np.uint8)
    expected = colours.transpose(2, 1, 0, 3)
    rgb = np.ascontiguousarray(colours).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    vector = nibabel.Nifti1Image(colours[:, :, :, None], None)
    vector.header.set_intent("vector")
    for name, image in (("rgb", nibabel.Nifti1Image(rgb, None)), ("vector", vector)):
        path = tmp_path / f"{name}.nii.gz"
        nibabel.save(image, path)
        stack = nifti.read([path])
        np.testing.assert_array_equal(stack.pictures, expected)
        assert nifti.header([path]).channels == 3
        assert not nifti.header([path]).deep
        nifti.write_masks(tmp_path / "m.nii", (stack.pictures[..., 0] > 9).astype(np.uint8), stack, CLASSES)
        mask = nibabel.Nifti1Image.from_bytes(gzip.decompress((tmp_path / "m.nii").read_bytes()))
        np.testing.assert_array_equal(np.asarray(mask.dataobj), colours[..., 0] > 9)
        assert mask.header.get_intent()[0] == "none"
    nibabel.save(nibabel.Nifti1Image(colours, None), tmp_path / "four.nii")
    with pytest.raises(
        DataError, match=r"four.nii: is of shape \(7, 6, 5, 3\) .*--config.data.pages=channels"
    ) as error:
        nifti.header([tmp_path / "four.nii"])
    assert "\n" not in str(error.value)
    for how in (How(pages="channels"), How(channels=3)):
        np.testing.assert_array_equal(nifti.read([tmp_path / "four.nii"], how).pictures, expected)
    with pytest.raises(DataError, match="not one volume of numbers"):
        nifti.header([tmp_path / "four.nii"], How(channels=2))


@pytest.mark.parametrize(
    ("dtype", "slope", "kind"),
    [(np.uint8, None, "uint8"), (np.int16, None, "int16"), (np.uint8, (2, -9), "float64"), ("f4", None, "float32")],
)
def test_a_header_says_what_is_read_without_decoding(tmp_path, rng, monkeypatch, dtype, slope, kind):
    voxels = rng.integers(0, 9, (7, 6, 5)).astype(dtype)
    image = nibabel.Nifti1Image(voxels, np.eye(4))
    if slope:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, tmp_path / "a.nii.gz")
    pictures = nifti.read([tmp_path / "a.nii.gz"]).pictures
    np.testing.assert_allclose(np.unique(pictures), np.unique(np.asarray(nibabel.load(tmp_path / "a.nii.gz").dataobj)))
    monkeypatch.setattr(nibabel.arrayproxy.ArrayProxy, "__array__", None)
    header = nifti.header([tmp_path / "a.nii.gz"])
    assert header.kind == f"NIfTI {kind}" == f"NIfTI {pictures.dtype}"
    assert header.deep == (kind != "uint8")


def test_complex_numbers_are_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.complex64), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(DataError, match=r"a.nii: is of shape \(4, 4, 4\) and dtype complex64"):
        nifti.header([tmp_path / "a.nii"])
