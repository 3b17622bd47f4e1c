"""Images of any number of channels: scanned, windowed by channel, built, and read back as prediction reads them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console

from datasets import built, formats
from datasets.build import build
from datasets.errors import DataError
from datasets.folder import check, images
from datasets.folder.scan import Scan, scan
from datasets.folder.settings import settings
from launch.console import dataset
from sharp_unet_jax.config import Data
from sharp_unet_jax.data.pixels import as_trained

SHAPE = (12, 10)
BLOB = np.zeros(SHAPE, bool)
BLOB[3:8, 2:6] = True


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder to write to, for files with nnU-Net's names: a_0000.png, a_0001.png, ... are the image "a"."""
    return tmp_path / "mine"


def planes(number: int, channels: int, dtype: type = np.uint8) -> list[np.ndarray]:
    rng = np.random.default_rng(number)
    return [rng.integers(0, np.iinfo(dtype).max + 1, SHAPE).astype(dtype) for _ in range(channels)]


def save(root: Path, name: str, channels: Sequence[np.ndarray]) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, plane in enumerate(channels):
        path = root / "images" / f"{name}_{number:04}"
        if plane.dtype == np.uint8:
            Image.fromarray(plane).save(f"{path}.png")
        else:
            tifffile.imwrite(f"{path}.tif", plane)
    Image.fromarray(BLOB).save(root / "masks" / f"{name}.png")


def check_read_alike(found: Scan) -> None:
    """Compare the pixels of training with those of prediction."""
    for number, pair in enumerate(found.pairs):
        there = as_trained(formats.read(pair.image).pictures, found.channels, found.window)
        np.testing.assert_array_equal(there, found.read(number)[0])


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_images_of_many_channels_are_built_and_read_back(
    channels: int, root: Path, tmp_path: Path, build_and_read: Callable[..., Any]
) -> None:
    for number in range(3):
        save(root, "abc"[number], planes(number, channels))
    found = scan(settings(images=root))
    assert (found.channels, found.window) == (channels, None)
    assert f", {channels} channels; " in found.describe()
    check_read_alike(found)
    read = build_and_read("folder", images=root, data_dir=tmp_path / "data")
    for number, image in enumerate(read.images):
        np.testing.assert_array_equal(image, np.dstack(planes(number, channels)))
    data = Data(builder="folder", images=str(root), data_dir=str(tmp_path / "data"), size=SHAPE)
    prepared = dataset.load(data, Console(quiet=True))
    np.testing.assert_array_equal(prepared.images, np.stack([np.dstack(planes(n, channels)) for n in range(3)]))


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_set_of_many_channels_is_refused(damage: str, root: Path, tmp_path: Path) -> None:
    for number in range(3):
        save(root, "abc"[number], planes(number, 5))
    folder = Path(build("folder", images=root, data_dir=tmp_path / "data").data_dir)
    (records,) = folder.glob("*.array_record*")
    content = bytearray(records.read_bytes())
    content[900] ^= 1
    records.write_bytes(content[:-1000] if damage == "cut" else content)
    with pytest.raises(built.DamagedError, match="delete the folder"):
        [example["image"] for example in build("folder", images=root, data_dir=tmp_path / "data").as_data_source()]


def test_deep_channels_have_a_window_each(root: Path) -> None:
    """Channels of 8 bits and of 16: each is scaled by its own values in the whole set."""
    for name, offset in (("a", 0), ("b", 1000)):
        dim = np.arange(120, dtype=np.uint8).reshape(SHAPE)
        bright = 20_000 + offset + 10 * dim.astype(np.uint16)
        save(root, name, [dim, bright])
    found = scan(settings(images=root))
    assert found.window == pytest.approx((0, 119, 20_000, 22_190), abs=2)
    assert "2 channels, deeper than 8 bits: 0.119 to 118.881, " in found.describe()
    assert found.describe().count("(by channel)") == 1
    check_read_alike(found)
    (a,), (b,) = (found.read(number)[0] for number in (0, 1))
    assert (a[..., 0].min(), a[..., 0].max()) == (b[..., 0].min(), b[..., 0].max()) == (0, 255)
    assert a[..., 1].max() < 140 < b[..., 1].max()


