"""The data set a config names: built by its TFDS builder on first use, then resident."""

from pathlib import Path
from typing import Any

from absl import logging
from rich.console import Console

from datasets.build import build
from datasets.files import DataError
from launch.progress import track
from sharp_unet_jax.config import Data
from sharp_unet_jax.data.resident import Dataset, prepare


def load(data: Data, console: Console) -> Dataset:
    """Builds, decodes and resizes what `data` names, and says on `console` what it found; both are kept on disk."""
    options: dict[str, Any] = {}
    if data.builder == "folder":
        options = {"images": data.images, "masks": data.masks, "groups": data.groups, "classes": data.classes}
    try:
        builder = build(data.builder, data_dir=data.data_dir or None, manual_dir=data.manual_dir or None, **options)
    except DataError as error:
        if data.manual_dir or data.images or data.builder.startswith("phantom"):
            raise
        field = "images" if data.builder == "folder" else "manual_dir"
        raise DataError(f"{error}. Where it is says --config.data.{field}=FOLDER") from error
    if data.builder == "folder":
        console.print(builder.info.metadata["found"])
    height, width = data.size
    logging.set_verbosity(logging.ERROR)  # TFDS warns that it would rather decode with OpenCV
    dataset = prepare(
        builder.as_data_source(split="train"),
        name=builder.info.name,
        classes=tuple(builder.info.metadata["classes"]),
        size=data.size,
        fit=data.fit,
        cache=Path(builder.data_dir) / f"resident-{height}x{width}-{data.fit}.npz",
        track=track(console, f"reading {data.builder}"),
    )
    console.print(
        f"{dataset.name}: {len(dataset.ids)} images of {height}x{width}, {len(set(dataset.groups))} groups, "
        f"classes {', '.join(dataset.classes)}"
    )
    return dataset
