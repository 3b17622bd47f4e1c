"""Annotations of a set as labels: names, priorities, ignored regions, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datasets.errors import DataError
from datasets.folder.check import check
from datasets.folder.folder_dataset_builder import Builder
from datasets.folder.scan import Scan, scan
from datasets.folder.settings import settings
from sharp_unet_jax.metrics import IGNORE

WIDTH, HEIGHT = 12, 8
CATEGORIES = {1: "cell", 2: "nucleus", 7: "vessel"}
CELL, NUCLEUS = (1, 1, 9, 7), (3, 2, 6, 5)


def box(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def filled(*boxes: tuple[int, tuple[int, int, int, int]]) -> np.ndarray:
    """Return the labels (H, W) of boxes, of which later ones cover earlier ones."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label, (left, top, right, bottom) in boxes:
        labels[top:bottom, left:right] = label
    return labels


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in "ab":
        Image.fromarray(np.full((HEIGHT, WIDTH), ord(name), np.uint8)).save(tmp_path / "images" / f"{name}.png")
    return tmp_path / "images"


@pytest.fixture
def coco(images: Path) -> Callable[..., Path]:
    """Return a function that writes a COCO file of the objects (category, box) of image a, and of b."""

    def write(a: list[Any], b: list[Any] | None = None, crowds: tuple[int, ...] = (), **changes: Any) -> Path:
        objects = [(0, *one) for one in a] + [(1, *one) for one in b or a]
        file = {
            "images": [
                {"id": n, "file_name": f"{x}.png", "width": WIDTH, "height": HEIGHT} for n, x in enumerate("ab")
            ],
            "categories": [{"id": id_, "name": name} for id_, name in CATEGORIES.items()],
            "annotations": [
                {
                    "id": n,
                    "image_id": image,
                    "category_id": category,
                    "segmentation": [np.ravel(box(*place)).tolist()],
                    "iscrowd": int(n in crowds),
                }
                for n, (image, category, place) in enumerate(objects)
            ],
        }
        path = images.parent / "instances.json"
        path.write_text(json.dumps(file | changes))
        return path

    return write


@pytest.fixture
def labelme(images: Path) -> Callable[..., Path]:
    """Return a function that writes the LabelMe files of shapes (label, box) of a, and of b, beside the images."""

    def write(a: list[Any], b: list[Any] | None = None) -> Path:
        for name, shapes in {"a": a, "b": a if b is None else b}.items():
            each = [{"label": label, "points": box(*place), "shape_type": "polygon"} for label, place in shapes]
            file = {"shapes": each, "imageHeight": HEIGHT, "imageWidth": WIDTH, "imageData": None}
            (images / f"{name}.json").write_text(json.dumps(file))
        return images

    return write


def labels(found: Scan, number: int = 0) -> np.ndarray:
    return found.read(number)[1][0]


def test_a_coco_file_is_read_as_labels_of_its_categories(images: Path, coco: Callable[..., Path]) -> None:
    found = scan(settings(images=images, masks=coco([(7, (0, 0, 2, 2)), (2, (4, 4, 8, 6))], [(2, (1, 1, 3, 3))])))
    assert found.reading.classes == ("background", "nucleus", "vessel")  # no cell is in these images
    np.testing.assert_array_equal(labels(found), filled((2, (0, 0, 2, 2)), (1, (4, 4, 8, 6))))
    np.testing.assert_array_equal(labels(found, 1), filled((1, (1, 1, 3, 3))))
    assert found.reading.describe() == (
        "annotations of instances.json are labels: 0 is background, 1 is nucleus, 2 is vessel"
    )


def test_labelme_files_beside_the_images_are_read_as_labels(images: Path, labelme: Callable[..., Path]) -> None:
    labelme([("vessel", (0, 0, 2, 2))], [("cell", (4, 4, 8, 6))])
    for given in (settings(images=images), settings(images=images, masks=images)):
        found = scan(given)
        assert found.reading.classes == ("background", "cell", "vessel")
        np.testing.assert_array_equal(labels(found), filled((2, (0, 0, 2, 2))))
        np.testing.assert_array_equal(labels(found, 1), filled((1, (4, 4, 8, 6))))


