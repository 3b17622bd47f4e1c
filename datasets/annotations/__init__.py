"""Annotations as masks: a COCO file for all images, or a LabelMe file beside each.

The mask of an image is its LabelMe file, or two files: the COCO file, and the image that it is to be looked up for.
"""

import contextlib
import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets import files, formats
from datasets.annotations import coco, labelme
from datasets.annotations.coco import key
from datasets.annotations.raster import Region
from datasets.errors import DataError

SUFFIX = ".json"


class Contents(NamedTuple):
    """The classes in the annotations of an image."""

    regions: tuple[Region, ...]  # of its bits, see `raster.codes`
    known: tuple[str, ...]  # all names in the file, in its order
    without_area: int = 0  # points and lines, which are left out
    file: str = "LabelMe"  # the kind, or the name of the COCO file
    elsewhere: str = ""  # "a/1.png for b/1.png": the COCO file names another folder than that of the image


def are(mask: Sequence[Path]) -> bool:
    """Say whether the files of a mask are annotations."""
    return mask[0].suffix.lower() == SUFFIX


def read(mask: Sequence[Path]) -> tuple[np.ndarray, Contents]:
    """Return what each pixel of an image lies in, int64 (H, W) as `raster.codes`, and the names. Raises DataError."""
    if len(mask) == 2:
        whole = coco.load(mask[0])
        codes, regions = coco.read(whole, mask[1])
        entry = coco.picture(whole, mask[1])
        elsewhere = f"{entry['file_name']} for {place}" if (place := coco.place(entry, mask[1])) else ""
        return codes, Contents(regions, tuple(dict.fromkeys(whole.names.values())), 0, mask[0].name, elsewhere)
    content = labelme.read(mask[0])
    known = tuple(sorted({region.name for region in content.regions}))
    return content.codes, Contents(content.regions, known, content.without_area)


def of(image: Path, file: Path) -> tuple[Path, ...]:
    """Return the mask of an image whose annotations are in a JSON file, LabelMe's or COCO's."""
    return (file,) if _is_labelme(file) else (file, image)


def beside(images: Path) -> bool:
    """Say whether a folder, or one below it, holds an image and, beside it, its file as LabelMe saves it."""
    if not images.is_dir():
        return False
    there = list(files.below(images))
    places = {(path.parent, key(path.name)) for path in there if _is_picture(path)}
    named = (path for path in there if path.suffix.lower() == SUFFIX and (path.parent, key(path.name)) in places)
    some = itertools.islice(named, 9)  # other programs put what they know of an image there, too
    return any(map(_is_labelme, some))


def whole(folder: Path) -> list[Path]:
    """Return the files in a folder that look like COCO's."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() == SUFFIX and path.is_file())
    return [path for path in found if all(field in path.read_bytes() for field in (b'"annotations"', b'"categories"'))]


def listing(images: Path, masks: Path) -> list[Path]:
    """Return the JSON files that hold the masks of `images`; [] where pictures do.

    That is `masks` itself, or the JSON files in this folder if its only pictures, if any, are the images.
    """
    if masks.is_file():
        return [masks] if masks.suffix.lower() == SUFFIX else []
    if not masks.is_dir() or (masks.resolve() == images.resolve() and not beside(images)):
        return []
    found = []
    for path in files.below(masks):
        if masks.resolve() != images.resolve() and _is_picture(path):
            return []
        if path.suffix.lower() == SUFFIX:
            found.append(path)
    return sorted(found)


def pair(
    images: Sequence[Path], folder: Path, masks: Path, faults: list[str] | None = None
) -> dict[Path, tuple[Path, ...]]:
    """Return the mask of each image. A fault is an image without annotations, and a LabelMe file without an image.

    A COCO file may name other images, too: those of the other parts of a set, for instance.

    Args:
        images: all images below `folder`.
        folder: of the images.
        masks: the COCO file, or the folder of LabelMe's files.
        faults: gets the faults; without it the first is raised as DataError.
    """
    if not masks.is_file():
        return _labelme(images, folder, masks, faults)
    found, image_of = dict[Path, tuple[Path, ...]](), dict[str, Path]()
    try:
        whole = coco.load(masks)
    except DataError as error:
        if faults is None:
            raise
        faults.append(str(error))
        return found
    in_place = set()
    for image in images:
        with contextlib.suppress(DataError):  # the loop below tells of it
            if not coco.place(entry := coco.picture(whole, image), image):
                in_place.add(entry["file_name"])
    for image in images:
        with files.collecting(faults):
            entry = coco.picture(whole, image)
            name = entry["file_name"]
            if name in in_place and (place := coco.place(entry, image)):
                raise coco.missing(whole, image, place)
            if (other := image_of.setdefault(name, image)) is not image:
                raise DataError(f"{masks}: {name} could be both {other} and {image}; rename one, in the file too")
            found[image] = masks, image
    return found


def unused(images: Sequence[Path], masks: Path) -> list[str]:
    """Return the names in the COCO file `masks` of images that are not among `images`. Raises DataError."""
    whole = coco.load(masks)
    names = coco.pictures(whole)
    for image in images:
        with contextlib.suppress(DataError):  # `pair` tells of it
            names.discard(coco.picture(whole, image)["file_name"])
    return sorted(names)


def _labelme(
    images: Sequence[Path], folder: Path, masks: Path, faults: list[str] | None
) -> dict[Path, tuple[Path, ...]]:
    by_place = {_place(path, masks): path for path in listing(folder, masks)}
    found, image_of = dict[Path, tuple[Path, ...]](), dict[Path, Path]()
    if by_place and {*by_place.values()} <= {*(of_coco := whole(masks))}:
        with files.collecting(faults):
            raise DataError(f"{masks}: holds COCO's {of_coco[0].name}; give --config.data.masks={of_coco[0]}")
        return found
    taken = {_place(image, folder) for image in images}
    by_name: dict[str, list[Path]] = {}
    for place, path in by_place.items():
        if place not in taken:
            by_name.setdefault(key(path.name), []).append(path)
    for image in images:
        with files.collecting(faults):
            path = _file_of(image, by_place.get(_place(image, folder)), by_name)
            if (other := image_of.setdefault(path, image)) is not image:
                raise DataError(f"{path} could be for {other} and for {image}; put it into the folder of its image")
            found[image] = (path,)
    used = {path for (path,) in found.values()}
    with files.collecting(faults):
        if unpaired := [str(path) for path in by_place.values() if path not in used]:
            more = f" and {len(unpaired) - 3} more" if len(unpaired) > 3 else ""
            raise DataError(f"no image for {', '.join(unpaired[:3])}{more}; add the missing files or remove these")
    return found


def _file_of(image: Path, here: Path | None, by_name: Mapping[str, list[Path]]) -> Path:
    alike = [here] if here else by_name.get(key(image.name), [])
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise DataError(f"{alike[0]} and {alike[1]} could both be for {image}; put them in the folders of their images")
    raise DataError(f"{image}: has no LabelMe file; save one, without shapes if nothing is to be seen")


def _place(path: Path, folder: Path) -> tuple[str, ...]:
    """Return the folders below `folder`, and the name without suffix."""
    return *path.relative_to(folder).parent.parts, key(path.name)


def _is_picture(path: Path) -> bool:
    return path.name.lower().endswith(formats.SUFFIXES) and not path.name.startswith(".")


@functools.lru_cache(maxsize=1)  # all rows of a table may name one large file
def _is_labelme(path: Path) -> bool:
    return path.is_file() and b'"shapes"' in path.read_bytes()
