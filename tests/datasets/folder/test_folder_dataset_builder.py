"""The builder of the user's own data: built again when files change, and one line for each fault."""

import json
import os
import pickle
import shutil
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
import tifffile
from PIL import Image

from datasets.build import build
from datasets.errors import DataError
from datasets.folder import folder_dataset_builder
from datasets.folder.scan import scan
from datasets.folder.settings import settings

BLOB = np.zeros((12, 10), np.uint8)
BLOB[3:8, 2:6] = 255
MASKS = BLOB, BLOB[::-1], BLOB[:, ::-1]


@pytest.fixture
def root(with_masks: Callable[..., Path]) -> Path:
    """Return a folder of three valid pairs."""
    return with_masks(MASKS)


def test_build(root: Path, picture: Callable[..., np.ndarray], build_and_read: Callable[..., Any]) -> None:
    built = build_and_read("folder", images=root)
    assert built.ids == built.groups == ["0", "1", "2"]
    for number, mask in enumerate(MASKS):
        np.testing.assert_array_equal(built.images[number], picture(seed=number))
        np.testing.assert_array_equal(built.masks[number][..., 0], mask > 0)


def test_two_folders_groups_and_classes(root: Path, tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    shutil.move(root / "masks", tmp_path / "elsewhere")
    (tmp_path / "groups.csv").write_text("id,group\n0,p1\n1,p2\n2,p2\n")
    built = build_and_read(
        "folder",
        images=str(root / "images"),
        masks=str(tmp_path / "elsewhere"),
        groups=str(tmp_path / "groups.csv"),
        classes=("background", "cell"),
    )
    assert built.groups == ["p1", "p2", "p2"]
    assert list(built.classes) == ["background", "cell"]
    assert Path(built.builder.data_dir).parent.name.startswith("mine-")


def test_unset_options_may_be_empty(root: Path, tmp_path: Path) -> None:
    empty = {"masks": "", "groups": "", "classes": ()}
    one, other = (build("folder", images=root, data_dir=tmp_path / "data", **options) for options in (empty, {}))
    assert one.data_dir == other.data_dir


def test_once_built_the_files_are_not_read_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build("folder", images=root, data_dir=tmp_path / "data")
    monkeypatch.setattr(folder_dataset_builder, "scan", lambda *_: pytest.fail("read the files again"))
    again = build("folder", images=root, data_dir=tmp_path / "data")
    for builder in (first, again, pickle.loads(pickle.dumps(again)), tfds.builder_from_directory(first.data_dir)):
        assert list(builder.info.metadata["classes"]) == ["background", "foreground"]
        assert builder.info.metadata["found"] == scan(settings(images=root)).describe()
        assert builder.info.features["image"].shape == (None, None, 3)
        assert [example["id"] for example in builder.as_data_source(split="train")] == [b"0", b"1", b"2"]


def test_a_changed_mask_is_built_again(root: Path, tmp_path: Path) -> None:
    first = build("folder", images=root, data_dir=tmp_path / "data")
    Image.fromarray(255 - BLOB).save(root / "masks" / "0.png")
    second = build("folder", images=root, data_dir=tmp_path / "data")
    before, after = (builder.as_data_source(split="train")[0]["mask"] for builder in (first, second))
    assert (before != after).any()


def test_masks_of_another_folder_are_built_again(root: Path, tmp_path: Path) -> None:
    """Names, sizes and times may be the same: those of two raters' masks from one archive are."""
    masks = []
    for rater, mask in (("a", BLOB), ("b", BLOB[::-1])):
        folder = tmp_path / rater / "masks"
        folder.mkdir(parents=True)
        for number in range(3):
            Image.fromarray(mask).save(folder / f"{number}.bmp")
            os.utime(folder / f"{number}.bmp", (0, 0))
        built = build("folder", images=root / "images", masks=folder, data_dir=tmp_path / "data")
        masks.append(built.as_data_source(split="train")[0]["mask"][..., 0])
    np.testing.assert_array_equal(masks[0], masks[1][::-1])


def test_added_files_are_built_again(root: Path, tmp_path: Path) -> None:
    first = build("folder", images=root, data_dir=tmp_path / "data")
    for kind in ("images", "masks"):
        shutil.copy(root / kind / "0.png", root / kind / "3.png")
    second = build("folder", images=root, data_dir=tmp_path / "data")
    assert [builder.info.splits["train"].num_examples for builder in (first, second)] == [3, 4]


def nested(root: Path) -> dict[str, Any]:
    for number in range(3):
        for kind, ending in (("images", ""), ("masks", "_lesion")):
            path = root / f"P{number}" / kind / f"{number}{ending}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            (root / kind / f"{number}.png").rename(path)
    for kind in ("images", "masks"):
        (root / kind).rmdir()
    return {"images": root, "mask_suffix": "_lesion"}


def tabled(root: Path) -> dict[str, Any]:
    lines = [f"images/{number}.png;masks/{number}.png;p\n" for number in range(3)]
    (root / "pairs.csv").write_text("image;mask;group\n" + "".join(lines))
    return {"table": root / "pairs.csv"}


def channels(root: Path) -> dict[str, Any]:
    for number in range(3):
        shutil.copy(root / "images" / f"{number}.png", root / "images" / f"{number}_0001.png")
        (root / "images" / f"{number}.png").rename(root / "images" / f"{number}_0000.png")
    return {"images": root}


def classes(root: Path) -> dict[str, Any]:
    for name in ("core", "wall"):
        (root / "masks" / name).mkdir()
        for number in range(3):
            shutil.copy(root / "masks" / f"{number}.png", root / "masks" / name)
    for number in range(3):
        (root / "masks" / f"{number}.png").unlink()
    return {"images": root, "class_files": ("core", "wall")}


def nnunet(root: Path) -> dict[str, Any]:
    channels(root)
    (root / "images").rename(root / "imagesTr")
    (root / "masks").rename(root / "labelsTr")
    labels = {"background": 0, "cell": 1}
    (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "a", "1": "b"}, "labels": labels}))
    return {"images": root}


