"""TIF: one picture, or several pages. The mask is a TIF with as many pages and a palette."""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from datasets.files import TIF, DataError, check_series, read_image
from datasets.folder import images
from datasets.formats.stack import Stack, check_size, reading
from sharp_unet_jax import palette
from sharp_unet_jax.storage.atomic import replacing

SUFFIXES = TIF
MASK = PROBABILITIES = OVERLAYS = ".tif"


def read(paths: Sequence[Path]) -> Stack:
    """Return one picture, read as in training, or the pages in the order of the file.

    A palette is not looked up: its indices are the pixels, as in training. Raises DataError for a file that is no TIF,
    or whose pages differ in size.
    """
    (path,) = paths
    with reading(path, "a TIF"), tifffile.TiffFile(path) as file:
        check_series(file, path)
        series = file.series[0]
        axes, sides = series.axes, [series.shape[series.axes.index(axis)] for axis in "YX" if axis in series.axes]
        if len(sides) == 2:  # `_pages` refuses all other axes
            check_size(path, (math.prod(series.shape) // max(math.prod(sides), 1), *sides), series.nbytes)
    if set(axes) <= set("QCSYX") and _is_one_picture(path):  # any other axis, such as Z, T or I, means pages
        return Stack(images.pixels(path)[None])
    return _pages(path, axes)


def _is_one_picture(path: Path) -> bool:
    """Say whether training reads the file as one picture. It goes by the shape: three grey pages are RGB."""
    with contextlib.suppress(DataError):
        return bool(images.header(path))
    return False


def _pages(path: Path, axes: str) -> Stack:
    """Return the pages of a TIF with tifffile's `axes`, grey (n, H, W) or RGB (n, H, W, 3)."""
    array = read_image(path)
    samples = {"S": (2, 3, 4), "C": (3,)}  # an axis of samples may end in alpha, an axis of channels may not
    colour = next((axis for axis in "SC" if axis in axes and array.shape[axes.index(axis)] in samples[axis]), None)
    if "Y" not in axes or "X" not in axes or ("C" in axes and colour is None and array.shape[axes.index("C")] > 1):
        raise DataError(f"{path}: its axes {axes} of {array.shape} are not pages of grey or RGB pictures")
    order = sorted(axes, key=f"YX{colour}".find)
    array = array.transpose([axes.index(axis) for axis in order])
    if colour:
        array = array[..., :3].reshape(-1, *array.shape[-3:-1], min(array.shape[-1], 3))
        return Stack(array if array.shape[-1] == 3 else array[..., 0])  # two samples are grey and alpha
    return Stack(array.reshape(-1, *array.shape[-2:]))


def write_masks(path: Path, labels: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Write labels (n, H, W) uint8, a page each, as indices of a palette, that of `palette.CLASSES`."""
    del stack, classes
    colours = palette.CLASSES.T.astype(np.uint16) * 257  # a TIF's palette has 16 bits a colour
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, _single(labels), photometric="palette", colormap=colours, compression="zlib")


def write_probabilities(path: Path, probabilities: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Write probabilities (n, H, W, num_classes) as float32 pages: for each picture a page for each class."""
    del stack, classes
    pages = np.moveaxis(probabilities, -1, 1).reshape(-1, *probabilities.shape[1:3])
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, _single(pages), photometric="minisblack", compression="zlib", predictor=True)


def write_overlays(path: Path, pictures: np.ndarray) -> None:
    """Write pictures with their masks drawn in, (n, H, W, 3) uint8, a page each."""
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, _single(pictures), photometric="rgb", compression="zlib", predictor=True)


def _single(pages: np.ndarray) -> np.ndarray:
    """Drop the axis of pages where there is one page: readers would show it."""
    return pages[0] if len(pages) == 1 else pages
