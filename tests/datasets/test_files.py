"""Files in folders and in archives: found, paired and read in the same way."""

import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from datasets import files


def names(found):
    return [file.name for file in found]


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(path)
    return path.read_bytes()


def test_natural_order():
    assert sorted(["10", "9", "a10", "a9", "2"], key=files.natural) == ["2", "9", "10", "a9", "a10"]


@pytest.mark.parametrize("top", ["", "set/"])
def test_a_zip_reads_as_the_folder_it_holds(top, tmp_path, png):
    content = {"x/10.png": png, "x/2.PNG": png, "x/y/3.png": png, "x/notes.txt": b"", "z/1.png": png}
    litter = {"x/.hidden.png": b"", "__MACOSX/x/._10.png": b"", "x/Thumbs.db": b""}
    folder, archives = tmp_path / "folder", tmp_path / "archives"
    archives.mkdir()
    with zipfile.ZipFile(archives / "set.zip", "w") as archive:
        for name, value in (content | litter).items():
            (folder / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "set" / name).write_bytes(value)
            archive.writestr(top + name, value)
    for tree in (files.Tree(folder), files.Tree(archives, ["set.zip", "absent.zip"])):
        assert names(tree.below("set/x")) == ["2.PNG", "10.png", "y/3.png"]
        assert names(tree.below("set/z")) == ["1.png"]
        assert names(tree.below("set/x", (".txt",))) == ["notes.txt"]
        assert tree.below("set/nothing") == tree.below("se") == []
        assert tree.below("set/x")[0].read() == png
        assert tree.file("absent.png", "set/z/1.png").read() == png
        assert tree.file("absent.png") is None
    inside = files.Tree(archives, ["set.zip"])
    assert inside.below("set/z")[0].where == f"{archives / 'set.zip'}: {top}z/1.png"
    assert bool(inside.below("z")) == (top == "")


def test_extracted_comes_before_archived(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("1.png", b"archived")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "1.png").write_bytes(b"extracted")
    tree = files.Tree(tmp_path, ["set.zip"])
    assert [file.read() for file in tree.below("set")] == [b"extracted"]
    assert tree.file("set/1.png").read() == b"extracted"


def test_pairs_by_name(tmp_path):
    images = [files.File.at(tmp_path / name) for name in ("10.jpg", "9.jpg")]
    masks = [files.File.at(tmp_path / name) for name in ("9_mask.png", "10_mask.png")]
    found = files.pairs(images, masks, mask_ending="_mask")
    assert [(name, image.name, mask.name) for name, image, mask in found] == [
        ("9", "9.jpg", "9_mask.png"),
        ("10", "10.jpg", "10_mask.png"),
    ]


@pytest.mark.parametrize(
    ("mode", "pixel", "stored", "rgb"),
    [
        ("L", 7, 7, (7, 7, 7)),
        ("RGB", (1, 2, 3), (1, 2, 3), (1, 2, 3)),
        ("RGBA", (1, 2, 3, 0), (1, 2, 3, 0), (1, 2, 3)),
        ("P", 1, 1, (9, 8, 7)),
        ("1", 1, True, (255, 255, 255)),
    ],
)
def test_read_png_of_every_mode(mode, pixel, stored, rgb, tmp_path):
    image = Image.new(mode, (3, 2), pixel)
    if mode == "P":
        image.putpalette([0, 0, 0, 9, 8, 7])
    image.save(tmp_path / "a.png")
    as_stored = files.read_image(tmp_path / "a.png")
    assert as_stored.shape[:2] == (2, 3)
    np.testing.assert_array_equal(as_stored[0, 0], stored)
    as_rgb = files.read_image(tmp_path / "a.png", "RGB")
    assert as_rgb.shape == (2, 3, 3)
    np.testing.assert_array_equal(as_rgb[1, 2], rgb)


@pytest.mark.parametrize(("shape", "planar"), [((4, 5), None), ((4, 5, 3), "contig"), ((4, 5, 4), "contig")])
def test_read_tif(shape, planar, tmp_path):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    tifffile.imwrite(tmp_path / "a.TIF", pixels, photometric="minisblack", planarconfig=planar)
    np.testing.assert_array_equal(files.read_image(tmp_path / "a.TIF"), pixels)
    rgb = np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels[..., :3]
    np.testing.assert_array_equal(files.read_image(tmp_path / "a.TIF", "RGB"), rgb)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_an_absent_file_is_named(name, tmp_path):
    with pytest.raises(files.DataError, match=name):
        files.read_image(tmp_path / name)


def test_binary_cuts_greys_at_127():
    grey = np.array([[0, 1, 127, 128, 255]], np.uint8)
    expected = np.array([[0, 0, 0, 1, 1]], np.uint8)
    rgb, rgba = np.stack([grey] * 3, axis=-1), np.stack([grey] * 3 + [np.full_like(grey, 255)], axis=-1)
    green = rgb * np.array([0, 1, 0], np.uint8)
    for mask in (grey, grey[..., None], rgb, rgba, green, grey > 127):
        np.testing.assert_array_equal(files.binary(mask), expected)
        assert files.binary(mask).dtype == np.uint8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_black_and_white_of_every_mode(mode, tmp_path):
    mask = np.array([[0, 255, 0], [255, 0, 0]], np.uint8)
    image = Image.fromarray(mask).convert(mode)
    if mode == "P":  # white is an index below 127, as programs that shrink files have it
        image = Image.fromarray(mask // 255)
        image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(files.read_binary(tmp_path / "mask.png"), mask // 255)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_png_keeps_every_pixel(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Image.open(files.png(pixels)) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels.squeeze())
