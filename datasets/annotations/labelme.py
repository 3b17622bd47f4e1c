"""LabelMe: a JSON file per image, with labelled polygons, rectangles, circles and masks."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np

from datasets import files
from datasets.annotations import raster
from datasets.annotations.raster import Patch, Region
from datasets.errors import DataError
from sharp_unet_jax.data.resize import Size
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.reading import read_json

IGNORED = "__ignore__"  # LabelMe's own name for what is not annotated
REMEDY = "open the image in LabelMe 4 or later and save it again"
NO_AREA = ("point", "points", "line", "linestrip")


class Shape(TypedDict):
    """A drawn shape."""

    label: str
    points: list[list[float]]  # x, y
    shape_type: NotRequired[str | None]
    mask: NotRequired[str | None]  # a PNG in base64


class File(TypedDict):
    """The file of an image."""

    shapes: list[Shape]
    imageHeight: int
    imageWidth: int


class Content(NamedTuple):
    """A file as codes."""

    codes: np.ndarray  # (H, W), see `raster.codes`
    regions: tuple[Region, ...]
    without_area: int  # points and lines


def read(path: Path) -> Content:
    """Return the content of a LabelMe file. Raises DataError, which names the shape, for damaged ones."""
    try:
        file = read_json(path, File, remedy=REMEDY)
    except InputError as error:
        raise DataError(str(error)) from error
    size = file["imageHeight"], file["imageWidth"]
    drawn = [shape for shape in file["shapes"] if _kind(shape) not in NO_AREA]
    try:
        raster.check_size(size)
        codes, regions = raster.codes(_regions(drawn, size), size)
    except ValueError as error:
        raise DataError(f"{path}: {error}; correct or remove it") from error
    return Content(codes, regions, len(file["shapes"]) - len(drawn))


def _regions(shapes: list[Shape], size: Size) -> Iterator[tuple[Region, Patch]]:
    for number, shape in enumerate(shapes, 1):
        try:
            yield Region(shape["label"]), _patch(shape, size)
        except ValueError as error:
            raise ValueError(f"shape {number} ({shape['label']}): {error}") from error


def _patch(shape: Shape, size: Size) -> Patch:
    """Return the pixels of a shape. Raises ValueError."""
    kind, points = _kind(shape), shape["points"]
    if any(len(point) != 2 for point in points):
        raise ValueError("a point has not two numbers")
    corners = np.array(points, np.float64).reshape(-1, 2)
    if kind in ("rectangle", "circle", "mask") and len(points) != 2 and not (kind == "rectangle" and len(points) == 4):
        raise ValueError(f"this {kind} has {len(points)} points instead of 2")
    if kind == "circle":
        return raster.circle(corners[0], corners[1], size)
    if kind == "mask":
        return _pasted(shape.get("mask") or "", corners, size)
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = corners
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    elif kind not in ("polygon", "rectangle", "oriented_rectangle"):
        raise ValueError(f"shapes of the kind {kind!r} are not read")
    return raster.polygon(corners, size)


def _pasted(text: str, corners: np.ndarray, size: Size) -> Patch:
    """Return the pixels of a picture in base64 whose first and last pixel lie at `corners`. Raises ValueError."""
    try:
        mask = files.read_image(files.File("mask.png", "its mask", lambda: base64.b64decode(text, validate=True)))
    except DataError as error:
        raise ValueError(str(error)) from error
    if not np.isfinite(corners).all():
        raise ValueError("its points are not all numbers")
    (left, top), (right, bottom) = np.trunc(corners).astype(np.int64).tolist()
    expected = bottom - top + 1, right - left + 1
    if mask.shape != expected or top < 0 or left < 0 or bottom >= size[0] or right >= size[1]:
        raise ValueError(f"its mask has the shape {mask.shape}, and its points say {expected} within the image {size}")
    return Patch(top, left, mask > 0)


def _kind(shape: Shape) -> str:
    return shape.get("shape_type") or "polygon"
