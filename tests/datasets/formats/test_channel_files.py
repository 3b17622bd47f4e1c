"""Files that are the channels of an image: told by the endings of their names, read as one picture or refused."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from datasets import formats
from datasets.errors import DataError
from datasets.formats import channel_files
from datasets.formats.stack import How

GREY = np.random.default_rng(0).integers(0, 256, (2, 12, 10), np.uint8)


@pytest.mark.parametrize(
    ("stem", "endings", "expected"),
    [
        ("a_0000", ("_0000", "_0001"), ("a", 0)),
        ("a_0001", ("_0000", "_0001"), ("a", 1)),
        ("deep/a_GFP", ("_DAPI", "_gfp"), ("deep/a", 1)),
        ("a_red_2", ("_2", "_red_2"), ("a", 1)),
        ("a_DAPI", ("GFP", "DAPI"), ("a", 1)),
        ("aDAPI", ("GFP", "DAPI"), None),
        ("a-Grün", ("gru\u0308n",), ("a", 0)),
        ("DAPI", ("DAPI",), None),
        ("a", ("_0000",), None),
        ("_0000", ("_0000",), None),
        ("a_00000", ("_0000",), None),
    ],
)
def test_the_ending_of_a_channel_is_stripped(stem, endings, expected):
    assert channel_files.stripped(stem, endings) == expected


def named(*names: str) -> list[tuple[str, Path]]:
    return [(name.partition(".")[0], Path(name)) for name in names]


def test_files_are_the_channels_of_an_image_in_the_order_of_the_endings():
    found = channel_files.split(named("a_r.png", "b_g.tif", "a_g.png", "b_r.png"), ("_g", "_r"))
    assert found == {"a": (Path("a_g.png"), Path("a_r.png")), "b": (Path("b_g.tif"), Path("b_r.png"))}


def test_a_file_without_ending_and_an_image_without_a_channel_are_faults():
    files = named("a_r.png", "a_g.png", "b_r.png", "c.png", "a_r.tif")
    faults: list[str] = []
    assert list(channel_files.split(files, ("_r", "_g"), faults)) == ["a"]
    assert faults == [
        "c.png: its name ends in none of _r, _g, the endings of channels (data.channel_files); rename or remove it",
        "a_r.png and a_r.tif are the same channel of one image; remove one of them",
        "b_r.png: the image has no file of _g; add it",
    ]
    with pytest.raises(DataError, match=r"c\.png: its name ends in none of"):
        channel_files.split(files, ("_r", "_g"))


@pytest.mark.parametrize(
    ("stems", "expected"),
    [
        (["a_0000", "a_0001", "b_0001", "b_0000"], ("_0000", "_0001")),
        (["a_0000", "b_0000"], ("_0000",)),
        (["a_0000", "a_0001", "b_0000"], ("_0000", "_0001")),
        (["a_0000", "a_0002"], ()),
        (["a_0000", "b"], ()),
        (["a_000", "a_001"], ()),
        ([], ()),
    ],
)
def test_nnu_nets_endings_are_recognised_where_all_files_have_them(stems, expected):
    assert channel_files.numbered(stems) == expected


def test_pictures_of_any_formats_become_channels(tmp_path):
    Image.fromarray(GREY[0]).save(tmp_path / "0.png")
    tifffile.imwrite(tmp_path / "1.tif", GREY[1].astype(np.uint16) * 257)
    Image.fromarray(GREY[0] > 99).save(tmp_path / "2.bmp")
    paths = [tmp_path / name for name in ("0.png", "1.tif", "2.bmp")]
    found = formats.read(paths).pictures
    assert (found.shape, found.dtype) == ((1, 12, 10, 3), np.uint16)
    np.testing.assert_array_equal(found[0], np.dstack([GREY[0], GREY[1].astype(int) * 257, 255 * (GREY[0] > 99)]))
    header = formats.header(paths)
    assert (header.slices, header.size, header.channels, header.deep) == (1, (10, 12), 3, True)
    assert header.kind.startswith("PNG L + TIF uint16")
    white = formats.read([tmp_path / "2.bmp"] * 2).pictures
    assert (white.dtype, white.shape[-1]) == (bool, 2)


def test_volumes_become_channels_slice_by_slice(tmp_path):
    for number in range(2):
        volume = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3) * (number + 1)
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([2.0, 3, 4, 1])), tmp_path / f"v_000{number}.nii.gz")
    paths = [tmp_path / f"v_000{number}.nii.gz" for number in range(2)]
    found, (one, other) = formats.read(paths), (formats.read([path]) for path in paths)
    np.testing.assert_array_equal(found.pictures, np.concatenate([one.pictures, other.pictures], axis=-1))
    assert found.pictures.shape[0] == formats.header(paths).slices == 3
    assert (found.area, formats.header(paths).channels) == (one.area, 2)
    assert found.origin is not None


def test_a_file_of_a_channel_has_no_channels_of_the_run(tmp_path):
    """Its pages are refused, as in training, although there are as many as the run has channels."""
    for number in range(2):
        tifffile.imwrite(tmp_path / f"a_{number}.tif", GREY, photometric="minisblack", metadata=None)
    paths = [tmp_path / f"a_{number}.tif" for number in range(2)]
    for how in (How(), How(channels=2)):
        with pytest.raises(DataError, match=r"data\.pages"):
            formats.read(paths, how)
    assert formats.read(paths, How("slices", channels=2)).pictures.shape == (2, 12, 10, 2)


@pytest.mark.parametrize("read", [formats.header, formats.read])
def test_channels_of_other_sizes_are_refused(read, tmp_path):
    Image.fromarray(GREY[0]).save(tmp_path / "a_0.png")
    Image.fromarray(GREY[0, :5]).save(tmp_path / "a_1.png")
    with pytest.raises(DataError, match=r"a_0\.png is 10x12 but a_1\.png is 10x5 \(width x height\); the channels"):
        read([tmp_path / "a_0.png", tmp_path / "a_1.png"])
    for number, slices in enumerate((2, 3)):
        volume = np.zeros((4, 5, slices), np.uint8)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / f"v_{number}.nii")
    with pytest.raises(DataError, match=r"x 2 slices but v_1\.nii is .* x 3 slices"):
        read([tmp_path / "v_0.nii", tmp_path / "v_1.nii"])
