"""Pictures of Pillow: from pixels, to the bytes of a file, and to an address that a page may hold."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sharp_unet_jax.data.pixels import shown


def picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """Turn pixels (h, w, C) uint8 into a picture, grey or RGB, see `pixels.shown`."""
    drawn = shown(pixels)
    return Image.fromarray(np.ascontiguousarray(drawn[..., 0] if drawn.shape[-1] == 1 else drawn))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return a picture as a file of `kind`, such as "png", written with Pillow's `options`."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def address(image: Image.Image, kind: str, **options: Any) -> str:
    """Return a picture as a `data:` address, which holds the file of `encode`."""
    return f"data:image/{kind};base64,{base64.b64encode(encode(image, kind, **options)).decode()}"
