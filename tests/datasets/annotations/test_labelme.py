"""LabelMe files: shapes of each kind, files found by their names, and damaged files in one line."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from datasets import annotations
from datasets.annotations import labelme
from datasets.annotations.raster import Region
from datasets.errors import DataError

WIDTH, HEIGHT = 9, 7


def shape(label, points, kind="polygon", **more):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def png(mask):
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def save(tmp_path):
    def write(shapes, name="a.json", **changes):
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "a.png", "imageData": None}
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content | {"imageHeight": HEIGHT, "imageWidth": WIDTH} | changes))
        return path

    return write


def rows(*lines):
    return np.array([list(line.ljust(WIDTH, ".")) for line in lines]) == "#"


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (shape("a", [[1, 1], [5, 1], [5, 4], [1, 4]]), ["", ".####", ".####", ".####", "", "", ""]),
        (shape("a", [[5, 4], [1, 1]], "rectangle"), ["", ".####", ".####", ".####", "", "", ""]),
        (shape("a", [[1, 1], [1, 4], [5, 4], [5, 1]], "rectangle"), ["", ".####", ".####", ".####", "", "", ""]),
        (shape("a", [[4.5, 3.5], [4.5, 5.5]], "circle"), ["", "....#", "...###", "..#####", "...###", "....#", ""]),
        (
            shape("a", [[2, 3], [4, 4]], "mask", mask=png(np.array([[255, 0, 255], [0, 255, 0]], np.uint8))),
            ["", "", "", "..#.#", "...#", "", ""],
        ),
        (
            shape("a", [[2, 3], [4, 4]], "mask", mask=png(np.array([[True, False, True], [False, True, False]]))),
            ["", "", "", "..#.#", "...#", "", ""],
        ),
    ],
)
def test_shapes(save, one, expected):
    content = labelme.read(save([one]))
    np.testing.assert_array_equal(content.codes == 1, rows(*expected))
    assert content.regions == (Region("a"),)
    assert content.without_area == 0


def test_polygons_differ_from_labelme_s_own_along_the_outline_alone(save):
    points = [[1.2, 0.7], [7.9, 1.1], [6.3, 5.8], [3.3, 3.9], [1.4, 6.2]]
    found = labelme.read(save([shape("a", points)])).codes == 1
    image = Image.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(image).polygon([tuple(point) for point in points], fill=1, outline=1)  # labelme.utils.shape_to_mask
    outline = Image.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(outline).polygon([tuple(point) for point in points], outline=1)
    np.testing.assert_array_equal(found & ~np.asarray(outline), np.asarray(image) & ~np.asarray(outline))


def test_points_and_lines_have_no_area(save):
    lines = [shape("a", [[1, 1], [2, 2]], "line"), shape("b", [[3, 3]], "point"), shape("c", [[1, 1]], "linestrip")]
    content = labelme.read(save([*lines, shape("d", [[0, 0], [9, 0], [9, 7], [0, 7]])]))
    assert content.without_area == 3
    assert content.regions == (Region("d"),)
    assert (content.codes == 1).all()


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (shape("cell", [[1, 1], [2, 2]]), "shape 1 (cell): its outline has 2 points"),
        (shape("cell", [[1, 1, 1], [2, 2, 2], [3, 1, 1]]), "shape 1 (cell): a point has not two numbers"),
        (shape("cell", [[90, 90], [91, 90], [90, 91]]), "beyond the image of 9x7"),
        (shape("cell", [[1, 1]], "circle"), "this circle has 1 points instead of 2"),
        (shape("cell", [[1, 1], [2, 2], [3, 3]], "rectangle"), "this rectangle has 3 points instead of 2"),
        (shape("cell", [[1, 1], [2, 2]], "mask"), "its mask: cannot be read as an image"),
        (shape("cell", [[1, 1], [2, 2]], "mask", mask="$$$"), "its mask: cannot be read as an image"),
        (shape("cell", [[1, 1], [2, 2]], "mask", mask=png(np.ones((3, 3), np.uint8))), "its mask has the shape (3, 3)"),
        (shape("cell", [[8, 6], [9, 7]], "mask", mask=png(np.ones((2, 2), np.uint8))), "within the image (7, 9)"),
        (shape("cell", [[1, 1], [2, 2], [1, 3]], "spline"), "shapes of the kind 'spline' are not read"),
    ],
)
def test_a_damaged_shape_is_one_line_that_names_it(save, tmp_path, one, message):
    with pytest.raises(DataError) as error:
        labelme.read(save([one]))
    assert str(error.value).startswith(f"{tmp_path}/a.json: shape 1 (cell): ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_one_line(save):
    for changes in ({"imageHeight": None}, {"shapes": {}}, {"shapes": [{"label": 3}]}):
        with pytest.raises(DataError, match=r"a\.json is damaged .*: open the image in LabelMe 4 or later and save"):
            labelme.read(save(**{"shapes": []} | changes))
    with pytest.raises(DataError, match="the picture is said to be 9x0"):
        labelme.read(save([], imageHeight=0))


def test_files_are_found_beside_images_or_in_a_folder_of_their_own(save, tmp_path):
    image, folder = tmp_path / "A.png", tmp_path
    image.touch()
    path = save([], "a.json")
    assert annotations.beside(folder)
    assert annotations.listing(folder, folder) == [path]
    assert annotations.pair([image], folder, folder) == {image: (path,)}
    other = save([], "json/a.json")
    assert annotations.listing(folder, other.parent) == [other]
    assert annotations.pair([image], folder, other.parent) == {image: (other,)}
    (other.parent / "a.png").touch()  # pictures of masks come first
    assert annotations.listing(folder, other.parent) == []


def test_other_files_of_the_images_names_are_no_annotations(save, tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "a.json").write_text('{"patient": "p1"}')
    assert not annotations.beside(tmp_path)
    assert annotations.listing(tmp_path, tmp_path) == []
    scans = save([], "scans/a.json").parent  # BIDS describes each scan in a JSON file
    assert annotations.listing(tmp_path, scans)
    (scans / "a.nii.gz").touch()
    assert annotations.listing(tmp_path, scans) == []


def test_files_in_subfolders_belong_to_the_images_there(save, tmp_path):
    images, jsons = tmp_path / "images", tmp_path / "json"
    wanted = {images / place / "a.png": (save([], f"json/{place}/a.json"),) for place in ("x", "y")}
    assert annotations.pair(list(wanted), images, jsons) == wanted
    loose = images / "z" / "a.png"
    with pytest.raises(DataError, match=r"could both be for .*/z/a\.png"):
        annotations.pair([loose], images, jsons)


def test_a_file_of_one_image_is_not_given_to_another_of_its_name(save, tmp_path):
    images, jsons = [tmp_path / "images" / name for name in ("x/a.png", "y/a.png")], tmp_path / "json"
    own, faults = save([], "json/y/a.json"), []
    assert annotations.pair(images, tmp_path / "images", jsons, faults) == {images[1]: (own,)}
    assert len(faults) == 1
    assert faults[0].startswith(f"{images[0]}: has no LabelMe file")
    loose = own.rename(jsons / "a.json")
    with pytest.raises(DataError, match=rf"{loose} could be for {images[0]} and for {images[1]}; put it into"):
        annotations.pair(images, tmp_path / "images", jsons)
    assert annotations.pair(images[1:], tmp_path / "images", jsons) == {images[1]: (loose,)}


def test_a_file_or_an_image_alone_is_a_fault(save, tmp_path):
    save([], "a.json")
    images, faults = [tmp_path / "b.png", tmp_path / "c.png"], []
    images[1].touch()
    paired = {images[1]: (save([], "c.json"),)}
    assert annotations.pair(images, tmp_path, tmp_path, faults) == paired
    assert [fault.replace(str(tmp_path), "") for fault in faults] == [
        "/b.png: has no LabelMe file; save one, without shapes if nothing is to be seen",
        "no image for /a.json; add the missing files or remove these",
    ]
