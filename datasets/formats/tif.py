"""TIF: one picture, or several pages. The mask is a TIF with as many pages and a palette."""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from datasets import files
from datasets.files import DataError
from datasets.formats.stack import PLAIN, Header, How, Stack, check_size, reading
from sharp_unet_jax import palette
from sharp_unet_jax.storage.atomic import replacing

SUFFIXES = files.TIF
MASK = PROBABILITIES = OVERLAYS = ".tif"


def header(paths: Sequence[Path], how: How = PLAIN) -> Header:
    """Return a TIF's header. Raises DataError for a file that is no image of one or three channels."""
    del how
    (path,) = paths
    with files.reading(path), tifffile.TiffFile(files.regular(path)) as tif:
        files.check_series(tif, path)
        shape, dtype, axes = tif.series[0].shape, tif.series[0].dtype, tif.series[0].axes
        inverted = tif.pages.first.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        height, width, channels = _layout(path, shape)
        if len(shape) == 3 and (height, width) == shape[1:] and shape[0] == 4 and "S" not in axes:
            raise files.DataError(f"{path}: has 4 channels, of which none is said to be alpha; save grey or RGB")
        kind = f"TIF {dtype} x {channels}{', 0 is white' if inverted else ''}"
        return Header(1, (width, height), channels, dtype not in (np.uint8, bool), kind)


def read(paths: Sequence[Path], how: How = PLAIN) -> Stack:
    """Return one picture, or the pages in the order of the file.

    A palette is not looked up: its indices are the pixels. Raises DataError for a file that is no TIF, or whose pages
    differ in size.
    """
    (path,) = paths
    with reading(path, "a TIF"), tifffile.TiffFile(path) as file:
        files.check_series(file, path)
        series = file.series[0]
        axes, sides = series.axes, [series.shape[series.axes.index(axis)] for axis in "YX" if axis in series.axes]
        if len(sides) == 2:  # `_pages` refuses all other axes
            check_size(path, (math.prod(series.shape) // max(math.prod(sides), 1), *sides), series.nbytes)
    if set(axes) <= set("QCSYX") and _is_one_picture(path, how):  # any other axis, such as Z, T or I, means pages
        return Stack(_picture(path)[None])
    return _pages(path, axes)


def _is_one_picture(path: Path, how: How) -> bool:
    with contextlib.suppress(DataError):
        return bool(header((path,), how))
    return False


def _picture(path: Path) -> np.ndarray:
    """Return the pixels as stored, (H, W, 1) or (H, W, 3), with alpha dropped."""
    array = files.read_image(path)
    channels = _layout(path, array.shape)[2]
    if array.ndim == 3 and array.shape[-1] > 4:
        array = np.moveaxis(array, 0, -1)
    return array[..., :3] if channels == 3 else array.reshape(*array.shape[:2], -1)[..., :1]


def _layout(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the height, width and channels (1 or 3) of a TIF, whose channels may come first. Raises DataError."""
    if len(shape) == 2:
        return shape[0], shape[1], 1
    if len(shape) == 3 and shape[2] in (1, 2, 3, 4):
        return shape[0], shape[1], 1 if shape[2] < 3 else 3
    if len(shape) == 3 and shape[0] in (3, 4):
        return shape[1], shape[2], 3
    raise files.DataError(f"{path}: is not one picture but of shape {shape}; save each slice as a file of its own")


def _pages(path: Path, axes: str) -> Stack:
    """Return the pages of a TIF with tifffile's `axes`, grey (n, H, W, 1) or RGB (n, H, W, 3)."""
    array = files.read_image(path)
    samples = {"S": (2, 3, 4), "C": (3,)}  # an axis of samples may end in alpha, an axis of channels may not
    colour = next((axis for axis in "SC" if axis in axes and array.shape[axes.index(axis)] in samples[axis]), None)
    if "Y" not in axes or "X" not in axes or ("C" in axes and colour is None and array.shape[axes.index("C")] > 1):
        raise DataError(f"{path}: its axes {axes} of {array.shape} are not pages of grey or RGB pictures")
    order = sorted(axes, key=f"YX{colour}".find)
    array = array.transpose([axes.index(axis) for axis in order])
    if colour:
        array = array[..., :3].reshape(-1, *array.shape[-3:-1], min(array.shape[-1], 3))
        return Stack(array if array.shape[-1] == 3 else array[..., :1])  # two samples are grey and alpha
    return Stack(array.reshape(-1, *array.shape[-2:], 1))


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
