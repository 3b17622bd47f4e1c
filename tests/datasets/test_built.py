"""Damaged built sets: the right examples, or one line that names the folder to delete."""

import errno
import itertools
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from PIL import Image
from rich.console import Console

from datasets import built
from datasets.build import build, summary
from datasets.errors import DamagedError
from datasets.phantom import phantom_dataset_builder
from launch.console import dataset
from launch.preview import source
from sharp_unet_jax.config import Data

JSON = ("dataset_info.json", "features.json", "metadata.json", "digests.json")
CONSOLE = Console(quiet=True)


def flipped(content):
    """Return JSON with its last digit changed, or a letter if it has no digit; records with a bit of the first."""
    digits = [match.start() for match in re.finditer(rb"\d", content)] or [len(content) // 2]
    at = digits[-1] if content.startswith(b"{") else 200
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGE = {
    "deleted": None,
    "emptied": lambda _: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "a list": lambda _: b"[]",
    "null": lambda _: b"null",
    "an object": lambda _: b"{}",
    "random": lambda content: np.random.default_rng(0).bytes(len(content)),
    "flipped": flipped,
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """The data folders of a set of the builder `folder` and of a phantom, each with the settings that name it."""
    top = tmp_path_factory.mktemp("built")
    for kind, number in itertools.product(("images", "masks"), range(3)):
        (top / "mine" / kind).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 2, (12, 10), np.uint8) * 255
        Image.fromarray(pixels).save(top / "mine" / kind / f"{number}.png")
    whole = phantom_dataset_builder._pairs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantom_dataset_builder, "_pairs", lambda config: itertools.islice(whole(config), 3))
        build("phantom", data_dir=top / "data")
    build("folder", images=top / "mine", data_dir=top / "data")
    return {
        "phantom": (top / "data", Data(builder="phantom", size=(16, 16))),
        "folder": (top / "data", Data(builder="folder", images=str(top / "mine"), size=(16, 16))),
    }


@pytest.fixture
def copied(originals, tmp_path):
    """Return a function that copies the set of a builder, and returns its folder, settings and content."""

    def copy(builder):
        data_dir, data = originals[builder]
        shutil.copytree(data_dir, tmp_path / "data")
        settings = {"data_dir": str(tmp_path / "data"), "images": data.images}
        data = Data(builder=builder, size=data.size, **settings)
        (folder,) = (path.parent for path in (tmp_path / "data" / builder).rglob("features.json"))
        return folder, data, content(data)

    return copy


def opened(data):
    options = {"images": data.images} if data.builder == "folder" else {}
    return build(data.builder, data_dir=data.data_dir, **options)


def content(data):
    """Return all of a set that runs depend on."""
    builder = opened(data)
    examples = [[example[key] for key in ("id", "group")] for example in builder.as_data_source()]
    pixels = [example[key].tobytes() for example in builder.as_data_source() for key in ("image", "mask")]
    return examples, pixels, list(builder.info.metadata["classes"]), builder.info.metadata["window"]


def refusals(folder, data, expected):
    """Return the lines of all readers of a set; a reader that reads what it should gives None."""
    readers = {
        "library": lambda: content(data) == expected,
        "datasets.build": lambda: summary(opened(data)),
        "launch.prepare": lambda: len(source.inspect(data, CONSOLE)[0].ids) == len(expected[0]),
        "launch.cv": lambda: len(dataset.load(data, CONSOLE).ids) == len(expected[0]),
    }
    if data.builder == "folder":
        del readers["launch.prepare"]  # it reads the user's files
    lines = {}
    for name, read in readers.items():
        try:
            lines[name] = None if read() else "other content"
        except DamagedError as error:
            lines[name] = str(error)
    for line in filter(None, lines.values()):
        assert f"delete the folder {folder} and give the command again" in line
        assert "\n" not in line
    return lines


@pytest.mark.parametrize("builder", ["phantom", "folder"])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", [*JSON, "records"])
def test_a_damaged_file_is_one_line_that_names_the_folder(name, damage, builder, copied):
    folder, data, expected = copied(builder)
    (path,) = folder.glob("*.array_record*" if name == "records" else name)
    change(path, damage)
    assert None not in refusals(folder, data, expected).values()


@pytest.mark.parametrize("name", JSON)
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_not_read(name, copied):
    folder, data, expected = copied("phantom")
    for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path)):
        (folder / name).unlink()
        make(folder / name)
        assert None not in refusals(folder, data, expected).values()


@pytest.mark.parametrize("name", JSON[:3])
def test_a_description_larger_than_memory_is_not_read(name, copied):
    folder, data, expected = copied("phantom")
    with open(folder / name, "r+b") as file:
        file.truncate(2**40)  # a hole: it takes no room on the disk
    assert None not in refusals(folder, data, expected).values()


def change(path, damage):
    if DAMAGE[damage] is None:
        path.unlink()
    else:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))


@pytest.mark.parametrize("part", [b"\x89PNG", b"IDAT", b"IHDR"])
def test_a_picture_that_cannot_be_decoded(part, copied):
    folder, data, expected = copied("phantom")
    (path,) = folder.glob("*.array_record*")
    reader = ArrayRecordReader(str(path))
    records = [reader.read([number])[0] for number in range(reader.num_records())]
    reader.close()
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in [*records[:-1], records[-1].replace(part, b"XXXX")]:
        writer.write(record)
    writer.close()
    (folder / built.DIGESTS).unlink()
    built.seal(folder)
    lines = refusals(folder, data, expected)
    assert all(lines[name] for name in ("library", "launch.prepare", "launch.cv"))


def test_an_empty_folder_is_no_set(copied):
    folder, data, expected = copied("phantom")
    shutil.rmtree(folder)
    folder.mkdir()
    assert None not in refusals(folder, data, expected).values()


def test_once_deleted_the_set_is_built_again(copied):
    folder, data, expected = copied("folder")
    shutil.rmtree(folder)
    assert content(data) == expected


def test_a_damaged_set_can_be_rebuilt(copied):
    folder, data, expected = copied("folder")
    for path in folder.iterdir():
        path.write_bytes(b"")
    build("folder", images=data.images, data_dir=data.data_dir, rebuild=True)
    assert content(data) == expected


def test_a_file_that_may_not_be_read_is_not_called_damaged(copied, monkeypatch):
    _, data, _ = copied("phantom")
    read = Path.read_bytes

    def forbidden(path):
        if path.name == "features.json":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(PermissionError, match=r"features\.json"):
        content(data)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "is short")])
def test_memory_that_is_short_is_not_called_damage(copied, monkeypatch, error):
    _, data, _ = copied("phantom")

    def short(*_, **__):
        raise error

    monkeypatch.setattr("PIL.Image.open", short)
    with pytest.raises(type(error), match=r"^$|is short"):
        content(data)
