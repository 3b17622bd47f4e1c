"""COCO: one JSON file with the polygons and run lengths of many images."""

import functools
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np

from datasets.annotations import raster
from datasets.annotations.raster import Patch, Region
from datasets.errors import DataError
from sharp_unet_jax.data.resize import Size
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.reading import read_json

REMEDY = "give a COCO file with images, annotations and categories"


class RunLengths(TypedDict):
    """A mask as run lengths."""

    size: list[int]  # height, width
    counts: list[int] | str


class Annotation(TypedDict):
    """An object in an image."""

    id: NotRequired[int | str]
    image_id: int | str
    category_id: int
    segmentation: NotRequired[list[list[float]] | RunLengths | None]
    iscrowd: NotRequired[int | bool | None]


class Picture(TypedDict):
    """An image that the file names."""

    id: int | str
    file_name: str
    width: int
    height: int


class Category(TypedDict):
    """A class of objects."""

    id: int
    name: str


class File(TypedDict):
    """The file."""

    images: list[Picture]
    annotations: list[Annotation]
    categories: list[Category]


class Coco(NamedTuple):
    """A file, looked up by image."""

    where: Path
    names: dict[int, str]  # of the categories, by id and in its order
    pictures: dict[str, list[Picture]]  # by `key`
    objects: dict[int | str, list[Annotation]]  # by the image's id


def load(path: Path) -> Coco:
    """Return the content of a COCO file, which is read once until it changes. Raises DataError."""
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return _load(path, state.st_mtime_ns, state.st_size)


def pictures(coco: Coco) -> set[str]:
    """Return the names of all images in the file."""
    return {each["file_name"] for several in coco.pictures.values() for each in several}


def picture(coco: Coco, image: Path) -> Picture:
    """Return the entry for an image: the one whose name, with its folders, ends the image's path.

    Where there is none, it is the only entry with that name without folders and suffix. Raises DataError.
    """
    alike = coco.pictures.get(key(image.name), [])
    parts = [_parts(each["file_name"]) for each in alike]
    ending = [(len(p), each) for p, each in zip(parts, alike, strict=True) if _parts(str(image))[-len(p) :] == p]
    if ending:
        return max(ending, key=lambda found: found[0])[1]
    if len(alike) == 1:
        return alike[0]
    if not alike:
        raise missing(coco, image)
    named = " and ".join(each["file_name"] for each in alike[:2])
    raise DataError(f"{coco.where}: {named} could both be {image}; rename the images, in the file too")


def place(entry: Picture, image: Path) -> str:
    """Return an image's name with as many folders as the entry has, if these are others; else ""."""
    folders = _parts(entry["file_name"])[:-1]
    own = _parts(str(image))[-len(folders) - 1 :]
    return "/".join(own) if folders and own[:-1] != folders else ""


def missing(coco: Coco, image: Path, name: str = "") -> DataError:
    """Return the error that the file has no entry for an image, by its name or by `name`."""
    return DataError(f"{coco.where}: has no image called {name or image.name}; add it, or remove {image}")


def read(coco: Coco, image: Path) -> tuple[np.ndarray, tuple[Region, ...]]:
    """Return `raster.codes` of an image. Raises DataError, which names the annotation, for damaged ones."""
    entry = picture(coco, image)
    size = entry["height"], entry["width"]
    try:
        raster.check_size(size)
        return raster.codes(_regions(coco, entry["id"], size), size)
    except ValueError as error:
        raise DataError(f"{coco.where}: {entry['file_name']}: {error}; correct or remove it") from error


def key(name: str) -> str:
    """Return what the names of an image have in common wherever it lies and however it is encoded."""
    return unicodedata.normalize("NFC", PurePosixPath(name.replace("\\", "/")).stem).casefold()


@functools.lru_cache(maxsize=1)
def _load(path: Path, changed: int, size: int) -> Coco:
    del changed, size  # so that a changed file is read again
    try:
        file = read_json(path, File, remedy=REMEDY)
    except InputError as error:
        raise DataError(str(error)) from error
    used = {one["category_id"] for one in file["annotations"]}  # Roboflow adds a category that is the set's name
    for what, values in (
        ("images with the id", (each["id"] for each in file["images"])),
        ("images called", (each["file_name"] for each in file["images"])),
        ("categories with the id", (each["id"] for each in file["categories"])),
        ("categories called", (each["name"] for each in file["categories"] if each["id"] in used)),
    ):
        _check_once(path, what, values)
    coco = Coco(path, {each["id"]: each["name"] for each in sorted(file["categories"], key=lambda c: c["id"])}, {}, {})
    for each in file["images"]:
        coco.pictures.setdefault(key(each["file_name"]), []).append(each)
        coco.objects[each["id"]] = []
    for number, one in enumerate(file["annotations"]):
        if one["image_id"] not in coco.objects or one["category_id"] not in coco.names:
            known = one["image_id"] in coco.objects
            lost = f"category_id {one['category_id']}" if known else f"image_id {one['image_id']!r}"
            raise DataError(f"{path}: {_called(one, number)} has the {lost}, which is not in the file; {REMEDY}")
        coco.objects[one["image_id"]].append(one)
    return coco


def _check_once(path: Path, what: str, values: Iterable[Any]) -> None:
    often = Counter(values).most_common(1)
    if often and often[0][1] > 1:
        raise DataError(f"{path}: holds {often[0][1]} {what} {often[0][0]!r}; {REMEDY}, each once")


def _regions(coco: Coco, image: int | str, size: Size) -> Iterator[tuple[Region, Patch]]:
    for number, one in enumerate(coco.objects[image]):
        region = Region(coco.names[one["category_id"]], bool(one.get("iscrowd")))
        try:
            for patch in _patches(one.get("segmentation"), size):
                yield region, patch
        except ValueError as error:
            raise ValueError(f"{_called(one, number)}: {error}") from error


def _patches(segmentation: list[list[float]] | RunLengths | None, size: Size) -> Iterator[Patch]:
    """Yield the parts of an object. Raises ValueError."""
    if not segmentation:
        raise ValueError("it has no outline (a box is none)")
    if isinstance(segmentation, dict):
        if tuple(segmentation["size"]) != size:
            given = "x".join(map(str, segmentation["size"][::-1]))
            raise ValueError(f"its run lengths are of {given} pixels, but the image is {size[1]}x{size[0]}")
        counts = segmentation["counts"]
        yield raster.run_lengths(raster.uncompressed(counts) if isinstance(counts, str) else counts, size)
        return
    for part in segmentation:
        if len(part) % 2:
            raise ValueError(f"its outline has {len(part)} numbers; points have two each")
        yield raster.polygon(np.array(part, np.float64).reshape(-1, 2), size)


def _called(one: Annotation, number: int) -> str:
    return f"annotation {one['id']}" if "id" in one else f"annotation number {number + 1}"


def _parts(name: str) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", part) for part in name.replace("\\", "/").split("/") if part not in ".")
