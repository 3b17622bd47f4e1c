"""TIF, of one picture or several pages; the mask is a TIF of as many pages with a palette."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from datasets.files import DataError, check_series, read_image
from datasets.folder import images
from datasets.formats.stack import Stack
from launch.preview.overlay import PALETTE
from sharp_unet_jax.storage.atomic import replacing

SUFFIXES = (".tif", ".tiff")
MASK = PROBABILITIES = OVERLAYS = ".tif"


def read(paths: Sequence[Path]) -> Stack:
    """One picture, read as in training, or the pages in the order of the file; of a palette the indices, as there.

    DataError for a file that is no TIF, or whose pages differ in size.
    """
    (path,) = paths
    try:
        with tifffile.TiffFile(path) as file:
            check_series(file, path)
            axes = file.series[0].axes
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: cannot be read as a TIF ({error}); it is damaged or cut short") from error
    if set(axes) <= set("QCSYX") and _one(path):  # other axes, such as Z, T or I, tell of pages
        return Stack(images.pixels(path)[None])
    array = read_image(path)
    samples = {"S": (2, 3, 4), "C": (3,)}  # only of samples is a last one alpha
    colour = next((axis for axis in "SC" if axis in axes and array.shape[axes.index(axis)] in samples[axis]), None)
    if "Y" not in axes or "X" not in axes or ("C" in axes and colour is None and array.shape[axes.index("C")] > 1):
        raise DataError(f"{path}: its axes {axes} of {array.shape} are not pages of grey or RGB pictures")
    order = sorted(axes, key=f"YX{colour}".find)
    array = array.transpose([axes.index(axis) for axis in order])
    if colour:  # grey with alpha has two samples
        array = array[..., :3].reshape(-1, *array.shape[-3:-1], min(array.shape[-1], 3))
        return Stack(array if array.shape[-1] == 3 else array[..., 0])
    return Stack(array.reshape(-1, *array.shape[-2:]))


def _one(path: Path) -> bool:
    """Whether training takes the file for one picture: by the shape alone, so that three grey pages are colours."""
    with contextlib.suppress(DataError):
        return bool(images.header(path))
    return False


def write_masks(path: Path, labels: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Labels (n, H, W) uint8 as the indices of a palette's colours, a page each."""
    del stack, classes
    colours = PALETTE.T.astype(np.uint16) * 257  # a TIF's palette has 16 bits a colour
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, _plain(labels), photometric="palette", colormap=colours, compression="zlib")


def write_probabilities(path: Path, probabilities: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Probabilities (n, H, W, outputs) as float32 pages: of each picture every class's, or the foreground's alone."""
    del stack, classes
    pages = np.moveaxis(probabilities, -1, 1).reshape(-1, *probabilities.shape[1:3])
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, _plain(pages), photometric="minisblack", compression="zlib", predictor=True)


def write_overlays(path: Path, pictures: np.ndarray) -> None:
    """Pictures with their masks drawn in, (n, H, W, 3) uint8, a page each."""
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, _plain(pictures), photometric="rgb", compression="zlib", predictor=True)


def _plain(pages: np.ndarray) -> np.ndarray:
    """A single page without an axis of pages, which readers would show."""
    return pages[0] if len(pages) == 1 else pages
