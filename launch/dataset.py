"""The data set a config names: built by its TFDS builder on first use, then resident."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from datasets.build import build
from sharp_unet_jax.config import Data
from sharp_unet_jax.data.resident import Dataset, prepare


def load(data: Data, track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items) -> Dataset:
    """Builds, decodes and resizes what `data` names; both steps are kept on disk for the next time."""
    options: dict[str, Any] = {}
    if data.builder == "folder":
        options = {"images": data.images, "masks": data.masks, "groups": data.groups, "classes": data.classes}
    logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS warns that it would rather decode with OpenCV
    builder = build(data.builder, data_dir=data.data_dir or None, manual_dir=data.manual_dir or None, **options)
    height, width = data.size
    return prepare(
        builder.as_data_source(split="train"),
        name=builder.info.name,
        classes=tuple(builder.info.metadata["classes"]),
        size=data.size,
        fit=data.fit,
        cache=Path(builder.data_dir) / f"resident-{height}x{width}-{data.fit}.npz",
        track=track,
    )
