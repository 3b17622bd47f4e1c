"""The colours of a TIF: what its photometric tag and its ExtraSamples say of the samples of a pixel."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from datasets.errors import DataError

ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
INK_SET, CMYK = 332, 1  # the tag, and its value for CMYK, or without the tag
# tifffile's JPEG decoders make RGB of YCbCr; the compressions after them give the samples as they were.
JPEG = (COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.JPEG_LOSSY, COMPRESSION.ALT_JPEG)
LOSSLESS = (
    COMPRESSION.NONE,
    COMPRESSION.LZW,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.PACKBITS,
    COMPRESSION.DEFLATE,
    COMPRESSION.LZMA,
    COMPRESSION.ZSTD,
)
AS_STORED = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.MASK)  # these are channels as they are


class Colours(NamedTuple):
    """The way from the samples of a pixel to channels."""

    kept: tuple[int, ...]  # samples that are not alpha
    channels: int  # that they become
    note: str = ""  # for the header: "CMYK"
    convert: Callable[[np.ndarray], np.ndarray] = np.asarray  # (..., kept samples) to (..., channels)


def colours(where: Path, series: tifffile.TiffPageSeries, samples: int, planes: int) -> Colours:
    """Return the colours of a TIF's pages.

    A palette is looked up, but not that of one of several channels: it only says how to show that one. An ICC profile
    is not applied.

    Args:
        where: the file, for messages.
        series: of pages that are alike.
        samples: of a pixel in a page.
        planes: channels by pages, each with its own samples.

    Raises:
        DataError: for colours that are neither grey, RGB, CMYK, YCbCr nor of a palette.
    """
    page = series.keyframe
    extra = tuple(page.extrasamples)[: samples - 1]
    kept = tuple(at for at in range(samples) if at < samples - len(extra) or extra[at - samples] not in ALPHA)
    said = page.photometric if "PhotometricInterpretation" in page.tags else PHOTOMETRIC.MINISBLACK
    as_stored = Colours(kept, len(kept))
    few_bits = page.bitspersample in (2, 4)  # tifffile gives 0 to 3, or 0 to 15
    if said in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB) and few_bits:
        return as_stored._replace(convert=partial(_widened, page.bitspersample))
    if said in AS_STORED or (said == PHOTOMETRIC.YCBCR and page.compression in JPEG and not extra):
        return as_stored
    if said == PHOTOMETRIC.MINISWHITE:
        return as_stored._replace(note="0 is white", convert=partial(_first, 1, partial(_inverted, page.bitspersample)))
    if said == PHOTOMETRIC.PALETTE and planes > 1:
        return as_stored
    if said == PHOTOMETRIC.PALETTE and len(kept) == 1:
        table = palette(where, series)
        return Colours(kept, table.shape[1], "palette", partial(_looked_up, table))
    inks = page.tags.valueof(INK_SET, CMYK)
    if said == PHOTOMETRIC.SEPARATED and inks == CMYK and len(kept) > 3 and series.dtype.kind == "u":
        return Colours(kept, len(kept) - 1, "CMYK", partial(_first, 4, _from_cmyk))
    if said == PHOTOMETRIC.YCBCR and len(kept) > 2 and series.dtype == np.uint8 and page.compression in LOSSLESS:
        return as_stored._replace(note="YCbCr", convert=partial(_first, 3, _from_ycbcr))
    name = getattr(said, "name", said)
    raise DataError(f"{where}: its colours are {name} in {series.dtype}, which are not converted here; save it as RGB")


def palette(where: Path, series: tifffile.TiffPageSeries) -> np.ndarray:
    """Return the palette of all pages, (entries, 3) uint8, or (entries, 1) if all its colours are grey.

    Raises DataError where there is none for all values, and where pages have palettes of their own.
    """
    tables = [page.aspage().colormap for page in series]
    if any(table is None or table.shape[1] < 2**series.keyframe.bitspersample for table in tables):
        raise DataError(f"{where}: asks for a palette, and has none of its size; save it as RGB")
    if any((table != tables[0]).any() for table in tables):
        raise DataError(f"{where}: its pages have palettes of their own; save it as RGB")
    table = tables[0].T
    table = (table >> 8 if table.max() > 255 else table).astype(np.uint8)  # some programs write 8 bits, not 16
    return table[:, :1] if (table == table[:, :1]).all() else table


def _first(number: int, convert: Callable[[np.ndarray], np.ndarray], array: np.ndarray) -> np.ndarray:
    """Convert the first channels, the colours, and leave those after them."""
    converted = convert(array[..., :number])
    return np.concatenate([converted, array[..., number:]], axis=-1) if array.shape[-1] > number else converted


def _inverted(bits: int, array: np.ndarray) -> np.ndarray:
    """Return what is shown black as the lowest number: of floats, whose range nobody knows, the negative ones."""
    if array.dtype.kind == "u":
        black = array.dtype.type(2**bits - 1) - array
        return _widened(bits, black) if bits in (2, 4) else black
    return -array if array.dtype.kind == "f" else ~array


def _widened(bits: int, array: np.ndarray) -> np.ndarray:
    """Return numbers of 2 or 4 bits as 0 to 255."""
    return array * array.dtype.type(255 // (2**bits - 1))


def _looked_up(table: np.ndarray, array: np.ndarray) -> np.ndarray:
    return table[array[..., 0].astype(np.uint8, copy=False) if array.dtype == bool else array[..., 0]]  # one bit


def _from_cmyk(array: np.ndarray) -> np.ndarray:
    """Return white less the ink and less black, as Pillow does: (1 - C)(1 - K), rounded."""
    white = np.iinfo(array.dtype).max
    light = white - array.astype(np.uint64)
    return ((light[..., :3] * light[..., 3:] + white // 2) // white).astype(array.dtype)


def _from_ycbcr(array: np.ndarray) -> np.ndarray:
    width = array.shape[2]  # the pictures become one, below each other
    rgb = Image.frombytes("YCbCr", (width, array.size // 3 // width), array.tobytes()).convert("RGB")
    return np.asarray(rgb).reshape(array.shape)
