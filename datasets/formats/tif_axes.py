"""The axes of a TIF: which are rows and columns, which slices, and which channels."""

import math
from pathlib import Path
from typing import NamedTuple

import tifffile

from datasets.errors import DataError

# tifffile's letters for what a file says of its axes.
CHANNELS = "SCE"  # samples, channels, wavelengths
SLICES = "ZTPRMA"  # depth, time, phase or position, tile, mosaic, angle
# Any other letter, such as I and Q, is a row of pages of which the file does not say what they are.

NARROW = 4  # pixels


class Layout(NamedTuple):
    """The order of axes that makes pictures of an array."""

    order: tuple[int, ...]  # of the array's axes: slices, row, column, channels, samples
    shape: tuple[int, int, int, int, int]  # after it: slices, height, width, channels by pages, samples of a page


def letters(series: tifffile.TiffPageSeries) -> str:
    """Return a letter for each axis.

    tifffile writes an array (H, W, 3), unless told that it is RGB, as H pages 3 pixels wide. No picture is so narrow.
    """
    axes = str(series.axes)
    narrow = series.kind == "shaped" and axes.endswith("QYX") and series.shape[-1] <= NARROW
    return axes[:-3] + "YXS" if narrow else axes


def layout(where: Path, series: tifffile.TiffPageSeries, channels: str) -> Layout:
    """Return the layout in which the axes `channels` and the samples are channels, and all others slices.

    Raises DataError for an array that has no rows and columns.
    """
    axes, shape = letters(series), series.shape
    if axes.count("Y") != 1 or axes.count("X") != 1:
        raise DataError(f"{where}: its axes {axes} of {shape} are not those of pictures; save it as PNG, or with axes")
    row, column = axes.index("Y"), axes.index("X")
    samples = series.keyframe.samplesperpixel  # some programs call their axis C
    named = [axes.index(letter) for letter in "SC" if letter in axes]
    sample = [at for at in named if shape[at] == samples > 1][:1]
    pages = [at for at in range(len(axes)) if at not in (row, column, *sample)]
    planes = [at for at in pages if axes[at] in channels]
    slices = [at for at in pages if axes[at] not in channels]
    sizes = [math.prod(shape[at] for at in some) for some in (slices, [row], [column], planes, sample)]
    number, height, width, others, own = sizes
    return Layout((*slices, row, column, *planes, *sample), (number, height, width, others, own))


def undecided(series: tifffile.TiffPageSeries) -> int:
    """Return the number of pages of which the file does not say whether they are slices or channels."""
    sizes = zip(letters(series), series.shape, strict=True)
    return math.prod(size for axis, size in sizes if axis not in f"YX{CHANNELS}{SLICES}")
