"""The data set that a config names: built by its TFDS builder on first use, then read into memory."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from rich.console import Console

from datasets import kept
from datasets.build import build
from datasets.errors import MissingError
from datasets.folder import folder_dataset_builder, settings
from launch.console.progress import track
from sharp_unet_jax.config import Data
from sharp_unet_jax.data import crops
from sharp_unet_jax.data.prepared import prepare
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.data.resize import resized


def load(data: Data, console: Console) -> Dataset:
    """Build, decode and resize the data set that `data` names, and print what it holds.

    The built set and the resized arrays are kept on disk. Raises DataError for what is wrong with the files.
    """
    builder = built(data, console)
    if data.builder == "folder":
        console.print(builder.info.metadata["found"])
    window = builder.info.metadata["window"]
    logging.set_verbosity(logging.FATAL)  # TFDS warns that it decodes without OpenCV; see also runtime.configure
    dataset = prepare(
        builder.as_data_source(split="train"),
        name=name_of(builder),
        classes=tuple(builder.info.metadata["classes"]),
        data=data,
        window=tuple(window) if window else None,
        cache=Path(builder.data_dir) / folder_name(data),
        track=track(console, f"reading {data.builder}"),
    )
    console.print(
        f"{dataset.name}: {_images(dataset, data)}, {len(set(dataset.groups))} groups, "
        f"classes {', '.join(dataset.classes)}; from {builder.data_dir} "
        f"({kept.megabytes(kept.size(Path(builder.data_dir)))})"
    )
    return dataset


def folder_name(data: Data) -> str:
    """Return the name of the folder that keeps the prepared arrays: settings share it if they prepare the same."""
    parts = ["prepared"]
    if data.fit != "crop":  # the size of crops matters later
        parts.append("x".join(map(str, data.size)))
    parts.append(data.fit)
    if data.spacing:
        parts.append(f"spacing{float(data.spacing)!r}")
    elif data.scale != 1:
        parts.append(f"scale{float(data.scale)!r}")
    if resized(data):
        parts += [data.mask_filter] * (data.mask_filter != "nearest") + ["native"] * (data.score == "native")
    return "-".join([*parts, *[f"context{data.context}"] * (data.context > 0)])


def _images(dataset: Dataset, data: Data) -> str:
    """Say how many images there are, of which sizes, and how many crops."""
    few, *others = sorted(set(map(tuple, dataset.sizes.tolist())), key=math.prod)
    sizes = "x".join(map(str, few))
    if others:
        most, middle = ("x".join(map(str, size)) for size in (others[-1], np.median(dataset.sizes, axis=0).astype(int)))
        sizes += f" to {most}, median {middle}"
    text = f"{len(dataset.ids)} images of {sizes} (height x width)"
    if data.fit == "crop":
        height, width = data.size
        text += f" in crops of {height}x{width}, {crops.count(data, dataset.sizes)} per epoch of all images"
    return text


def built(data: Data, console: Console) -> tfds.core.DatasetBuilder:
    """Return the builder of the data set that `data` names, built. Raises DataError for faults in its files."""
    options = folder_options(data) if data.builder == "folder" else {}
    console.print(f"data set {data.builder} (built from its files on first use, which can take minutes)")
    with _saying_field(data):
        return build(data.builder, data_dir=data.data_dir or None, manual_dir=data.manual_dir or None, **options)


@contextlib.contextmanager
def _saying_field(data: Data) -> Iterator[None]:
    """Let a MissingError of the block name the field of the config that names the folder."""
    try:
        yield
    except MissingError as error:
        field = "images" if data.builder == "folder" else "manual_dir"
        raise MissingError(f"{error}. Name the folder with --config.data.{field}=FOLDER") from error


def completed(data: Data) -> Data:
    """Return the settings with those that the files of a folder decide: predictions read other files by them.

    Files are listed, not read. Raises DataError where there is no such folder.
    """
    if data.builder != "folder" or not (data.images or data.table):
        return data
    with _saying_field(data):
        found = folder_dataset_builder.configure(**folder_options(data)).settings
    return dataclasses.replace(data, channel_files=found.channel_files)


def folder_options(data: Data) -> dict[str, Any]:
    """Return the options of the builder "folder"."""
    return {name: getattr(data, name) for name in settings.NAMES}


def name_of(builder: tfds.core.DatasetBuilder) -> str:
    """Return the data set's name in scores.csv: "covid19_ct", "folder/lungs".

    A builder config other than the default is part of it: "covid19_ct/semiseg".
    """
    name, config = builder.info.name, builder.builder_config
    if name == "folder":
        return f"folder/{config.name.rpartition('-')[0]}"  # without the fingerprint of the files
    is_default = config is None or config.name == next(iter(builder.builder_configs))
    return name if is_default else f"{name}/{config.name}"