def test_the_order_of_named_classes_says_which_wins(images: Path, coco: Callable[..., Path]) -> None:
    masks = coco([(2, NUCLEUS), (1, CELL), (7, (0, 0, 12, 1))])
    message = (
        "instances.json: cell and nucleus overlap in 18 pixels, and the first class wins: "
        "--config.data.classes=background,nucleus,vessel,cell"
    )
    with pytest.raises(DataError, match=message):
        scan(settings(images=images, masks=masks))
    inner = scan(settings(images=images, masks=masks, classes=("background", "nucleus", "cell")))
    np.testing.assert_array_equal(labels(inner), filled((2, CELL), (1, NUCLEUS)))
    assert inner.reading.describe().endswith(
        "; 18 pixels lie in several classes, of which the first wins; left out: vessel"
    )
    outer = scan(settings(images=images, masks=masks, classes=("background", "cell", "nucleus")))
    np.testing.assert_array_equal(labels(outer), filled((1, CELL)))


def test_prepare_is_told_all_and_proposes_the_smallest_first(images: Path, coco: Callable[..., Path]) -> None:
    checked = check(settings(images=images, masks=coco([(2, NUCLEUS), (1, CELL)])))
    assert len(checked.faults) == 1
    assert checked.suits == {"classes": ("background", "nucleus", "cell")}
    assert checked.found is not None
    np.testing.assert_array_equal(labels(checked.found), filled((2, CELL), (1, NUCLEUS)))


def test_prepare_proposes_nothing_where_no_class_helps(images: Path, coco: Callable[..., Path]) -> None:
    checked = check(settings(images=images, masks=coco([(1, CELL)]), ignore="void"))
    assert checked.faults == [
        f"{images.parent}/instances.json: data.ignore names void, but there are cell, nucleus, vessel"
    ]
    assert checked.suits == {}
    assert checked.found is not None


def test_touching_outlines_are_no_question(images: Path, coco: Callable[..., Path]) -> None:
    found = scan(settings(images=images, masks=coco([(1, (0, 0, 12, 5)), (2, (0, 5, 12, 8))], [(7, (0, 0, 12, 8))])))
    assert "several classes" not in found.reading.describe()
    large = [(1, (0, 0, 12, 8))], [(1, (0, 0, 12, 8)), (2, (0, 0, 1, 1))]
    found = scan(settings(images=images, masks=coco(*large)))
    np.testing.assert_array_equal(labels(found, 1), filled((1, (0, 0, 12, 8))))
    assert "1 pixels lie in several classes, of which the first wins" in found.reading.describe()


def test_crowds_are_ignored_where_no_object_is(images: Path, coco: Callable[..., Path]) -> None:
    given = settings(images=images, masks=coco([(1, CELL), (1, NUCLEUS), (7, (0, 0, 12, 1))], crowds=(0, 2)))
    found = scan(given)
    expected = filled((IGNORE, CELL), (1, NUCLEUS), (IGNORE, (0, 0, 12, 1)))
    np.testing.assert_array_equal(labels(found), expected)
    assert found.reading.describe().endswith("; not scored: crowds")
    assert found.reading.notes[0].startswith("annotations in 1 of 2 images are crowds (iscrowd=1)")
    chosen = scan(settings(images=images, masks=given.masks, classes=("background", "cell")))
    expected[0] = 0  # a crowd of something else is background
    np.testing.assert_array_equal(labels(chosen), expected)


@pytest.mark.parametrize("name", ["__ignore__", "unclear"])
def test_regions_are_ignored_by_name(images: Path, labelme: Callable[..., Path], name: str) -> None:
    labelme([("cell", CELL), (name, NUCLEUS)])
    found = scan(settings(images=images, ignore="" if name == "__ignore__" else name))
    assert found.reading.classes == ("background", "cell")
    np.testing.assert_array_equal(labels(found), filled((1, CELL), (IGNORE, NUCLEUS)))
    assert found.reading.describe().endswith(f"; not scored: {name}")


def test_any_object_is_the_one_foreground(images: Path, coco: Callable[..., Path]) -> None:
    masks = coco([(2, NUCLEUS), (1, CELL), (7, (0, 0, 12, 1))])
    found = scan(settings(images=images, masks=masks, labels="any"))
    assert found.reading.classes == ("background", "foreground")
    np.testing.assert_array_equal(labels(found), filled((1, CELL), (1, (0, 0, 12, 1))))
    named = scan(settings(images=images, masks=masks, labels="any", classes=("nothing", "tissue")))
    assert named.reading.classes == ("nothing", "tissue")


