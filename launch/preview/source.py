"""A config's data set pair by pair, at the size its images have: what there is to check before any training."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from rich.console import Console

from datasets.files import DataError, MissingError
from datasets.folder import check, labels
from datasets.folder import images as image_files
from launch.console import dataset
from launch.console.progress import track
from sharp_unet_jax.advice import profile
from sharp_unet_jax.advice.profile import ImageProfile, Profile
from sharp_unet_jax.config import Data


@dataclass(frozen=True)
class Source:
    """Whatever can be read of a data set."""

    name: str
    ids: list[str]
    groups: list[str]
    classes: tuple[str, ...]
    channels: int
    read: Callable[[int], tuple[np.ndarray, np.ndarray]]  # image (h, w, C) and mask (h, w), uint8, of one id
    kinds: dict[str, int]  # how many images there are of each format and depth
    how: str  # how files are read, in one paragraph
    faults: list[str]  # why launch.cv would refuse it
    notes: list[str]  # what it would not refuse, but should be known
    names: tuple[str, ...] = ()  # of classes: with them it would not refuse the masks


def look(data: Data, console: Console) -> tuple[Source, Profile]:
    """What `data` names, less what cannot be read, and the facts of the rest; DataError where there is no such folder,
    or a builder refuses its files."""
    found = _folder(data, console) if data.builder == "folder" else _built(data, console)

    def one(index: int) -> ImageProfile | str:
        try:
            return profile.profile_image(*found.read(index), len(found.classes))
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:  # decoding releases the GIL
        seen = list(track(console, "reading images")(pool.map(one, range(len(found.ids))), len(found.ids)))
    good = [index for index, fact in enumerate(seen) if isinstance(fact, ImageProfile)]
    rest = dataclasses.replace(
        found,
        ids=[found.ids[index] for index in good],
        groups=[found.groups[index] for index in good],
        read=lambda index: found.read(good[index]),
        faults=[*found.faults, *(fault for fault in seen if isinstance(fault, str))],
    )
    return rest, Profile(rest.ids, rest.groups, rest.classes, [fact for fact in seen if isinstance(fact, ImageProfile)])


def _folder(data: Data, console: Console) -> Source:
    """The files themselves: whatever is wrong with one of them does not stop the look at the others."""
    if not data.images:
        raise MissingError("the data set 'folder' needs images: name the folder with --config.data.images=FOLDER")
    images = Path(data.images).expanduser()
    masks, groups = (Path(path).expanduser() if path else None for path in (data.masks, data.groups))
    checked = check.check(images, masks, groups, data.classes or None, track(console, "reading masks"))
    found = checked.found
    name = images.resolve().parent.name if images.name == "images" else images.resolve().name
    if found is None:
        return Source(name, [], [], (), 1, _nothing, {}, "", checked.faults, checked.notes)
    pairs, reading = found.pairs, found.reading

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        return image_files.read(pairs[index].image, found.channels, found.span), reading.labels(pairs[index].mask)

    ids = [pair.id for pair in pairs]
    return Source(
        name=name,
        ids=ids,
        groups=[checked.groups.get(name, name) for name in ids],
        classes=reading.classes,
        channels=found.channels,
        read=read,
        kinds=checked.kinds,
        how=found.describe() if len(reading.classes) <= labels.MOST else "",
        faults=checked.faults,
        notes=checked.notes,
        names=checked.classes,
    )


def _built(data: Data, console: Console) -> Source:
    """Of a builder, which has checked the files: what it made of them."""
    builder = dataset.built(data, console)
    logging.set_verbosity(logging.ERROR)  # TFDS warns that it would rather decode with OpenCV
    examples, features = builder.as_data_source(split="train"), builder.info.features
    undecoded = {key: tfds.decode.SkipDecoding() for key in ("image", "mask")}
    plain = builder.as_data_source(split="train", decoders=undecoded)
    names = [(example["id"].decode(), example["group"].decode()) for example in plain]
    channels = features["image"].shape[-1]

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(examples[index]["image"]), np.asarray(examples[index]["mask"])[..., 0]

    return Source(
        name=dataset.called(builder),
        ids=[name for name, _ in names],
        groups=[group for _, group in names],
        classes=tuple(builder.info.metadata["classes"]),
        channels=channels,
        read=read,
        kinds={"grey" if channels == 1 else "RGB": len(names)},
        how=f"{len(names)} images, as the builder {builder.info.name} reads them from its files",
        faults=[],
        notes=[],
    )


def _nothing(index: int) -> tuple[np.ndarray, np.ndarray]:
    raise IndexError(index)
