"""The content of a mask: an array of codes, each a grey value, a palette index, a colour or a transparent pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image
from scipy import ndimage

from datasets import annotations, files, formats
from datasets.errors import DataError
from datasets.folder.names import plain
from datasets.folder.settings import MAX_CLASSES
from datasets.formats.stack import PLAIN, How, check_size
from datasets.formats.tif_colours import palette as tif_palette

COLOUR = 1 << 24  # added to the code of a colour, 0xRRGGBB: no colour then equals a grey value
BLACK, WHITE = COLOUR, COLOUR + 0xFFFFFF
TRANSPARENT = -1
ROUNDING = 1e-3  # of whole numbers that were stored as floats, or with a slope
PLAIN_TIF = tuple(tifffile.PHOTOMETRIC[name] for name in ("MINISBLACK", "MINISWHITE", "RGB", "PALETTE"))
ALPHA = {tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA}
LOSSY = (tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.OJPEG)


@dataclass(frozen=True)
class Summary:
    """The mask of an image, summarised: one file, or one per class."""

    path: Path  # of its first file
    slices: int
    size: tuple[int, int]  # width, height
    values: np.ndarray  # its codes, ascending
    counts: np.ndarray  # pixels of each code
    palette: frozenset[tuple[int, int]]  # the indices in it and the colour of each; empty without a palette
    inverted: bool = False  # a TIF that asks to show 0 as white; the codes stay as they are
    jpeg: bool = False  # compressed with loss, whatever the file's name
    solid: tuple[int, ...] = ()  # colours that fill a square of 3 x 3 pixels: blends at smoothed edges do not
    areas: tuple[int, ...] = ()  # greys between black and white that fill areas, but for noise
    overlap: int = 0  # pixels that the files of several classes claim
    drawn: annotations.Contents | None = None  # of annotations: the regions that the codes stand for
    how: How = PLAIN  # by which its files are read


def summarise(paths: Sequence[Path], how: How = PLAIN, *, indices: bool, apart: bool = False) -> Summary:
    """Read and summarise a mask. Raises DataError.

    Args:
        paths: its file, or the files of its DICOM series.
        how: they are read.
        indices: take the indices of a palette, not its colours.
        apart: each file is the mask of a class.
    """
    if annotations.are(paths):
        drawing, drawn = annotations.read(paths)
        values, counts = np.unique(drawing, return_counts=True)
        size = drawing.shape[1], drawing.shape[0]
        return Summary(paths[0], 1, size, values, counts, frozenset(), drawn=drawn)
    stacks = [read(part, how, indices=indices) for part in ([(path,) for path in paths] if apart else [paths])]
    for path, codes in zip(paths, stacks, strict=False):
        if codes.shape != stacks[0].shape:
            sizes = [f"{stack.shape[2]}x{stack.shape[1]}" for stack in (stacks[0], codes)]
            raise DataError(f"{paths[0]} is {sizes[0]} but {path.name} is {sizes[1]}; they must be equal")
    slices, height, width = stacks[0].shape
    facts = [_facts(path) for path in (paths if apart else paths[:1])]
    values, counts = _count(np.stack(stacks))
    in_colour = values[-1] >= COLOUR
    greys = not in_colour and values[-1] >= MAX_CLASSES and np.setdiff1d(values, (0, 255, 65535)).size > 0
    return Summary(
        path=paths[0],
        slices=slices,
        size=(width, height),
        values=values,
        counts=counts,
        palette=frozenset(entry for palette, _, _ in facts for entry in palette if indices and entry[0] in values),
        inverted=any(inverted for _, inverted, _ in facts),
        jpeg=any(lossy for _, _, lossy in facts),
        solid=tuple(sorted({code for codes in stacks for code in _solid(codes)})) if in_colour else (),
        areas=tuple(sorted({code for codes in stacks for code in _areas(codes)})) if greys else (),
        overlap=int(np.count_nonzero(sum(map(_bright, stacks)) > 1)) if len(stacks) > 1 else 0,
        how=how,
    )


def read(paths: Sequence[Path], how: How = PLAIN, *, indices: bool) -> np.ndarray:
    """Return the codes of a mask, int32 (n, H, W). Raises DataError.

    A colour picture with R = G = B everywhere is read as a grey one. One bit becomes 0 and 255.
    """
    path = paths[0]
    if path.suffix.lower() in files.TIF:
        return _codes(path, _tif(path, indices=indices))
    if formats.family(path) in (formats.nifti, formats.dicom):
        return _codes(path, _volume(paths, how))
    return _codes(path, _picture(path, indices=indices))


def class_of(path: Path, class_files: Sequence[str], top: Path | None = None) -> int:
    """Return the index of the class whose mask a file is: by its folder, else by the longest ending of its name.

    Only folders below `top` count. Raises DataError for a file of none of the classes.
    """
    names, stem = list(map(plain, class_files)), plain(formats.stem(path))
    below = path.relative_to(top) if top and path.is_relative_to(top) else path
    folders = [plain(folder.name) for folder in below.parents]
    if folders[0] in names:
        return names.index(folders[0])
    ends = [at for at, name in enumerate(names) if stem.endswith(name)]
    if ends:
        return max(ends, key=lambda at: len(names[at]))
    if above := [names.index(folder) for folder in folders if folder in names]:
        return above[0]
    raise DataError(f"{path}: is the mask of none of data.class_files={','.join(class_files)}")


def as_colours(values: np.ndarray) -> np.ndarray:
    """Return grey values as the codes of the same greys in RGB, and other codes unchanged."""
    return np.where((values >= 0) & (values < COLOUR), values * 0x010101 + COLOUR, values)


def _picture(path: Path, *, indices: bool) -> np.ndarray:
    """Return the pixels of a picture as stored, (1, H, W, samples); those of a palette's colours with alpha."""
    image: Any
    with files.picture(path) as image:
        if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
            raise DataError(f"{path}: holds {frames} pictures, as an animation does; save one picture per file")
        if image.mode in ("CMYK", "YCbCr", "LAB"):
            raise DataError(f"{path}: its colours are {image.mode}; save it as RGB")
        palette, stored = image.mode in ("P", "PA"), str(image.tile[0][3]) if image.format == "PNG" else ""
        if stored in ("RGB;16B", "RGBA;16B", "LA;16B") or (stored == "I;16B" and "transparency" in image.info):
            # Pillow cuts these to 8 bits.
            array = imagecodecs.png_decode(path.read_bytes())
        elif palette and indices:
            array = np.asarray(image.getchannel(0))
        else:
            array = np.asarray(image.convert("RGBA") if palette or "transparency" in image.info else image)
    return array.reshape(1, *array.shape[:2], -1)


