"""TIF: one picture, or several, by its axes and its tags. The mask is a TIF with as many pages and a palette."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from datasets import files
from datasets.errors import DataError
from datasets.formats.stack import PLAIN, Header, How, Spacing, Stack, check_size, reading
from datasets.formats.tif_axes import CHANNELS, Layout, layout, letters, undecided
from datasets.formats.tif_colours import Colours, colours
from datasets.formats.tif_ome import own_pages
from datasets.formats.tif_spacing import spacing
from sharp_unet_jax import palette
from sharp_unet_jax.storage.atomic import replacing

SUFFIXES = files.TIF
MASK = PROBABILITIES = MAP = OVERLAYS = ".tif"
MAX_CHANNELS = 64  # a stack of more pages, read as channels, is hardly what its owner means
ORIENTATION = 274  # the tag; 2 to 8 turn or mirror the picture


class _Opened(NamedTuple):
    """A TIF, and how it is read."""

    series: tifffile.TiffPageSeries
    layout: Layout
    colours: Colours
    spacing: Spacing | None

    @property
    def channels(self) -> int:
        """The channels of each picture."""
        return self.layout.shape[3] * self.colours.channels


def header(paths: Sequence[Path], how: How = PLAIN) -> Header:
    """Return a TIF's header. Raises DataError for a file that can be read in several ways."""
    (path,) = paths
    with _open(path, how) as opened:
        slices, height, width = opened.layout.shape[:3]
        note, dtype, page = opened.colours.note, opened.series.dtype, opened.series.keyframe
        deep = dtype not in (np.uint8, bool) and note != "palette"
        kind = f"TIF {dtype} x {opened.channels}{', ' if note else ''}{note}"
        orientation = page.tags.valueof(ORIENTATION, 1)
        turned = orientation if orientation in range(2, 9) else 1
        size = width, height
        apart = opened.layout.shape[3] > 1 and letters(opened.series) == opened.series.axes  # not (H, W, 3) by tifffile
        return Header(slices, size, opened.channels, deep, kind, turned, spacing=opened.spacing, apart=apart)


def read(paths: Sequence[Path], how: How = PLAIN) -> Stack:
    """Return the pictures in the order of the file, their colours as RGB.

    Raises DataError for a file that is no TIF, or that can be read in several ways.
    """
    (path,) = paths
    with _open(path, how) as opened:
        array = opened.series.asarray()
        pictures = array.transpose(opened.layout.order).reshape(opened.layout.shape)
        kept = opened.colours.kept
        pictures = pictures[..., kept] if len(kept) < pictures.shape[-1] else pictures
        return Stack(opened.colours.convert(pictures).reshape(*pictures.shape[:3], -1), opened.spacing)


@contextlib.contextmanager
def _open(path: Path, how: How) -> Iterator[_Opened]:
    """Open a TIF; its pixels are not decoded yet."""
    with reading(path, "a TIF"), tifffile.TiffFile(path, **_alone(path)) as tif:
        files.check_series(tif, path)
        series = tif.series[0]
        if not all(level.keyframe.is_subifd or level.keyframe.is_reduced for level in series.levels[1:]):
            raise DataError(f"{path}: holds {len(series.levels)} pictures of different sizes; save them apart")
        if series.dtype is None or series.dtype.kind not in "buif":
            raise DataError(f"{path}: holds numbers of type {series.dtype}; save whole or real ones")
        if series.kind == "ome" and any(page is None for page in series):  # they would be read as zeros
            raise DataError(f"{path}: its OME metadata tell of pages that it does not hold; export it again")
        opened = _interpret(path, series, how)._replace(spacing=spacing(tif))
        check_size(path, opened.layout.shape, series.nbytes)
        if opened.channels > MAX_CHANNELS:
            raise DataError(
                f"{path}: holds {opened.channels} channels, and more than {MAX_CHANNELS} are not read; "
                "if they are slices, say so by --config.data.pages=slices or by its axes"
            )
        yield opened


def _alone(path: Path) -> dict[str, Any]:
    """Return tifffile's options that leave out pages of other files, which OME, Micro-Manager and NDTiff name."""
    options: dict[str, Any] = {"_multifile": False, "is_mmstack": False, "is_ndtiff": False}
    with tifffile.TiffFile(files.regular(path), **options) as tif:
        xml = tif.ome_metadata
    return options | ({"omexml": own_pages(xml, path.name)} if xml else {})


def _interpret(path: Path, series: tifffile.TiffPageSeries, how: How) -> _Opened:
    """Decide between slices and channels. Raises DataError where neither the file nor `how` does."""

    def with_channels(axes: str) -> _Opened:
        order = layout(path, series, axes)
        return _Opened(series, order, colours(path, series, order.shape[4], order.shape[3]), None)

    if how.pages == "channels":
        return with_channels(letters(series))
    opened, pages = with_channels(CHANNELS), undecided(series)
    height, width = opened.layout.shape[1:3]
    what = f"its {pages} pages of {width}x{height}"
    several = opened.layout.shape[3] * len(opened.colours.kept) > 1  # a page of several channels is a picture
    if how.pages == "slices" or pages == 1 or several:
        return opened
    if how.channels is None:
        decide = "--config.data.pages=channels or --config.data.pages=slices decides"
        raise DataError(f"{path}: {what} may be slices or channels, and the file does not say which; {decide}")
    if how.channels == pages:
        decide = "save it as an ImageJ or OME TIF, whose axes say which, or each page as a file"
        raise DataError(f"{path}: {what} may be slices, or the channels of this run's images; {decide}")
    return opened


def write_masks(path: Path, labels: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Write labels (n, H, W) uint8, a page each, as indices of a palette, that of `palette.CLASSES`."""
    del stack, classes
    colours = palette.CLASSES.T.astype(np.uint16) * 257  # a TIF's palette has 16 bits per colour
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, _single(labels), photometric="palette", colormap=colours, compression="zlib")


def write_probabilities(path: Path, probabilities: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Write probabilities (n, H, W, num_classes) as float32 pages: for each picture a page for each class."""
    del stack, classes
    pages = np.moveaxis(probabilities, -1, 1).reshape(-1, *probabilities.shape[1:3])
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, _single(pages), photometric="minisblack", compression="zlib", predictor=True)


def write_map(path: Path, values: np.ndarray, stack: Stack) -> None:
    """Write a value per pixel, (n, H, W) float32, a page for each picture."""
    write_probabilities(path, values[..., None], stack, ())


def write_overlays(path: Path, pictures: np.ndarray) -> None:
    """Write pictures with their masks drawn in, (n, H, W, 3) uint8, a page each."""
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, _single(pictures), photometric="rgb", compression="zlib", predictor=True)


def _single(pages: np.ndarray) -> np.ndarray:
    """Drop the axis of pages where there is one page: readers would show it."""
    return pages[0] if len(pages) == 1 else pages
