"""Outlines and run lengths as pixels, and pixels of several classes as one array of codes.

The point (0, 0) is the upper left corner of the first pixel, as in COCO and LabelMe. A pixel belongs to an outline if
its centre lies inside, by the even-odd rule. Polygons are those of pycocotools to the pixel: corners are rounded to
fifths of a pixel, which decides where a centre lies on an edge.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from datasets.files import MAX_PIXELS
from sharp_unet_jax.data.resize import Size

FINE = 5  # steps per pixel, as in rleFrPoly of pycocotools
LONGEST = 2**26  # steps of an outline: a hundred times around the largest picture
MOST = 64  # regions of different kinds in an image: each is a bit of a code


class Patch(NamedTuple):
    """The pixels of a shape in the box that they fill."""

    top: int
    left: int
    mask: np.ndarray  # (h, w) bool


class Region(NamedTuple):
    """A kind of pixels in an image."""

    name: str  # of the class
    crowd: bool = False  # a region of many objects that nobody outlined one by one


def check_size(size: Size) -> None:
    """Raise ValueError for pictures without pixels, and for those that are not read."""
    if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"the picture is said to be {size[1]}x{size[0]}, and 1 to {MAX_PIXELS:,} pixels are read")


def polygon(points: np.ndarray, size: Size) -> Patch:
    """Return the pixels of a picture of `size` (H, W) inside a closed polygon of `points` (n, 2), x and y.

    What lies beyond the picture is cut off. Raises ValueError for points that make no polygon of this picture.
    """
    if len(points) < 3:
        raise ValueError(f"its outline has {len(points)} points; a polygon has at least 3")
    height, width = size
    _check_points(points, size)
    x, y = _crossings(np.trunc(FINE * points + 0.5).astype(np.int64))
    y, inside = y.clip(0, height), (x >= 0) & (x < width)
    x, y = x[inside], y[inside]
    if not len(x):
        return Patch(0, 0, np.zeros((0, 0), bool))
    top, left = int(y.min()), int(x.min())
    box = int(y.max()) - top + 1, int(x.max()) - left + 1
    turns = np.bincount((y - top) * box[1] + x - left, minlength=box[0] * box[1]).reshape(box)
    return Patch(top, left, turns.cumsum(axis=0)[:-1] % 2 == 1)


def circle(centre: np.ndarray, on_edge: np.ndarray, size: Size) -> Patch:
    """Return the pixels whose centres are in the circle around `centre` (2,) through `on_edge` (2,). Raises ValueError.

    What lies beyond the picture is cut off.
    """
    _check_points(np.stack([centre, on_edge]), size)
    radius = float(np.hypot(*(on_edge - centre)))
    spans = [slice(max(0, int(at - radius)), max(0, int(at + radius) + 1)) for at in centre]
    columns, rows = (np.arange(end)[span] + 0.5 for end, span in zip(size[::-1], spans, strict=True))
    mask = np.hypot(rows[:, None] - centre[1], columns - centre[0]) <= radius
    return Patch(spans[1].start, spans[0].start, mask)


def run_lengths(counts: Sequence[int], size: Size) -> Patch:
    """Return the pixels of COCO's run lengths: zeros, ones, zeros, ... down the columns. Raises ValueError."""
    height, width = size
    if any(count < 0 for count in counts) or sum(counts) != height * width:
        raise ValueError(f"its run lengths are of {sum(counts):,} pixels; the image has {height * width:,}")
    return Patch(0, 0, np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T)


def uncompressed(text: str) -> list[int]:
    """Return the run lengths that COCO wrote as text: five bits per character, then differences. Raises ValueError."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("its run lengths are no compressed text of COCO")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)  # the sign: of five bits the highest
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its run lengths are cut short")
    return counts


def codes(parts: Iterable[tuple[Region, Patch]], size: Size) -> tuple[np.ndarray, tuple[Region, ...]]:
    """Return what each pixel lies in, (H, W): the bit k is set where it lies in the kth of the regions returned.

    Codes have the smallest unsigned dtype that holds all bits. Raises ValueError for more than MOST different regions.
    """
    painted, bit_of = np.zeros(size, np.uint8), dict[Region, int]()
    for region, (top, left, mask) in parts:
        bit = bit_of.setdefault(region, len(bit_of))
        if bit == MOST:
            raise ValueError(f"more than {MOST} classes are in one image")
        if bit == 8 * painted.itemsize:
            painted = painted.astype(f"u{2 * painted.itemsize}")
        box = painted[top : top + mask.shape[0], left : left + mask.shape[1]]
        box |= mask.astype(painted.dtype) << painted.dtype.type(bit)
    return painted, tuple(bit_of)


def _check_points(points: np.ndarray, size: Size) -> None:
    """Raise ValueError for points that are no numbers or so far away that they are of another picture."""
    height, width = size
    if not np.isfinite(points).all():
        raise ValueError("its points are not all numbers")
    low, high = points.min(axis=0), points.max(axis=0)
    picture = np.array([width, height])
    if (low < -picture).any() or (high > 2 * picture).any() or (high < 0).any() or (low > picture).any():
        place = f"x {low[0]:g} to {high[0]:g}, y {low[1]:g} to {high[1]:g}"
        raise ValueError(f"it lies at {place}, beyond the image of {width}x{height}")


def _crossings(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where a polygon crosses the centres of columns: the columns, and the first rows with their centres below.

    `corners` (n, 2) are in fifths of a pixel. The steps along an edge and all rounding are those of rleFrPoly.
    """
    start, end = corners, np.roll(corners, -1, axis=0)
    length = np.abs(end - start)
    flat = length[:, 0] >= length[:, 1]  # steps along x, else along y
    along, across = np.where(flat, 0, 1), np.where(flat, 1, 0)
    edges = np.arange(len(corners))
    back = start[edges, along] > end[edges, along]
    low, high = np.where(back[:, None], end, start), np.where(back[:, None], start, end)
    steps = length.max(axis=1)
    if (total := int((steps + 1).sum())) > LONGEST:
        raise ValueError(f"its outline is {total / FINE:,.0f} pixels long")
    slope = (high - low)[edges, across] / np.maximum(steps, 1)
    edge = np.repeat(edges, steps + 1)
    step = np.arange(total) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    step = np.where(back[edge], steps[edge] - step, step)
    straight = low[edge, along[edge]] + step
    sloped = np.trunc(low[edge, across[edge]] + slope[edge] * step + 0.5).astype(np.int64)
    u, v = np.where(flat[edge], straight, sloped), np.where(flat[edge], sloped, straight)
    before = np.where(u[1:] < u[:-1], u[1:], u[1:] - 1)
    crosses = (u[1:] != u[:-1]) & (before % FINE == FINE // 2)
    rows = -((FINE // 2 - np.minimum(v[1:], v[:-1])) // FINE)  # rounded up
    return before[crosses] // FINE, rows[crosses]
