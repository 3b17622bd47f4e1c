"""PNG, JPG, BMP, GIF and WebP: one picture per file. Its mask is a PNG with a palette."""

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile

from datasets import files
from datasets.errors import DataError
from datasets.formats import tif
from datasets.formats.stack import PLAIN, Header, How, Stack, check_size
from sharp_unet_jax import palette
from sharp_unet_jax.storage.atomic import replacing

SUFFIXES = (".png", *files.JPEG, ".bmp", ".gif", ".webp")
MASK, PROBABILITIES, MAP, OVERLAYS = ".png", ".tif", ".tif", ".png"
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")  # Pillow's modes with one channel besides alpha
MAX_EXIF = 2**16  # bytes; that of a JPEG has no more

write_probabilities, write_map = tif.write_probabilities, tif.write_map


def header(paths: Sequence[Path], how: How = PLAIN) -> Header:
    """Return a picture's header. Raises DataError for a file that is none, or an animation."""
    del how
    (path,) = paths
    with files.reading(path), _open(path) as image:
        cut = _cut_to_8_bits(image)
        channels = 1 if image.mode in GREY or cut == "LA" else 3
        deep = image.mode.startswith(("I", "F")) or bool(cut)
        kind = f"{image.format} {cut or image.mode}{' of 16 bits' if cut else ''}"
        return Header(1, image.size, channels, deep, kind, _orientation(path, image))


def read(paths: Sequence[Path], how: How = PLAIN) -> Stack:
    """Return the picture with its palette looked up and alpha dropped.

    Raises DataError for a file that is none, or an animation.
    """
    del how
    (path,) = paths
    with _open(path) as image:
        mode, cut = image.mode, _cut_to_8_bits(image)
    if cut:
        with files.reading(path):
            array = imagecodecs.png_decode(path.read_bytes())[..., : 1 if cut == "LA" else 3]
    else:
        plain = mode in ("RGB", *GREY) and mode not in ("LA", "La")
        array = files.read_image(path, None if plain else "L" if mode in GREY else "RGB")
    return Stack(array[None] if array.ndim == 3 else array[None, ..., None])


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """Open a picture; its pixels are not decoded yet. Raises DataError for an animation."""
    with files.picture(path) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # a photo, and after it what a camera adds: a preview, a depth
            raise DataError(f"{path}: holds {frames} pictures, an animation; save each as a file of its own")
        check_size(path, (1, image.height, image.width), image.width * image.height * len(image.getbands()))
        yield image


def _cut_to_8_bits(image: Image.Image) -> str:
    """Return RGB, RGBA or LA for a PNG of 16 bits of which Pillow would read only the upper 8; "" for all others."""
    if not isinstance(image, PngImageFile):
        return ""
    kind, _, bits = str(image.tile[0][3]).partition(";")
    return kind if bits == "16B" and kind in ("RGB", "RGBA", "LA") else ""


def _orientation(path: Path, image: Image.Image) -> int:
    """Return EXIF's orientation, 1 to 8; 1 where there is none, or it cannot be read."""
    if isinstance(image, PngImageFile) and "exif" not in image.info and (exif := _exif(path)):
        image.info["exif"] = exif
    with contextlib.suppress(Exception):  # damaged EXIF data make no picture unreadable
        # The method of the base class: that of a PNG decodes all pixels, in case that EXIF data come after them.
        found = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
        return int(found) if found in range(1, 9) else 1
    return 1


def _exif(path: Path) -> bytes:
    """Return a PNG's EXIF data, which may come last; b"" without them."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"eXIf":
                return file.read(min(length, MAX_EXIF))
            file.seek(length + 4, os.SEEK_CUR)  # a checksum follows
    return b""


def write_masks(path: Path, labels: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Write labels (1, H, W) uint8 as indices of a palette, that of `palette.CLASSES`."""
    del stack, classes
    mask = Image.fromarray(labels[0])
    mask.putpalette(palette.CLASSES.tobytes())
    with replacing(path) as temporary:
        mask.save(temporary, "PNG")


def write_overlays(path: Path, pictures: np.ndarray) -> None:
    """Write a picture with its mask drawn in, (1, H, W, 3) uint8."""
    with replacing(path) as temporary:
        Image.fromarray(pictures[0]).save(temporary, "PNG")
