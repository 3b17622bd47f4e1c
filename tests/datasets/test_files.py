"""Files in folders and in archives: found, paired and read in the same way."""

import os
import struct
import types
import unicodedata
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from datasets import files, formats
from datasets.errors import DataError
from datasets.folder import images, masks
from datasets.formats.stack import Header


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
    content = {"x/10.png": png, "x/2.PNG": png, "x/y/3.png": png, "x/notes.txt": b"", "z/1.png": png, "z/2.gif": b""}
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
    with pytest.raises(DataError, match=name):
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


@pytest.mark.parametrize("address", ["gs://a/b", "s3://a", "https://a/b", "file:///a", "gcs://a", Path("gs://a/b")])
def test_an_address_is_no_path(address):
    with pytest.raises(DataError, match="is an address"):
        files.local(address)


@pytest.mark.parametrize("path", ["a/b", "a:b", "C:/a", "/a/b", "./gs:/a", "https", "a b://c"])
def test_any_path_is_local(path):
    assert files.local(path) == Path(path)
    assert files.local("~/x") == Path.home() / "x"


def header(path: Path) -> Header:
    return formats.header([path])


def stored(path: Path) -> np.ndarray:
    return images.stored([path])


SUFFIXES = (".png", ".jpg", ".bmp", ".tif")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "read",
    [files.read_image, files.read_binary, header, stored],
)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_read(make, read, suffix, tmp_path):
    make(tmp_path / f"a{suffix}")
    with pytest.raises(DataError, match=rf"a\{suffix}: is no file"):
        read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "read",
    [files.read_image, files.read_binary, header, stored],
)
def test_the_pixels_of_a_picture_are_bounded(read, suffix, tmp_path, monkeypatch):
    path = tmp_path / f"a{suffix}"
    (tifffile.imwrite if suffix == ".tif" else lambda path, array: Image.fromarray(array).save(path))(
        path, np.zeros((4, 5), np.uint8)
    )
    monkeypatch.setattr(files, "MAX_PIXELS", 20)
    read(path)
    monkeypatch.setattr(files, "MAX_PIXELS", 19)
    with pytest.raises(DataError, match=rf"a\{suffix}: is 5x4; a picture of over 19 pixels is not read"):
        read(path)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("greys", [[0, 255], list(range(16))])
def test_a_bitmap_with_a_palette_of_greys(bits, greys, tmp_path):
    """Pillow takes such a palette for 1 bit or 8, whatever the file has; where it writes one, the file has 8."""
    indices = np.random.default_rng(0).integers(0, 2**bits, (5, 7), np.uint8) % len(greys)
    rows = ["".join(f"{index:0{bits}b}" for index in row) for row in indices[::-1].tolist()]
    data = b"".join(int(row.ljust(64, "0"), 2).to_bytes(8, "big")[: -(-7 * bits // 32) * 4] for row in rows)
    colours = b"".join(bytes([grey, grey, grey, 0]) for grey in greys)
    header = struct.pack("<IiiHHIIiiII", 40, 7, 5, 1, bits, 0, len(data), 0, 0, len(greys), 0)
    (tmp_path / "a.bmp").write_bytes(
        struct.pack("<2sIHHI", b"BM", 0, 0, 0, 54 + len(colours)) + header + colours + data
    )
    expected = np.array(greys, np.uint8)[indices]
    np.testing.assert_array_equal(files.read_image(tmp_path / "a.bmp", "RGB")[..., 0], expected)
    np.testing.assert_array_equal(masks.read([tmp_path / "a.bmp"], indices=False)[0], expected)


def test_a_bitmap_of_two_greys_that_pillow_wrote(tmp_path):
    mask = np.random.default_rng(0).integers(0, 2, (5, 7), np.uint8)
    image = Image.fromarray(mask)
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(files.read_binary(tmp_path / "a.bmp"), mask)
    np.testing.assert_array_equal(masks.read([tmp_path / "a.bmp"], indices=True)[0], mask * 255)
    assert header(tmp_path / "a.bmp").kind == "BMP L"


def test_a_large_picture_is_no_bomb(tmp_path):
    """Pillow would warn from 89 megapixels on."""
    Image.new("1", (10_000, 9_000)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert formats.header([tmp_path / "a.png"]).size == (10_000, 9_000)


def test_a_stack_of_many_pages_is_no_large_picture(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 4, 5), np.uint8), photometric="minisblack")
    monkeypatch.setattr(files, "MAX_PIXELS", 20)
    assert files.read_image(tmp_path / "a.tif").shape == (9, 4, 5)


def test_a_format_that_runs_a_program_is_not_read(tmp_path):
    """Pillow gives EPS to Ghostscript."""
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match="of no known format"):
        files.read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OSError(12, "Cannot allocate memory"), OSError("out of memory when reading image file")],
    ids=["python", "system", "pillow"],
)
def test_short_memory_is_not_called_damage(png, tmp_path, monkeypatch, error):
    def short(*_, **__):
        raise error

    monkeypatch.setattr("PIL.Image.open", short)
    with pytest.raises(DataError, match=r"a\.png: is too large for the memory of this machine"):
        files.read_image(tmp_path / "a.png")


