"""PNG, JPG and BMP: one picture a file. Its mask is a PNG with a palette."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from datasets import files
from datasets.formats import tif
from datasets.formats.stack import PLAIN, Header, How, Stack
from sharp_unet_jax import palette
from sharp_unet_jax.storage.atomic import replacing

SUFFIXES = (".png", *files.JPEG, ".bmp")
MASK, PROBABILITIES, OVERLAYS = ".png", ".tif", ".png"
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")  # Pillow's modes with one channel besides alpha

write_probabilities = tif.write_probabilities


def header(paths: Sequence[Path], how: How = PLAIN) -> Header:
    """Return a picture's header. Raises DataError for a file that is none."""
    del how
    (path,) = paths
    with files.reading(path), files.picture(path) as image:
        deep = image.mode.startswith(("I", "F"))
        # JPEG alone: in a PNG the EXIF data may come last, and Pillow would decode all of it.
        rotated = image.format in ("JPEG", "MPO") and image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        channels = 1 if image.mode in GREY else 3
        return Header(1, image.size, channels, deep, f"{image.format} {image.mode}", rotated)


def read(paths: Sequence[Path], how: How = PLAIN) -> Stack:
    """Return the picture with its palette looked up and alpha dropped. Raises DataError for a file that is none."""
    del how
    (path,) = paths
    with files.picture(path) as image:
        mode = image.mode
    plain = mode in ("RGB", *GREY) and mode not in ("LA", "La")
    array = files.read_image(path, None if plain else "L" if mode in GREY else "RGB")
    return Stack(array[None] if array.ndim == 3 else array[None, ..., None])


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