@pytest.mark.parametrize("lay_out", [nested, tabled, channels, classes, nnunet])
def test_a_change_of_any_file_that_is_read_is_noticed(lay_out: Callable[[Path], dict[str, Any]], root: Path) -> None:
    options = lay_out(root)
    names = {folder_dataset_builder.configure(**options).name}
    changed = [path for path in sorted(root.rglob("*")) if path.is_file()]
    for path in changed:
        content = path.read_bytes()
        path.write_bytes(content.replace(b";p", b";q", 1).replace(b"cell", b"core") + b"\n")
        names.add(folder_dataset_builder.configure(**options).name)
    assert len(names) == 1 + len(changed)


def test_other_code_reads_the_files_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = folder_dataset_builder.configure(images=root).name
    monkeypatch.setattr(folder_dataset_builder, "_code", lambda: "the next version")
    assert folder_dataset_builder.configure(images=root).name != name


@pytest.mark.parametrize("lay_out", [nested, tabled])
def test_files_in_subfolders_and_tables_are_built(
    lay_out: Callable[[Path], dict[str, Any]],
    root: Path,
    picture: Callable[..., np.ndarray],
    build_and_read: Callable[..., Any],
) -> None:
    built = build_and_read("folder", **lay_out(root))
    assert built.ids == ["0", "1", "2"]
    assert built.groups == (["p"] * 3 if lay_out is tabled else built.ids)
    for number, mask in enumerate(MASKS):
        np.testing.assert_array_equal(built.images[number], picture(seed=number))
        np.testing.assert_array_equal(built.masks[number][..., 0], mask > 0)


def test_images_of_one_name_in_several_folders_are_built(
    root: Path, picture: Callable[..., np.ndarray], build_and_read: Callable[..., Any]
) -> None:
    for number in range(3):
        for kind in ("images", "masks"):
            (root / kind / f"P{number % 2}").mkdir(exist_ok=True)
            (root / kind / f"{number}.png").rename(root / kind / f"P{number % 2}" / f"{number // 2}.png")
    built = build_and_read("folder", images=root, groups="folders")
    assert (built.ids, built.groups) == (["P0/0", "P0/1", "P1/0"], ["P0", "P0", "P1"])
    for number, expected in enumerate((0, 2, 1)):
        np.testing.assert_array_equal(built.images[number], picture(seed=expected))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def become(path: Path, make: Callable[[Path], Any]) -> None:
    path.unlink()
    make(path)


def link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))


def huge(path: Path) -> None:
    """Write a PNG that claims to hold 400 megapixels."""
    Image.fromarray(BLOB).save(path)
    content = path.read_bytes()
    header = b"IHDR" + struct.pack(">II", 20_000, 20_000) + content[24:29]
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])