def changed_zip(path, content, field, value):
    """Write a zip, and overwrite two bytes of the entry of its last file in the central directory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    whole = bytearray(path.read_bytes())
    at = whole.rindex(b"PK\x01\x02") + field
    whole[at : at + 2] = value.to_bytes(2, "little")
    path.write_bytes(whole)


def test_an_archive_that_cannot_be_opened_is_named(tmp_path, png):
    changed_zip(tmp_path / "set.zip", {"set/a.png": png}, 6, 99)
    with pytest.raises(DataError, match=r"set\.zip: not a zip archive.*version 9\.9\); download it again"):
        files.Tree(tmp_path, ["set.zip"])
    changed_zip(tmp_path / "set.zip", {"set/@.png": png}, 8, 1 << 11)  # names are UTF-8
    (tmp_path / "set.zip").write_bytes((tmp_path / "set.zip").read_bytes().replace(b"@", b"\xe9"))
    with pytest.raises(DataError, match=r"set\.zip: not a zip archive.*can't decode.*; download it again"):
        files.Tree(tmp_path, ["set.zip"])


def test_of_downloaded_archives_only_the_damaged_one_is_deleted(tmp_path, png, monkeypatch):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("images/a.png", png)
    (tmp_path / "masks.zip").write_bytes(b"cut short")
    monkeypatch.setattr(files.download, "fetch", lambda wanted: None)
    manager = types.SimpleNamespace(download_dir=tmp_path, manual_dir=tmp_path / "empty")
    with pytest.raises(DataError, match=r"masks\.zip: not a zip archive.*: it is deleted, so give the command"):
        files.find(manager, ["images.zip", "masks.zip"], "https://a.org/")
    assert [path.name for path in tmp_path.glob("*.zip")] == ["images.zip"]


@pytest.mark.parametrize(("field", "value"), [(10, 99), (10, 13), (8, 1), (16, 7), (24, 9)])
def test_a_member_that_cannot_be_read_is_named(field, value, tmp_path, png):
    """Its compression is unknown, it is encrypted, or its checksum or its size is another."""
    changed_zip(tmp_path / "set.zip", {"set/a.png": png}, field, value)
    (member,) = files.Tree(tmp_path, ["set.zip"]).below("set")
    with pytest.raises(DataError, match=r"set\.zip: set/a\.png: cannot be read"):
        files.read_image(member)


def test_an_archive_with_two_files_of_one_name_is_refused(tmp_path, png):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("a.png", "b.png", "a.png"):
            archive.writestr(name, png)
    with pytest.raises(DataError, match=r"set\.zip: holds 2 files called a\.png"):
        files.Tree(tmp_path, ["set.zip"])


def test_a_tif_that_is_called_png_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 5, 3), 4000, np.uint16))
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: is a TIF by its content; rename it to \.tif"):
        files.read_image(tmp_path / "a.png")


def test_a_path_is_found_however_its_accents_are_encoded(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "Übung")).mkdir()
    assert files.local(tmp_path / unicodedata.normalize("NFC", "Übung")).is_dir()
    assert files.local("~nobodyx/images") == Path("~nobodyx/images")
