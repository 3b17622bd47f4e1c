"""A config's data set, from files to resident arrays: its name, and what is printed of it."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from datasets.folder.settings import settings
from launch.console import dataset
from sharp_unet_jax.config import Data
from sharp_unet_jax.data.prepared import prepare
from tests.datasets import writers


@pytest.fixture
def console():
    return Console(width=400, record=True, markup=False)


def test_a_folder_is_described_and_named_after_its_folder(tmp_path, console):
    top = tmp_path / "my cells [2024]"
    for kind in ("images", "masks"):
        (top / kind).mkdir(parents=True)
    for index in range(3):
        pixels = np.full((20, 30, 3), 40 * index, np.uint8)
        Image.fromarray(pixels).save(top / "images" / f"{index}.png")
        Image.fromarray(np.tile(np.repeat(np.array([0, 255], np.uint8), 15), (20, 1))).save(
            top / "masks" / f"{index}_mask.png"
        )
    data = Data(builder="folder", size=(16, 16), fit="letterbox", images=str(top), data_dir=str(tmp_path / "tfds"))
    resident = dataset.load(data, console)
    assert resident.name == "folder/my_cells_2024_"
    assert resident.ids == ("0", "1", "2")
    assert (resident.masks == 255).sum(axis=(1, 2)).min() > 0  # letterbox padding, wider than high
    text = console.export_text()
    assert f"3 images in {top}" in text
    assert "3 images of 16x16 (height x width)" in text


def test_the_endings_of_channels_that_a_folder_decides_are_kept(tmp_path, monkeypatch):
    decided = SimpleNamespace(settings=settings(channel_files=("_0000", "_0001")))
    monkeypatch.setattr(dataset.folder_dataset_builder, "configure", lambda **values: decided)
    data = Data(builder="folder", images=str(tmp_path))
    assert dataset.completed(data) == dataclasses.replace(data, channel_files=("_0000", "_0001"))
    for other in (Data(), Data(builder="folder")):
        assert dataset.completed(other) == other


@pytest.mark.parametrize(("builder", "name"), [("phantom", "phantom"), ("phantom/multiclass", "phantom/multiclass")])
def test_a_data_set_is_named_with_its_config_unless_it_is_the_default(builder, name, tmp_path, console):
    assert dataset.load(Data(builder=builder, data_dir=str(tmp_path)), console).name == name


def test_masks_resized_in_two_ways_lie_in_two_folders(tmp_path, console):
    where = {"data_dir": str(tmp_path / "tfds"), "manual_dir": str(writers.isbi2012().write(tmp_path / "manual"))}
    data = Data(builder="isbi2012", size=(16, 16), **where)
    sets = [dataset.load(dataclasses.replace(data, mask_filter=kind), console) for kind in ("nearest", "antialiased")]
    assert [each.folder.name for each in sets] == ["prepared-16x16-stretch", "prepared-16x16-stretch-antialiased"]
    np.testing.assert_array_equal(sets[0].images, sets[1].images)
    assert (sets[0].masks != sets[1].masks).any()


CROP = Data(fit="crop")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"size": (64, 64)}, {"size": (64, 96)}, True),  # crops are cut later
        ({}, {"crops": 7, "share": "area", "foreground": 0.5, "validate": "crops", "resident_gb": 0.0}, True),
        ({}, {"score": "native"}, True),  # images are of their own resolution already
        ({}, {"mask_filter": "any"}, True),
        ({}, {"scale": 0.5}, False),
        ({"scale": 0.5}, {"scale": 0.55}, False),
        ({"scale": 2}, {"scale": 2.0}, True),
        ({"scale": 0.5}, {"spacing": 0.5}, False),
        ({"spacing": 0.5}, {"spacing": 0.7}, False),
        ({"spacing": 0.5}, {"spacing": 0.5, "score": "native"}, False),
        ({"scale": 0.5}, {"scale": 0.5, "mask_filter": "any"}, False),
        ({"scale": 0.5, "mask_filter": "antialiased"}, {"scale": 0.5, "mask_filter": "any"}, False),
        ({}, {"context": 1}, False),
        ({"context": 1}, {"context": 2}, False),
        ({}, {"fit": "stretch"}, False),
        ({"fit": "stretch"}, {"fit": "letterbox"}, False),
        ({"fit": "stretch", "size": (16, 32)}, {"fit": "stretch", "size": (32, 16)}, False),
        ({"fit": "stretch"}, {"fit": "stretch", "score": "native"}, False),
    ],
)
def test_settings_share_a_folder_exactly_where_they_prepare_the_same_arrays(tmp_path, one, other, same):
    """The arrays are compared as well, of pictures whose files say a spacing and that have neighbours."""
    rng = np.random.default_rng(0)
    volumes = [("a", (1.0, 1.0), (40, 40))] * 3 + [("b", (2.0, 2.0), (40, 24))] * 2
    source = [
        {
            "image": rng.integers(0, 256, (*size, 1), np.uint8),
            "mask": rng.integers(0, 2, (*size, 1), np.uint8),
            "id": str(number),
            "group": volume,
            "volume": volume,
            "spacing": np.array(spacing, np.float32),
        }
        for number, (volume, spacing, size) in enumerate(volumes)
    ]
    settings = [dataclasses.replace(CROP, **each) for each in (one, other)]
    sets = [prepare(source, name="two", classes=("background", "cell"), data=each) for each in settings]
    assert (sets[0].sha256 == sets[1].sha256) == same
    assert (dataset.folder_name(settings[0]) == dataset.folder_name(settings[1])) == same


def test_settings_that_differ_in_the_last_digit_have_two_folders():
    names = {dataset.folder_name(Data(fit="crop", scale=scale)) for scale in (0.1234567, 0.12345671)}
    assert len(names) == 2  # a large picture can differ by them


def pictures(top, sizes):
    """Write a picture of each size with a mask of its left half."""
    for kind in ("images", "masks"):
        (top / kind).mkdir(parents=True)
    for index, (height, width) in enumerate(sizes):
        Image.fromarray(np.full((height, width), 40 * index, np.uint8)).save(top / "images" / f"{index}.png")
        mask = np.zeros((height, width), np.uint8)
        mask[:, : width // 2] = 255
        Image.fromarray(mask).save(top / "masks" / f"{index}.png")


@pytest.mark.parametrize(
    ("sizes", "crops", "said"),
    [
        (
            [(20, 30)] * 3,
            0,
            "3 images of 20x30 (height x width) in crops of 16x16, 8 per epoch of all images, 3 groups",
        ),
        (
            [(20, 30), (90, 50), (24, 40)],
            5,
            "3 images of 20x30 to 90x50, median 24x40 (height x width) in crops of 16x16, 5 per epoch",
        ),
    ],
)
def test_the_sizes_of_crops_and_their_number_are_said(tmp_path, console, sizes, crops, said):
    pictures(tmp_path / "cells", sizes)
    where = {"images": str(tmp_path / "cells"), "data_dir": str(tmp_path / "tfds")}
    data = Data(builder="folder", size=(16, 16), fit="crop", crops=crops, **where)
    resident = dataset.load(data, console)
    assert said in console.export_text()
    assert resident.folder.name == "prepared-crop"
    np.testing.assert_array_equal(resident.sizes, sizes)


def test_rebuilding_forgets_the_resident_arrays(tmp_path, console):
    layout = writers.isbi2012()
    where = {"data_dir": str(tmp_path / "tfds"), "manual_dir": str(layout.write(tmp_path / "manual"))}
    data = Data(builder="isbi2012", size=(16, 16), **where)
    assert len(dataset.load(data, console).ids) == 8
    writers.isbi2012(slices=6).write(tmp_path / "manual")
    assert len(dataset.load(data, console).ids) == 8  # a built set is reused
    dataset.build("isbi2012", **where, rebuild=True)
    assert len(dataset.load(data, console).ids) == 6