def test_deep_tifs_of_many_channels_have_a_window_a_channel(root: Path) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name, offset in (("a", 0), ("b", 50)):
        image = np.arange(120).reshape(SHAPE)[..., None] * np.array([1, 10, 100, 500]) + offset
        options = {"photometric": "minisblack", "planarconfig": "contig"}
        tifffile.imwrite(root / f"images/{name}.tif", image.astype(np.uint16), **options)
        Image.fromarray(BLOB).save(root / f"masks/{name}.png")
    found = scan(settings(images=root))
    assert found.window == pytest.approx((0, 169, 1, 1239, 12, 11_938, 60, 59_490), abs=2)
    check_read_alike(found)
    assert found.read(0)[0].min() == 0
    assert found.read(1)[0].max() == 255


def test_volumes_of_two_scans_are_channels_by_slice(root: Path) -> None:
    """Two scans of a patient, as in BraTS: v_0000.nii.gz and v_0001.nii.gz."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    scans = [np.random.default_rng(number).normal(500, 100, (10, 12, 3)).astype(np.int16) for number in range(2)]
    for number, volume in enumerate(scans):
        image = nibabel.Nifti1Image(volume * (3 * number + 1), np.eye(4))
        nibabel.save(image, root / f"images/v_{number:04}.nii.gz")
    nibabel.save(nibabel.Nifti1Image((scans[0] > 500).astype(np.uint8), np.eye(4)), root / "masks/v.nii.gz")
    found = scan(settings(images=root))
    assert ([name for *_, name in found.names], found.channels) == (["v-000", "v-001", "v-002"], 2)
    assert found.window is not None
    assert found.window[3] > 3 * found.window[1]
    check_read_alike(found)
    (image, labels) = found.read(0)
    assert (image.shape, labels.shape) == ((3, 12, 10, 2), (3, 12, 10))
    assert image[..., 0][labels == 1].min() > image[..., 0][labels == 0].max() - 2


def test_three_files_are_windowed_by_channel_and_an_rgb_file_is_not(root: Path, tmp_path: Path) -> None:
    deep = [plane // (4**number) for number, plane in enumerate(planes(0, 3, np.uint16))]
    save(root, "a", deep)
    window = scan(settings(images=root)).window
    assert window is not None
    assert [round(end, -3) for end in window] == [0, 65_000, 0, 16_000, 0, 4_000]
    tifffile.imwrite(tmp_path / "rgb.tif", np.dstack(deep), photometric="rgb")
    assert images.common_window([[tmp_path / "rgb.tif"]])[1] > 60_000
    assert len(images.common_window([[tmp_path / "rgb.tif"]])) == 2


def test_three_channels_that_are_an_axis_are_windowed_by_channel_as_files_are(root: Path, tmp_path: Path) -> None:
    """One window would leave two levels of a dim stain beside a bright one."""
    deep = [plane // (4**number) for number, plane in enumerate(planes(0, 3, np.uint16))]
    save(root, "a", deep)
    expected = scan(settings(images=root))
    for kind, options in (("imagej", {"imagej": True}), ("ome", {"ome": True, "photometric": "minisblack"})):
        (tmp_path / kind / "images").mkdir(parents=True)
        (tmp_path / kind / "masks").symlink_to(root / "masks")
        tifffile.imwrite(tmp_path / kind / "images/a.tif", np.stack(deep), metadata={"axes": "CYX"}, **options)
        found = scan(settings(images=tmp_path / kind))
        assert found.window == expected.window
        np.testing.assert_array_equal(found.read(0)[0], expected.read(0)[0])
        check_read_alike(found)
    volume = nibabel.Nifti1Image(np.stack(deep, -1).astype(np.int32).transpose(1, 0, 2)[:, :, None], None)
    (tmp_path / "nifti/images").mkdir(parents=True)
    (tmp_path / "nifti/masks").symlink_to(root / "masks")
    nibabel.save(volume, tmp_path / "nifti/images/a.nii.gz")
    assert scan(settings(images=tmp_path / "nifti", pages="channels")).window == expected.window


def test_a_grey_image_beside_channels_that_are_an_axis_is_repeated(root: Path) -> None:
    save(root, "a", planes(0, 1, np.uint16))
    (root / "images/a_0000.tif").rename(root / "images/a.tif")
    stains = np.stack(planes(1, 3, np.uint16)) // 4
    tifffile.imwrite(root / "images/b.tif", stains, imagej=True, metadata={"axes": "CYX"})
    Image.fromarray(BLOB).save(root / "masks/b.png")
    found = scan(settings(images=root))
    assert found.window is not None
    assert len(found.window) == 6
    assert min(found.window[1::2]) > 60_000, "the grey image counts in every channel"
    check_read_alike(found)


def test_a_channel_of_few_bright_spots_keeps_them(root: Path) -> None:
    spots = np.zeros((200, 200), np.uint16)
    spots[5, 5] = 3000
    Image.fromarray(spots).save(root.parent / "spots.png")
    tifffile.imwrite(root.parent / "even.tif", np.arange(40_000, dtype=np.uint16).reshape(200, 200))
    both = [root.parent / "spots.png", root.parent / "even.tif"]
    assert images.common_window([both], by_channel=True) == pytest.approx((0, 3000, 40, 39_959), abs=1)
    assert images.common_window([both[:1]]) == (0, 3000)


@pytest.mark.parametrize("window", [(100.0, 5000.0), (0.0, 50_000.0, 1000.0, 2000.0)])
def test_a_window_may_be_set(window: tuple[float, ...], root: Path) -> None:
    """It is for images of more than 8 bits; "b" has 8 and stays as it is, in training and in prediction."""
    save(root, "a", planes(0, 2, np.uint16))
    save(root, "b", planes(1, 2))
    found = scan(settings(images=root, window=window))
    assert found.window == window
    check_read_alike(found)
    np.testing.assert_array_equal(found.read(1)[0][0], np.dstack(planes(1, 2)))
    (note,) = check.check(settings(images=root, window=window)).notes
    assert note.startswith("b_0000.png have 8 bits per channel and stay as they are, and the other images are deeper")
    low, high = np.reshape(window, (-1, 2)).T
    exact = 255 * np.clip((np.dstack(planes(0, 2, np.uint16)) - low) / (high - low), 0, 1)
    np.testing.assert_allclose(found.read(0)[0][0], exact, atol=0.51)


@pytest.mark.parametrize(
    ("window", "dtype", "message"),
    [
        ((1.0, 2.0, 3.0), np.uint16, "data.window: must be low,high"),
        ((2.0, 1.0), np.uint16, "data.window: must be low,high"),
        ((0.0, 1.0) * 3, np.uint16, "data.window: has 3 pairs of low,high, and the images are of 2 channels"),
        ((0.0, 1.0), np.uint8, "data.window: all images have 8 bits per channel"),
    ],
)
def test_a_window_that_cannot_be_used_is_refused(window: Any, dtype: Any, message: str, root: Path) -> None:
    save(root, "a", planes(0, 2, dtype))
    with pytest.raises(DataError, match=message):
        scan(settings(images=root, window=window))
    assert [fault for fault in check.check(settings(images=root, window=window)).faults if fault.startswith(message)]


@pytest.mark.parametrize(("one", "other"), [(1, 2), (3, 2), (1, 5), (2, 5)])
def test_images_of_different_channels_are_refused(one: int, other: int, root: Path) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name, channels in (("a", one), ("b", other)):
        image = np.dstack(planes(0, channels))
        layout = {"planarconfig": "contig"} if channels > 1 else {}
        tifffile.imwrite(root / f"images/{name}.tif", image, photometric="minisblack", **layout)
        Image.fromarray(BLOB).save(root / f"masks/{name}.png")
    with pytest.raises(DataError, match=r"all images of a set have the same channels") as error:
        scan(settings(images=root))
    assert {"a.tif", "b.tif"} == {Path(word).name for word in str(error.value).split() if word.endswith(".tif")}
    assert len(check.check(settings(images=root)).faults) == 1
