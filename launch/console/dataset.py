"""The data set that a config names: built by its TFDS builder on first use, then read into memory."""

import dataclasses
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging
from rich.console import Console

from datasets.build import build
from datasets.files import MissingError
from datasets.folder import folder_dataset_builder, settings
from launch.console.progress import track
from sharp_unet_jax.config import Data
from sharp_unet_jax.data.resident import Dataset, prepare
from sharp_unet_jax.errors import InputError


def load(data: Data, console: Console) -> Dataset:
    """Build, decode and resize the data set that `data` names, and print what it holds.

    The built set and the resized arrays are kept on disk. Raises DataError for what is wrong with the files.
    """
    builder = built(data, console)
    if data.builder == "folder":
        console.print(builder.info.metadata["found"])
    check_context(builder, data)
    height, width = data.size
    window = builder.info.metadata.get("window")
    filtered = "" if data.mask_filter == "nearest" else f"-{data.mask_filter}"
    context = f"-context{data.context}" if data.context else ""
    logging.set_verbosity(logging.FATAL)  # TFDS warns that it decodes without OpenCV; see also runtime.configure
    dataset = prepare(
        builder.as_data_source(split="train"),
        name=name_of(builder),
        classes=tuple(builder.info.metadata["classes"]),
        data=data,
        window=tuple(window) if window else None,
        cache=Path(builder.data_dir) / f"prepared-{height}x{width}-{data.fit}{filtered}{context}",
        track=track(console, f"reading {data.builder}"),
    )
    console.print(
        f"{dataset.name}: {len(dataset.ids)} images of {height}x{width}, {len(set(dataset.groups))} groups, "
        f"classes {', '.join(dataset.classes)}; from {builder.data_dir}"
    )
    return dataset


def built(data: Data, console: Console) -> tfds.core.DatasetBuilder:
    """Return the builder of the data set that `data` names, built. Raises DataError for faults in its files."""
    options = folder_options(data) if data.builder == "folder" else {}
    console.print(f"data set {data.builder} (built from its files on first use, which can take minutes)")
    try:
        return build(data.builder, data_dir=data.data_dir or None, manual_dir=data.manual_dir or None, **options)
    except MissingError as error:
        field = "images" if data.builder == "folder" else "manual_dir"
        raise MissingError(f"{error}. Name the folder with --config.data.{field}=FOLDER") from error


def completed(data: Data) -> Data:
    """Return the settings with those that the files of a folder decide: predictions read other files by them."""
    if data.builder != "folder" or not (data.images or data.table):
        return data
    found = folder_dataset_builder.configure(**folder_options(data)).settings
    return dataclasses.replace(data, channel_files=found.channel_files)


def check_context(builder: tfds.core.DatasetBuilder, data: Data) -> None:
    """Refuse neighbouring slices of a built set that does not say which images are neighbours. Raises InputError."""
    if data.context and "volume" not in builder.info.features:
        raise InputError(
            f"{builder.data_dir}: an earlier version of this project has built it, which kept no volumes for "
            f"data.context={data.context}; delete this folder and give the command again"
        )


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
