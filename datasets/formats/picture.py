"""PNG, JPG and BMP: one picture a file. Its mask is a PNG with a palette."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.files import JPEG
from datasets.folder import images
from datasets.formats import tif
from datasets.formats.stack import Stack
from sharp_unet_jax import palette
from sharp_unet_jax.storage.atomic import replacing

SUFFIXES = (".png", *JPEG, ".bmp")
MASK, PROBABILITIES, OVERLAYS = ".png", ".tif", ".png"

write_probabilities = tif.write_probabilities


def read(paths: Sequence[Path]) -> Stack:
    """Return the picture with its palette looked up and alpha dropped. Raises DataError for a file that is none."""
    return Stack(images.pixels(paths[0])[None])


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