def test_a_class_called_background_cuts_holes_or_is_left_out(images: Path, labelme: Callable[..., Path]) -> None:
    labelme([("cell", CELL), ("background", NUCLEUS)])
    message = (
        f"{images}: a class is called background; if it cuts holes into others: --config.data.classes=background,cell; "
        "to leave it out, --config.data.classes=ground,cell"
    )
    with pytest.raises(DataError, match=message):
        scan(settings(images=images))
    assert check(settings(images=images)).suits == {"classes": ("background", "cell")}
    hole = scan(settings(images=images, classes=("background", "cell")))
    np.testing.assert_array_equal(labels(hole), filled((1, CELL), (0, NUCLEUS)))
    left_out = scan(settings(images=images, classes=("ground", "cell")))
    np.testing.assert_array_equal(labels(left_out), filled((1, CELL)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": ("background", "cel")}, "data.classes names cel, but there are cell, nucleus, vessel"),
        ({"classes": ("background", "cell", "cell")}, "names a class twice"),
        ({"ignore": "255"}, "data.ignore names 255, but there are cell, nucleus, vessel"),
        ({"labels": "any", "classes": ("background", "a", "b")}, "data.labels=any has 2"),
    ],
)
def test_names_that_are_not_there(
    images: Path, coco: Callable[..., Path], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        scan(settings(images=images, masks=coco([(1, CELL)]), **values))


def test_more_classes_than_are_read(images: Path, coco: Callable[..., Path]) -> None:
    objects = [(id_, (id_ % 12, id_ // 12, id_ % 12 + 1, id_ // 12 + 1)) for id_ in range(40)]
    masks = coco(objects, categories=[{"id": id_, "name": f"c{id_:02}"} for id_ in range(40)])
    with pytest.raises(DataError, match="40 classes are annotated, and at most 32 with the background are read"):
        scan(settings(images=images, masks=masks))
    found = scan(settings(images=images, masks=masks, classes=("background", "c13", "c02")))
    np.testing.assert_array_equal(labels(found), filled((1, (1, 1, 2, 2)), (2, (2, 0, 3, 1))))


def test_sizes_must_be_those_of_the_image(images: Path, coco: Callable[..., Path]) -> None:
    sizes = [{"id": n, "file_name": f"{x}.png", "width": WIDTH, "height": HEIGHT + n} for n, x in enumerate("ab")]
    with pytest.raises(DataError, match=r"b\.png is 12x8 but its mask instances\.json is 12x9"):
        scan(settings(images=images, masks=coco([(1, CELL)], images=sizes)))


def test_an_image_without_a_scored_pixel_is_refused(images: Path, coco: Callable[..., Path]) -> None:
    whole = (0, 0, WIDTH, HEIGHT)
    with pytest.raises(DataError, match=r"instances\.json: all pixels of b are ignored; remove the image"):
        scan(settings(images=images, masks=coco([(1, CELL)], [(1, whole)], crowds=(1,))))
    with pytest.raises(DataError, match=r"all 2 masks are empty; .* crowds .* set iscrowd to 0 in the file"):
        scan(settings(images=images, masks=coco([(1, NUCLEUS)], crowds=(0, 1))))


@pytest.mark.parametrize(("orientation", "asked"), [(1, False), (3, True)])
def test_outlines_on_a_turned_image_are_asked_about(
    images: Path, coco: Callable[..., Path], orientation: int, asked: bool
) -> None:
    photo = Image.open(images / "b.png")
    exif = photo.getexif()
    exif[0x0112] = orientation
    photo.save(images / "b.png", exif=exif)
    faults = check(settings(images=images, masks=coco([(1, CELL)]))).faults
    assert [fault.partition(":")[0] for fault in faults] == [str(images / "b.png")] * asked


def test_all_faults_of_a_file_are_told_at_once(images: Path, coco: Callable[..., Path]) -> None:
    sizes = [{"id": n, "file_name": f"{x}.png", "width": WIDTH, "height": HEIGHT} for n, x in enumerate("ac")]
    checked = check(settings(images=images, masks=coco([(1, CELL)], images=sizes)))
    assert len(checked.faults) == 1
    assert f"has no image called b.png; add it, or remove {images}/b.png" in checked.faults[0]
    assert checked.notes == ["instances.json: 1 of its images are not in the folder, and are not used: c.png"]
    (images.parent / "instances.json").write_text("{")
    checked = check(settings(images=images, masks=images.parent / "instances.json"))
    assert len(checked.faults) == 1
    assert "instances.json is damaged" in checked.faults[0]


def test_a_file_among_the_images_is_proposed(images: Path, coco: Callable[..., Path]) -> None:
    file = coco([(1, CELL)]).rename(images / "_annotations.coco.json")
    (images / "about.json").write_text("{}")
    with pytest.raises(DataError, match=rf"holds no folder 'images'; .*; or give --config.data.masks={file}$"):
        scan(settings(images=images))
    checked = check(settings(images=images, masks=file))
    assert (checked.faults, checked.notes) == (
        [],
        [f"{images}: about.json are of no format that is read, and are skipped"],
    )


def test_images_in_subfolders_have_the_annotations_of_their_paths(tmp_path: Path, coco: Callable[..., Path]) -> None:
    top = tmp_path / "nested"
    for place in "xy":
        (top / place).mkdir(parents=True)
        Image.fromarray(np.full((HEIGHT, WIDTH), ord(place), np.uint8)).save(top / place / "a.png")
    sizes = [{"id": n, "file_name": f"{x}/a.png", "width": WIDTH, "height": HEIGHT} for n, x in enumerate("xy")]
    found = scan(settings(images=top, masks=coco([(1, CELL)], [(1, NUCLEUS)], images=sizes)))
    assert [pair.id for pair in found.pairs] == ["x/a", "y/a"]
    np.testing.assert_array_equal(labels(found, 0), filled((1, CELL)))
    np.testing.assert_array_equal(labels(found, 1), filled((1, NUCLEUS)))


def test_a_table_names_annotations(images: Path, coco: Callable[..., Path], labelme: Callable[..., Path]) -> None:
    file = coco([(1, CELL)], [(1, NUCLEUS)])
    labelme([("cell", NUCLEUS)], [("cell", CELL)])
    (images.parent / "t.csv").write_text("image,mask\nimages/a.png,instances.json\nimages/b.png,images/b.json\n")
    found = scan(settings(table=images.parent / "t.csv"))
    assert [pair.mask for pair in found.pairs] == [(file, images / "a.png"), (images / "b.json",)]
    np.testing.assert_array_equal(labels(found, 0), filled((1, CELL)))
    np.testing.assert_array_equal(labels(found, 1), filled((1, CELL)))
    assert "annotations of LabelMe, instances.json are labels: 0 is background, 1 is cell" in found.describe()
    with pytest.raises(DataError, match=r"t\.csv: data\.classes names vein, but there are cell, nucleus, vessel"):
        scan(settings(table=images.parent / "t.csv", classes=("background", "vein")))


def test_images_in_other_folders_than_the_file_names_are_told_of(images: Path, coco: Callable[..., Path]) -> None:
    """They may have moved, or be those of another patient: the paragraph says so."""
    pictures = [{"id": n, "file_name": f"p1/{x}.png", "width": WIDTH, "height": HEIGHT} for n, x in enumerate("ab")]
    file = coco([(1, CELL)], images=pictures)
    said = (
        "; 2 images are matched by name alone, in other folders: p1/a.png for images/a.png, p1/b.png for images/b.png"
    )
    assert said in scan(settings(images=images, masks=file)).describe()
    images.rename(images.parent / "p1")
    assert "by name alone" not in scan(settings(images=images.parent / "p1", masks=file)).describe()


def test_lines_of_a_table_do_not_share_an_entry(images: Path, coco: Callable[..., Path]) -> None:
    (images / "p").mkdir()
    (images / "a.png").rename(images / "p" / "a.png")
    pictures = [{"id": n, "file_name": f"images/{x}.png", "width": WIDTH, "height": HEIGHT} for n, x in enumerate("ba")]
    coco([(1, CELL)], images=pictures)
    (images.parent / "t.csv").write_text(
        "id,image,mask\n1,images/p/a.png,instances.json\n2,images/b.png,instances.json\n"
    )
    assert "images/a.png for p/a.png" in scan(settings(table=images.parent / "t.csv")).describe()
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(images / "a.png")
    with (images.parent / "t.csv").open("a") as table:
        table.write("3,images/a.png,instances.json\n")
    message = rf"instances\.json: has no image called p/a\.png; add it, or remove {images}/p/a\.png"
    with pytest.raises(DataError, match=message):
        scan(settings(table=images.parent / "t.csv"))
    assert [fault.split(": ")[1] for fault in check(settings(table=images.parent / "t.csv")).faults] == [
        f"has no image called p/a.png; add it, or remove {images}/p/a.png"
    ]


def test_labelme_files_of_a_pattern_of_images(images: Path, labelme: Callable[..., Path]) -> None:
    labelme([("cell", CELL)])
    (images.parent / "json").mkdir()
    moved = [path.rename(images.parent / "json" / path.name) for path in sorted(images.glob("*.json"))]
    found = scan(settings(images=images / "*.png", masks=images.parent / "json"))
    assert [pair.mask[0] for pair in found.pairs] == moved


def test_unused_images_of_the_file_are_noted(images: Path, coco: Callable[..., Path]) -> None:
    (images / "b.png").unlink()
    checked = check(settings(images=images, masks=coco([(1, CELL)])))
    assert checked.faults == []
    assert checked.notes == ["instances.json: 1 of its images are not in the folder, and are not used: b.png"]


def test_the_set_is_built_and_changes_are_seen(images: Path, coco: Callable[..., Path], tmp_path: Path) -> None:
    def built() -> Builder:
        builder = Builder(images=str(images), masks=str(images.parent / "instances.json"), data_dir=tmp_path / "sets")
        builder.download_and_prepare(file_format="array_record")
        return builder

    coco([(1, CELL), (1, NUCLEUS)], crowds=(0, 2))
    first = built()
    example = first.as_data_source(split="train")[0]
    np.testing.assert_array_equal(example["mask"][..., 0], filled((IGNORE, CELL), (1, NUCLEUS)))
    assert first.info.metadata["classes"] == ["background", "cell"]
    coco([(1, (0, 0, 12, 8))])
    assert built().builder_config.name != first.builder_config.name


def test_the_first_name_is_that_of_the_background(images: Path, coco: Callable[..., Path]) -> None:
    masks = coco([(1, CELL), (7, (0, 0, 12, 1))])
    with pytest.raises(DataError, match=r"names cell first, .* background's place; write background,cell,vessel$"):
        scan(settings(images=images, masks=masks, classes=("cell", "vessel")))
    assert scan(settings(images=images, masks=masks, classes=("ground", "vessel"))).reading.classes[0] == "ground"


def test_a_name_that_cannot_be_given_is_not_proposed(images: Path, coco: Callable[..., Path]) -> None:
    names = [{"id": n, "name": name} for n, name in ((1, "cell, large"), (2, "nucleus"))]
    masks = coco([(1, CELL), (2, NUCLEUS)], categories=names)
    with pytest.raises(DataError, match=r"overlap in 18 pixels, .*; rename 'cell, large', which data\.classes"):
        scan(settings(images=images, masks=masks))


def test_files_beside_images_in_subfolders(images: Path, labelme: Callable[..., Path]) -> None:
    labelme([("cell", CELL)])
    images.rename(images.parent / "p1")
    (images.parent / "all").mkdir()
    (images.parent / "p1").rename(images.parent / "all" / "p1")
    np.testing.assert_array_equal(labels(scan(settings(images=images.parent / "all"))), filled((1, CELL)))


def test_names_that_are_nearly_alike_are_noted(images: Path, labelme: Callable[..., Path]) -> None:
    labelme([("Cell", CELL)], [("cell", CELL)])
    note = "'Cell', 'cell' are different classes: if they are one, give it one name in the files"
    assert check(settings(images=images)).notes == [note]


def test_outlines_beside_pictures_are_refused(images: Path, tmp_path: Path) -> None:
    Image.fromarray(filled((255, CELL))).save(tmp_path / "a.png")
    (tmp_path / "b.json").write_text(
        json.dumps(
            {
                "shapes": [{"label": "cell", "points": box(*CELL), "shape_type": "polygon"}],
                "imagePath": "b.png",
                "imageWidth": WIDTH,
                "imageHeight": HEIGHT,
            }
        )
    )
    (tmp_path / "t.csv").write_text("image,mask\nimages/a.png,a.png\nimages/b.png,b.json\n")
    with pytest.raises(
        DataError, match=r"b\.json holds outlines and .*a\.png is a picture; give all masks as one kind"
    ):
        scan(settings(table=tmp_path / "t.csv"))
