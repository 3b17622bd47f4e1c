"""COCO files: objects of each kind, images found by their names, and damaged files in one line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from datasets import annotations
from datasets.annotations import coco
from datasets.annotations.raster import Region
from datasets.errors import DataError

WIDTH, HEIGHT = 9, 7
SQUARE = [1, 1, 5, 1, 5, 4, 1, 4]  # rows 1 to 3, columns 1 to 4


def whole(objects, names=("a.png",), **changes):
    """Return a COCO file of images with these names; the objects are those of the first."""
    images = [{"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT} for n, name in enumerate(names)]
    each = [{"id": 10 + n, "image_id": 0, "category_id": 1, **one} for n, one in enumerate(objects)]
    categories = [{"id": 3, "name": "cell"}, {"id": 1, "name": "nucleus"}]
    return {"images": images, "annotations": each, "categories": categories} | changes


@pytest.fixture
def load(tmp_path):
    def write(content):
        path = tmp_path / "coco.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return coco.load(path)

    return write


def test_parts_and_run_lengths_of_objects_are_united(load):
    ring = np.zeros((HEIGHT, WIDTH), bool)
    ring[1:6, 2:8], ring[3:5, 4:6] = True, False
    flat = ring.ravel(order="F")
    counts = np.diff([0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]).tolist()
    for given in (counts, "?5200M0O010O04006"):
        file = load(
            whole(
                [
                    {"segmentation": [SQUARE, [6, 5, 9, 5, 9, 7, 6, 7]], "category_id": 3},
                    {"segmentation": {"size": [HEIGHT, WIDTH], "counts": given}},
                    {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [60, 3]}, "iscrowd": 1},
                ]
            )
        )
        assert file.names == {1: "nucleus", 3: "cell"}
        codes, regions = coco.read(file, Path("a.png"))
        assert regions == (Region("cell"), Region("nucleus"), Region("nucleus", crowd=True))
        two = np.zeros((HEIGHT, WIDTH), bool)
        two[1:4, 1:5] = two[5:, 6:] = True
        np.testing.assert_array_equal(codes & 1 > 0, two)
        np.testing.assert_array_equal(codes & 2 > 0, ring)
        assert np.argwhere(codes & 4).tolist() == [[4, 8], [5, 8], [6, 8]]


@pytest.mark.parametrize(
    ("names", "image", "found"),
    [
        (["a.png", "b.png"], "x/a.png", "a.png"),
        (["train/a.png", "test/a.png"], "x/test/a.png", "test/a.png"),
        (["a.png", "test/a.png"], "x/test/a.png", "test/a.png"),  # the longest name that fits
        (["train/a.png"], "y/a.png", "train/a.png"),
        (["train\\a.JPG"], "y/a.png", "train\\a.JPG"),
        (["caf\u00e9.png"], "cafe\u0301.png", "caf\u00e9.png"),
        (["./a.png"], "a.png", "./a.png"),
    ],
)
def test_an_image_is_found_by_its_name(load, names, image, found):
    assert coco.picture(load(whole([], names)), Path(image))["file_name"] == found


def test_an_image_of_no_name_or_of_two_is_refused(load):
    with pytest.raises(DataError, match=r"coco\.json: has no image called b\.png; add it, or remove x/b\.png"):
        coco.picture(load(whole([])), Path("x/b.png"))
    with pytest.raises(DataError, match=r"train/a\.png and test/a\.png could both be x/a\.png"):
        coco.picture(load(whole([], ["train/a.png", "test/a.png"])), Path("x/a.png"))


def test_images_that_are_not_there_are_no_fault_but_two_of_one_name_are(load, tmp_path):
    load(whole([], ["a.png", "b.png"]))
    path, images = tmp_path / "coco.json", [tmp_path / "a.png"]
    assert annotations.pair(images, tmp_path, path) == {images[0]: (path, images[0])}
    assert annotations.unused(images, path) == ["b.png"]
    faults = []
    assert list(annotations.pair([*images, tmp_path / "a.jpg", tmp_path / "c.png"], tmp_path, path, faults)) == images
    assert [fault.split(": ", 1)[1].split(";")[0] for fault in faults] == [
        f"a.png could be both {images[0]} and {tmp_path / 'a.jpg'}",
        "has no image called c.png",
    ]


def test_an_entry_of_one_image_is_not_given_to_another_of_its_name(load, tmp_path):
    """The file lacks p1/a.png: the outlines of p2/a.png are not its."""
    images = [tmp_path / name for name in ("p1/a.png", "p2/a.png", "p1/b.png")]
    load(whole([], ["p2/a.png", "p1/b.png"]))
    faults = []
    assert list(annotations.pair(images, tmp_path, tmp_path / "coco.json", faults)) == images[1:]
    assert faults == [f"{tmp_path / 'coco.json'}: has no image called p1/a.png; add it, or remove {images[0]}"]


@pytest.mark.parametrize(
    ("entry", "image", "place"),
    [
        ("p1/a.png", "p2/a.png", "p2/a.png"),
        ("x/p1/a.png", "p1/a.png", "p1/a.png"),
        ("p1/a.png", "x/p1/a.jpg", ""),
        ("p1\\a.png", "x/p1/a.png", ""),
        ("a.png", "p2/a.png", ""),
    ],
)
def test_a_name_by_which_another_folder_is_meant(load, entry, image, place):
    assert coco.place(load(whole([], [entry])).pictures["a"][0], Path(image)) == place


def test_a_file_is_parsed_once_until_it_changes(load, tmp_path):
    first = load(whole([]))
    assert coco.load(tmp_path / "coco.json") is first
    os.utime(tmp_path / "coco.json", ns=(1, 1))
    assert coco.load(tmp_path / "coco.json") is not first


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ({"segmentation": [SQUARE[:-1]]}, "its outline has 7 numbers; points have two each"),
        ({"segmentation": [[1, 1, 2, 2]]}, "its outline has 2 points; a polygon has at least 3"),
        ({"segmentation": [[91, 1, 92, 2, 95, 1]]}, "it lies at x 91 to 95, y 1 to 2, beyond the image of 9x7"),
        ({"segmentation": []}, "it has no outline (a box is none)"),
        ({"bbox": [1, 2, 3, 4]}, "it has no outline (a box is none)"),
        ({"segmentation": {"size": [7, 9], "counts": [60, 4]}}, "its run lengths are of 64 pixels; the image has 63"),
        ({"segmentation": {"size": [9, 7], "counts": [63]}}, "are of 7x9 pixels, but the image is 9x7"),
        ({"segmentation": {"size": [7, 9], "counts": "?5`"}}, "its run lengths are cut short"),
    ],
)
def test_a_damaged_object_is_one_line_that_names_it(load, tmp_path, one, message):
    file = load(whole([{"segmentation": [SQUARE]}, one]))
    with pytest.raises(DataError) as error:
        coco.read(file, Path("a.png"))
    assert str(error.value).startswith(f"{tmp_path}/coco.json: a.png: annotation 11: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [', "is damaged"),
        ("[]", "is damaged"),
        ("{}", "missing required field"),
        (whole([{"segmentation": [["a"]]}]), "is damaged"),
        (json.dumps(whole([{"segmentation": [[1, 2, float("nan")]]}])), "is damaged"),
        (whole([{"image_id": 5}]), "annotation 10 has the image_id 5, which is not in the file"),
        (whole([{"category_id": 5}]), "annotation 10 has the category_id 5, which is not in the file"),
        (whole([], ["a.png", "a.png"]), "holds 2 images called 'a.png'"),
        (whole([], categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), "2 categories with the id 1"),
        (
            whole([{}, {"category_id": 2}], categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]),
            "2 categories called 'a'",
        ),
        (whole([], images=[{"id": 1, "file_name": "a"}]), "missing required field `width`"),
    ],
)
def test_a_damaged_file_is_one_line(load, content, message):
    with pytest.raises(DataError) as error:
        load(content)
    assert message in str(error.value)
    assert "coco.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        coco.load(tmp_path / "coco.json")


def test_a_size_of_no_picture_is_refused_before_it_takes_memory(load):
    images = [{"id": 0, "file_name": "a.png", "width": 10**9, "height": 10**9}]
    with pytest.raises(DataError, match="the picture is said to be 1000000000x1000000000"):
        coco.read(load(whole([], images=images)), Path("a.png"))


def test_a_category_without_objects_may_have_the_name_of_another(load, tmp_path):
    file = load(whole([{"segmentation": [SQUARE]}], categories=[{"id": 0, "name": "cell"}, {"id": 1, "name": "cell"}]))
    image = tmp_path / "a.png"
    codes, contents = annotations.read((file.where, image))
    assert contents.known == ("cell",)
    assert codes.sum() == 12
    with pytest.raises(DataError, match=r"holds COCO's coco\.json; give --config\.data\.masks=.*/coco\.json$"):
        annotations.pair([image], tmp_path / "images", tmp_path)