def every(pattern: str, change: Callable[[Path], Any]) -> Callable[[Path], None]:
    def change_all(root: Path) -> None:
        for path in sorted(root.glob(pattern)):
            change(path)

    return change_all


# A change that breaks a valid folder, and a pattern of the message.
BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "mine: no such folder"),
    "no images": (lambda root: shutil.rmtree(root / "images"), "mine: holds no folder 'images'"),
    "no masks": (lambda root: shutil.rmtree(root / "masks"), "holds no folder 'masks'; name the folder of the masks"),
    "empty": (every("images/*.png", Path.unlink), r"images: holds no images \(\.png .*\)$"),
    "image without mask": (lambda root: (root / "masks/1.png").unlink(), r"no mask in .*masks for 1\.png; add"),
    "mask without image": (lambda root: (root / "images/1.png").unlink(), r"no image in .*images for 1\.png; add"),
    "both": (
        lambda root: [(root / "images/1.png").unlink(), (root / "masks/2.png").unlink()],
        r"no mask in .* for 2\.png; no image in .* for 1\.png",
    ),
    "many without mask": (
        lambda root: [shutil.copy(root / "images/0.png", root / f"images/x{n}.png") for n in range(9)],
        r"no mask in .* for x0\.png, x1\.png, x2\.png, x3\.png and 5 more",
    ),
    "two images of one name": (
        lambda root: Image.open(root / "images/1.png").save(root / "images/1.bmp"),
        r"images/1\.bmp and 1\.png have the same name, 1",
    ),
    "two masks of one image": (
        lambda root: shutil.copy(root / "masks/1.png", root / "masks/1_mask.png"),
        r"masks/1\.png and 1_mask\.png have the same name, 1",
    ),
    "sizes differ": (
        lambda root: Image.fromarray(BLOB[:-1]).save(root / "masks/1.png"),
        r"images/1\.png is 10x12 but its mask 1\.png is 10x11 \(width x height\)",
    ),
    "image cut short": (lambda root: cut(root / "images/1.png"), r"images/1\.png: cannot be read as an image"),
    "mask cut short": (lambda root: cut(root / "masks/1.png"), r"masks/1\.png: cannot be read as an image"),
    "an empty image": (lambda root: (root / "images/1.png").write_bytes(b""), r"images/1\.png: cannot be read"),
    "an empty mask": (lambda root: (root / "masks/1.png").write_bytes(b""), r"masks/1\.png: cannot be read"),
    "a huge image": (
        lambda root: huge(root / "images/1.png"),
        r"images/1\.png: is 20000x20000; a pic",
    ),
    "a huge mask": (lambda root: huge(root / "masks/1.png"), r"masks/1\.png: is 20000x20000; a pic"),
    "a pipe": (
        lambda root: become(root / "images/1.png", os.mkfifo),
        r"images/1\.png: is no file but a folder",
    ),
    "a pipe as mask": (lambda root: become(root / "masks/1.png", os.mkfifo), r"masks/1\.png: is no file but a folder"),
    "a folder": (lambda root: become(root / "images/1.png", os.mkdir), r"no image in .*images for 1\.png"),
    "a device": (
        lambda root: become(root / "masks/1.png", lambda path: path.symlink_to("/dev/zero")),
        r"1\.png: is no",
    ),
    "a socket": (lambda root: become(root / "images/1.png", listen), r"images/1\.png: is no file but a folder"),
    "not an image": (lambda root: (root / "images/1.png").write_text("hello"), r"images/1\.png: cannot be read"),
    "all masks empty": (
        every("masks/*", lambda path: Image.fromarray(BLOB * 0).save(path)),
        "masks: all 3 masks are empty; are these the masks of .*images",
    ),
}


def assert_refused(data_dir: Path, message: str, **options: Any) -> None:
    with pytest.raises(DataError, match=message) as error:
        build("folder", data_dir=data_dir, **options)
    assert "\n" not in str(error.value)
    assert not [path for path in data_dir.rglob("*") if path.is_file() or "incomplete" in path.name]


