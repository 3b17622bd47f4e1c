"""PNG, JPG and BMP: a picture, whose mask is a PNG with a palette."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.folder import images
from datasets.formats import tif
from datasets.formats.stack import Stack
from launch.preview.overlay import PALETTE
from sharp_unet_jax.storage.atomic import replacing

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
MASK, PROBABILITIES, OVERLAYS = ".png", ".tif", ".png"

write_probabilities = tif.write_probabilities


def read(paths: Sequence[Path]) -> Stack:
    """The picture, palettes looked up and alpha dropped; DataError for a file that is none."""
    return Stack(images.pixels(paths[0])[None])


def write_masks(path: Path, labels: np.ndarray, stack: Stack, classes: Sequence[str]) -> None:
    """Labels (1, H, W) uint8 as the indices of a palette's colours."""
    del stack, classes
    mask = Image.fromarray(labels[0])
    mask.putpalette(PALETTE.tobytes())
    with replacing(path) as temporary:
        mask.save(temporary, "PNG")


def write_overlays(path: Path, pictures: np.ndarray) -> None:
    """A picture with its mask drawn in, (1, H, W, 3) uint8."""
    with replacing(path) as temporary:
        Image.fromarray(pictures[0]).save(temporary, "PNG")