def _tif(path: Path, *, indices: bool) -> np.ndarray:
    """Return the pages of a TIF as stored, (n, H, W, samples); each is a slice, whatever its axis is called.

    Of a palette these are its colours, or its indices.
    """
    # Without OME's list of files: it counts the pages of other files, which would be read as zeros.
    with files.reading(path), tifffile.TiffFile(files.regular(path), is_ome=False) as tif:
        files.check_series(tif, path)
        series = tif.series[0]
        axes, shape = series.axes, series.shape
        sides = [shape[axes.index(axis)] for axis in "YX"]
        check_size(path, (1, *sides), series.nbytes)
        array = series.asarray()
        page, palette = tif.pages.first, _palette_of_tif(path, tif)
        if page.photometric not in PLAIN_TIF and page.compression not in LOSSY:
            colours = getattr(page.photometric, "name", page.photometric)
            raise DataError(f"{path}: its colours are {colours}; save it as RGB")
        if array.shape[axes.find("S")] in (2, 4) and "S" in axes and not set(page.extrasamples) & ALPHA:
            raise DataError(f"{path}: a channel of it is neither grey nor RGB nor alpha; save it without")
        array = array if "S" in axes else array[..., None]
        if array.dtype.kind not in "buif":
            raise DataError(f"{path}: holds numbers of type {array.dtype}; save whole or real ones")
        order = sorted(range(array.ndim), key=lambda axis: "YXS".find((axes if "S" in axes else axes + "S")[axis]))
        pages = array.transpose(order).reshape(-1, *sides, array.shape[order[-1]])
    if palette is None:
        return pages
    pages = pages.astype(np.uint8) if pages.dtype == bool else pages  # indices of one bit
    return pages if indices else palette[pages[..., 0]]


def _palette_of_tif(path: Path, tif: tifffile.TiffFile) -> np.ndarray | None:
    """Return the palette of a TIF, (entries, 3) uint8; None without one, and of ImageJ's, which are for display."""
    page = tif.pages.first
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.samplesperpixel > 1 or tif.is_imagej:
        return None
    colours = tif_palette(path, tif.series[0])
    return np.broadcast_to(colours, (len(colours), 3))


def _volume(paths: Sequence[Path], how: How) -> np.ndarray:
    """Return the numbers of a NIfTI or DICOM mask, (n, H, W, samples), without what a slope in its header leaves."""
    array = formats.read(paths, how).pictures
    if array.dtype.kind != "f":
        return array
    whole = np.rint(array)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(whole - array) < ROUNDING, whole, array)