@pytest.mark.parametrize("name", BROKEN)
def test_errors_name_the_file(name: str, root: Path, tmp_path: Path) -> None:
    fault, message = BROKEN[name]
    (root / "images" / "sub").mkdir()
    fault(root)
    assert_refused(tmp_path / "data", message, images=root)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda save, path: save(path, np.zeros((5, 12, 10), np.uint8), photometric="minisblack"),
            r"shape \(5, 12, 10\)|its 5 pages of 10x12 may be slices or channels",
        ),
        (
            lambda save, path: save(path, np.full((12, 10), np.nan, np.float32)),
            "pixels that are not numbers|a mask holds whole",
        ),
        (lambda save, path: [save(path, BLOB), cut(path)], "cannot be read as an? (image|TIF)"),
        (lambda _, path: path.write_bytes(b"II*\0"), "cannot be read as an? (image|TIF)"),
        (lambda _, path: path.write_bytes(b""), "cannot be read as an? (image|TIF)"),
        (lambda save, path: save(path, BLOB.astype(np.complex64)), "numbers of type complex64"),
        (lambda save, path: [save(path, BLOB), tag(path, ImageWidth=0)], "holds no pixels|cannot be read"),
        (lambda save, path: [save(path, BLOB), tag(path, ImageLength=0)], "holds no pixels|cannot be read"),
        (lambda save, path: [save(path, BLOB), tag(path, StripOffsets=9999)], "holds no pixels|cannot be read"),
        (lambda save, path: [save(path, BLOB), tag(path, ImageWidth=65_000, ImageLength=65_000)], "65000x65000; a pic"),
        (
            lambda save, path: [save(path, BLOB), tag(path, SamplesPerPixel=60_000)],
            "shape|cannot be|too large|60000 cha",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["images", "masks"])
def test_errors_of_tifs(
    kind: str, write: Callable[..., Any], message: str, root: Path, tmp_path: Path, save: Callable[..., None]
) -> None:
    (root / kind / "0.png").unlink()
    write(save, root / kind / "0.tif")
    assert_refused(tmp_path / "data", rf"/{kind}/0\.tif: .*({message})|its mask 0\.tif is", images=root)


def tag(path: Path, **values: int) -> None:
    """Overwrite tags of a TIF."""
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        for name, value in values.items():
            found = tif.pages[0].tags[name]
            struct.pack_into({3: "<H", 4: "<I"}[found.dtype], content, found.valueoffset, value)
    path.write_bytes(content)


def test_images_are_not_their_own_masks(root: Path, tmp_path: Path) -> None:
    assert_refused(tmp_path / "data", "one folder", images=root / "images", masks=root / "images")


def test_images_must_be_named(tmp_path: Path) -> None:
    assert_refused(tmp_path / "data", "needs images", images="")


def test_errors_of_groups_leave_nothing_behind(root: Path, tmp_path: Path) -> None:
    assert_refused(tmp_path / "data", r"groups\.csv: no such file", images=root, groups=tmp_path / "groups.csv")
    (tmp_path / "groups.csv").write_text("id,group\n0,a\n")
    assert_refused(tmp_path / "data", "no group for 1, 2", images=root, groups=tmp_path / "groups.csv")


def test_a_table_of_groups_of_gigabytes_is_refused_before_it_is_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "groups.csv").touch()
    os.truncate(tmp_path / "groups.csv", 2**34)
    assert_refused(tmp_path / "data", r"groups\.csv: is too large", images=root, groups=tmp_path / "groups.csv")


def test_real_lung_slices(real_data: Path, tmp_path: Path, build_and_read: Callable[..., Any]) -> None:
    sample = real_data / "samples" / "lung_ct_png"
    assert_refused(tmp_path / "data", r"no image in .* for 422\.png, 439\.png; add the missing", images=sample)
    for kind in ("images", "masks"):
        (tmp_path / "matched" / kind).mkdir(parents=True)
        for path in (sample / "images").iterdir():
            shutil.copy(sample / kind / path.name, tmp_path / "matched" / kind)
    built = build_and_read("folder", images=tmp_path / "matched")
    assert (len(built.ids), built.ids[:4]) == (22, ["2", "17", "18", "20"])
    for name, image, mask in zip(built.ids, built.images, built.masks, strict=True):
        stored = np.asarray(Image.open(sample / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(mask, stored[..., :1] > 127)  # all of them hold greys in between
        lung, tissue = mask[..., 0] == 1, image[..., 0] > 128
        assert 0.03 < lung.mean() < 0.5
        assert image[lung].mean() < image[~lung & tissue].mean()  # lungs are dark
