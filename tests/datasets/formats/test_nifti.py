"""NIfTI: the same slices however the axes are stored, and masks that lie on their volume."""

import gzip
import math
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from datasets.files import DataError
from datasets.formats import nifti
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
