"""The command: a picture of images as training sees them, or one line before any work is done."""

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from launch import augmentations
from launch.console import config as configs
from launch.preview.outlines import COLOURS, GAP, outlined
from sharp_unet_jax import ragged
from sharp_unet_jax.config import Augment, Config, Data
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.sweeps import plan

FLIPS = "--config.augment.flip=0.5"


@pytest.fixture
def loaded(monkeypatch, dataset):
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    return dataset


def command(*arguments):
    console = Console(width=300, record=True, file=io.StringIO())
    assert augmentations.run(["--config=demo.py", *arguments], console) == 0
    return console.export_text()


@pytest.mark.parametrize(("name", "kind"), [("sheet.png", "PNG"), ("sheet.JPG", "JPEG")])
def test_a_row_an_image_as_it_is_and_in_epochs(loaded, tmp_path, monkeypatch, name, kind):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert f"{tmp_path / 'out' / name}: on the left" in command(FLIPS, f"--output=~/out/{name}")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    height, width = loaded.masks.shape[1:]
    with Image.open(tmp_path / "out" / name) as picture:
        assert picture.format == kind
        sheet = np.asarray(picture).reshape(augmentations.ROWS, height + GAP, augmentations.COLUMNS, width + GAP, 3)
    if kind == "PNG":
        config = configs.overridden(configs.load("demo.py"), [FLIPS])
        first = augmentations.sheet(config, loaded, plan.seed(config, plan.runs(config)[0]))
        np.testing.assert_array_equal(sheet.reshape(first.shape), first)  # as the first run sees them
        np.testing.assert_array_equal(sheet[0, :, 0], outlined(loaded.images[0], loaded.masks[0]))
    assert any(not np.array_equal(sheet[:, :, 0], sheet[:, :, epoch]) for epoch in range(1, augmentations.COLUMNS))


def test_crops_turn_without_black_corners():
    """A picture is 100 everywhere; a crop of its middle turned by 45 degrees shows nothing but 100."""
    images = ragged.of([np.full((64, 64, 1), 100, np.uint8)] * 3)
    masks = ragged.of([np.pad(np.ones((8, 8), np.uint8), 28)] * 3)
    names = ("a", "b", "c")
    data = Dataset("grey", images, masks, names, names, ("background", "cell"))
    crops = Data(fit="crop", size=(16, 16), foreground=1.0)
    config = Config(data=crops, augment=Augment(rotate=45))
    rows, columns = 3, augmentations.COLUMNS
    sheet = augmentations.sheet(config, data).reshape(rows, 16 + GAP, columns, 16 + GAP, 3)[:, :16, :, :16]
    colours = {tuple(colour) for colour in sheet.reshape(-1, 3).tolist()}
    assert colours == {(100, 100, 100), tuple(COLOURS[0].tolist())}  # the picture, and the outline of the object
    assert not np.array_equal(sheet[:, :, 0], sheet[:, :, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([FLIPS, "--output=sheet"], r"--output=sheet: .*\.png"),
        ([FLIPS, "--output=sheet.txt"], r"--output=sheet\.txt: .*\.png"),
        ([], "augments nothing"),
    ],
)
def test_wrong_input_is_answered_in_a_line_before_any_work(monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: pytest.fail("loaded"))
    with pytest.raises(InputError, match=message):
        command(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_what_fails_on_the_way_leaves_the_picture_that_was_there(loaded, tmp_path, monkeypatch):
    (tmp_path / "sheet.png").write_text("before")

    def fail(self, path, *_):
        path.write_text("half")
        raise OSError("no room")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no room"):
        command(FLIPS, f"--output={tmp_path / 'sheet.png'}")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
