"""Labels, and the comparison of prediction with training, for the tests of several formats."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from datasets.folder import images
from datasets.folder.scan import scan
from datasets.folder.settings import settings
from datasets.formats import search
from sharp_unet_jax.data.pixels import as_trained
from tests.datasets.folder.test_images import BLOB

CLASSES = ("background", "lung", "lesion")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def labels_of(shape: tuple[int, int, int]) -> np.ndarray:
    """Labels of CLASSES (n, H, W) uint8; the last slice holds all of them."""
    labels = np.zeros(shape, np.uint8)
    labels[:, 1:3, 2:4] = 1
    labels[-1, 4:, 5:] = 2
    return labels


@pytest.fixture
def check_as_trained(tmp_path: Path) -> Callable[..., None]:
    """Write a picture and check that prediction gives a network the same pixels as training does."""

    def check(name: str, pixels: Any, options: dict[str, Any], **given: Any) -> None:
        path = tmp_path / "images" / name
        path.parent.mkdir()
        (tmp_path / "masks").mkdir()
        Image.fromarray(BLOB).save(tmp_path / "masks/a.png")
        if path.suffix == ".tif":
            tifffile.imwrite(path, pixels, **options)
        else:
            (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path)
        found = scan(settings(images=tmp_path, **given))
        (one,) = search.find([str(path)])
        how = found.settings.how
        pictures = one.family.read(one.paths, how._replace(channels=found.channels)).pictures
        expected = images.read([path], found.channels, found.window, how)
        assert pictures.shape == (1, *BLOB.shape, found.channels)
        np.testing.assert_array_equal(as_trained(pictures, found.channels, found.window), expected)

    return check
