"""Small pictures, and functions that write them as files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

SHAPE = (12, 10)


@pytest.fixture
def save() -> Callable[..., None]:
    """Return a function that writes an array or a Pillow image in the format of the path's suffix."""

    def write(path: Path, pixels: np.ndarray | Image.Image, **options: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".tif":
            tifffile.imwrite(path, pixels, **options)
        else:
            (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)

    return write


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """Return a function that draws noise in one or three channels."""

    def draw(channels: int = 3, seed: int = 0) -> np.ndarray:
        pixels = np.random.default_rng(seed).integers(0, 256, (*SHAPE, channels), np.uint8)
        return pixels[..., 0] if channels == 1 else pixels

    return draw


@pytest.fixture
def with_masks(tmp_path: Path, save: Callable[..., None], picture: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Return a function that writes pairs 0, 1, ... of noise and the given masks."""

    def write(masks: Sequence[np.ndarray | Image.Image], suffix: str = ".png") -> Path:
        for number, mask in enumerate(masks):
            save(tmp_path / "mine" / "images" / f"{number}.png", picture(seed=number))
            save(tmp_path / "mine" / "masks" / f"{number}{suffix}", mask)
        return tmp_path / "mine"

    return write