def _codes(path: Path, array: np.ndarray) -> np.ndarray:
    """Return the codes (n, H, W) of the pixels (n, H, W, samples) of a file."""
    array = array * np.uint8(255) if array.dtype == bool else array
    samples = array.shape[-1]
    if samples > 4:
        raise DataError(f"{path}: has {samples} channels; a mask is one grey or colour picture: save it as PNG")
    alpha = array[..., -1] if samples in (2, 4) else None
    array = array if alpha is None else array[..., :-1]
    hidden = np.zeros(array.shape[:-1], bool)
    if alpha is not None and alpha.max() > 0:  # alpha that is the same everywhere says nothing
        hidden = alpha < alpha.max() / 2
        if faint := [one for one in _solid(alpha) if 0 < one < alpha.max() / 2]:
            raise DataError(
                f"{path}: is fainter in some parts than in others (alpha {faint[0]} and {alpha.max()}); save it opaque"
            )
    elif alpha is not None and (array == array[:, :1, :1]).all():
        hidden[:] = True
    array = np.where(hidden[..., None], 0, array).astype(array.dtype) if hidden.any() else array
    array = array[..., :1] if array.shape[-1] == 3 and (array == array[..., :1]).all() else array
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int32)
    if (whole != array).any() or whole.min() < 0 or whole.max() > 65535:
        found = f"{np.nanmin(array)} to {np.nanmax(array)}" if not np.isnan(array).all() else "NaN alone"
        found += " and NaN" if np.isnan(array).any() and not np.isnan(array).all() else ""
        raise DataError(f"{path}: holds {found}; a mask holds whole numbers, 0 to 65535: save labels, or 0 and 255")
    if whole.shape[-1] == 3 and whole.max() > 255:
        raise DataError(f"{path}: holds colours of more than 8 bits per channel; save it with 8")
    codes = whole[..., 0] if whole.shape[-1] == 1 else _packed(whole)
    codes[hidden] = TRANSPARENT
    return codes


def _facts(path: Path) -> tuple[frozenset[tuple[int, int]], bool, bool]:
    """Return a file's palette, whether it asks to show 0 as white, and whether it is compressed with loss."""
    if path.suffix.lower() in files.TIF:
        with files.reading(path), tifffile.TiffFile(path, is_ome=False) as tif:
            page, colours = tif.pages.first, _palette_of_tif(path, tif)
            palette = enumerate(() if colours is None else _packed(colours.astype(np.int32)).tolist())
            return frozenset(palette), page.photometric == tifffile.PHOTOMETRIC.MINISWHITE, page.compression in LOSSY
    if formats.family(path) in (formats.nifti, formats.dicom):
        return frozenset(), False, False
    with files.picture(path) as image:
        # A WebP without loss has a chunk of this name.
        lossy = image.format in ("JPEG", "MPO") or (image.format == "WEBP" and b"VP8L" not in path.read_bytes())
        return frozenset(_palette(image) if image.mode in ("P", "PA") else ()), False, lossy


def _palette(image: Any) -> list[tuple[int, int]]:
    """Return the indices of an image's palette, each with the code of its colour."""
    colours = image.getpalette("RGB")
    ramp = Image.new("P", (256, 1))
    ramp.putdata(range(256))
    ramp.putpalette(colours)
    if image.mode == "P" and "transparency" in image.info:
        ramp.info["transparency"] = image.info["transparency"]
    rgba = np.asarray(ramp.convert("RGBA"), np.int32)[0, : len(colours) // 3]
    return list(enumerate(np.where(rgba[:, 3] < 128, TRANSPARENT, _packed(rgba)).tolist()))


def _count(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if codes.max() >= COLOUR:
        return np.unique(codes, return_counts=True)
    counts = np.bincount(codes.ravel() - TRANSPARENT)  # ten times as fast
    return np.flatnonzero(counts) + TRANSPARENT, counts[counts > 0]


def _solid(codes: np.ndarray) -> list[int]:
    """Return the codes that fill a square of 3 x 3 pixels somewhere in (n, H, W)."""
    return np.unique(_flat(codes, 0)).tolist()


def _areas(codes: np.ndarray) -> list[int]:
    """Return the greys of (n, H, W), neither near black nor near white, that fill areas; [] where these are small."""
    white = 255 if codes.max() <= 255 else 65535
    flat = _flat(codes, white // 16)  # noise of a JPEG is less; neighbours at an edge differ by more
    between = flat[(flat > white // 8) & (flat < white - white // 8)]
    return np.unique(between).tolist() if len(between) >= 9 else []


def _flat(codes: np.ndarray, noise: int) -> np.ndarray:
    """Return the codes in the middle of squares of 3 x 3 pixels that differ by `noise` at most."""
    size, inside = (1, 3, 3), (slice(None), slice(1, -1), slice(1, -1))
    spread = ndimage.maximum_filter(codes, size) - ndimage.minimum_filter(codes, size)
    return codes[inside][spread[inside] <= noise]


def _bright(codes: np.ndarray) -> np.ndarray:
    """Return where the mask of a class shows it, bool (n, H, W)."""
    highest = codes.max()
    return codes > (COLOUR if highest >= COLOUR else 32767 if highest > 255 else 127 if highest > 1 else 0)


def _packed(rgb: np.ndarray) -> np.ndarray:
    return rgb[..., 0] * 0x10000 + rgb[..., 1] * 0x100 + rgb[..., 2] + COLOUR
