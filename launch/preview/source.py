"""The images and masks of a config's data set at their own sizes, pair by pair, and what is wrong with them."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from rich.console import Console

from datasets.errors import DamagedError, DataError, MissingError
from datasets.files import local
from datasets.folder import check, labels, layout
from datasets.folder.names import first_few
from datasets.folder.scan import by_slice
from datasets.folder.settings import settings
from datasets.formats.stack import Spacing
from launch.console import dataset
from launch.console.progress import track
from sharp_unet_jax.advice.profile import ImageProfile, Profile, profile_image
from sharp_unet_jax.config import Data
from sharp_unet_jax.data import neighbours, pixels
from sharp_unet_jax.data.resize import trained_size
from sharp_unet_jax.errors import InputError


@dataclass(frozen=True)
class Source:
    """The part of a data set that can be read."""

    name: str
    ids: list[str]
    groups: list[str]
    classes: tuple[str, ...]
    channels: int  # of all images
    read: Callable[[int], tuple[np.ndarray, np.ndarray]]  # image (h, w, C) and mask (h, w) uint8 of ids[index]
    kinds: dict[str, int]  # how many images there are of each format and depth
    description: str  # what the files are and how they are read, in one paragraph
    faults: list[str]  # why launch.cv would refuse the data set
    notes: list[str]  # what launch.cv would not refuse, but the user should know
    proposed: dict[str, Any] = dataclasses.field(default_factory=dict)  # fields of data, to read refused masks with
    spacings: list[Spacing] = dataclasses.field(default_factory=list)  # of the pixels, 0 where nobody knows; [] of none


def inspect(data: Data, console: Console) -> tuple[Source, Profile]:
    """Return the data set that `data` names, without the images that cannot be read, and its profile.

    Raises DataError where there is no such folder, or where a builder refuses its files.
    """
    found = _folder(data, console) if data.builder == "folder" else _built(data, console)

    def examine(index: int) -> ImageProfile | str:
        try:
            return profile_image(*found.read(index), len(found.classes))
        except DamagedError:
            raise
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:  # decoding releases the GIL
        seen = list(track(console, "reading images")(pool.map(examine, range(len(found.ids))), len(found.ids)))
    good = [index for index, one in enumerate(seen) if isinstance(one, ImageProfile)]
    rest = dataclasses.replace(
        found,
        ids=[found.ids[index] for index in good],
        groups=[found.groups[index] for index in good],
        read=lambda index: found.read(good[index]),
        faults=[*found.faults, *(fault for fault in seen if isinstance(fault, str)), *_without_spacing(found, data)],
        spacings=[found.spacings[index] for index in good],
    )
    return rest, Profile(rest.ids, rest.groups, rest.classes, [one for one in seen if isinstance(one, ImageProfile)])


def _folder(data: Data, console: Console) -> Source:
    """Read a folder's files one by one: a fault in one of them does not hide the others."""
    if not (data.images or data.table):
        raise MissingError("the data set 'folder' needs images: name the folder with --config.data.images=FOLDER")
    local(data.data_dir)  # nothing is built there, but launch.cv will
    given = settings(**dataset.folder_options(data))
    checked = check.check(given, track(console, "reading masks"))
    found = checked.found
    name = layout.called(given)
    if found is None:
        return Source(name, [], [], (), 1, _nothing, {}, "", checked.faults, checked.notes)
    pairs, reading, names = found.pairs, found.reading, found.names
    single = [pair.id for pair, slices in zip(pairs, found.slices, strict=True) if slices == 1]
    of_pairs = [pairs[number] for number, _, _ in names]
    return Source(
        name=name,
        ids=[name for _, _, name in names],
        groups=[checked.groups.get(pair.id) or pair.group or pair.id for pair in of_pairs],
        classes=reading.classes,
        channels=found.channels,
        read=by_slice(found),
        kinds=checked.kinds,
        description=found.describe() if len(reading.classes) <= labels.MAX_CLASSES else "",
        faults=checked.faults + ([neighbours.missing(single[0], data.context)] if data.context and single else []),
        notes=checked.notes,
        spacings=[found.spacings[number] for number, _, _ in names],
        proposed=checked.suits,
    )


def _built(data: Data, console: Console) -> Source:
    """Read what a builder has built; it has checked the files."""
    builder = dataset.built(data, console)
    logging.set_verbosity(logging.ERROR)  # TFDS warns that it decodes without OpenCV
    examples, features = builder.as_data_source(split="train"), builder.info.features
    undecoded = {key: tfds.decode.SkipDecoding() for key in ("image", "mask")}
    plain = builder.as_data_source(split="train", decoders=undecoded)
    names = [(example["id"].decode(), example["group"].decode()) for example in plain]
    spacings = [tuple(map(float, example["spacing"])) for example in plain]
    single = [example["id"].decode() for example in plain if data.context and not example["volume"]]
    channels = features["image"].shape[-1]

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(examples[index]["image"]), np.asarray(examples[index]["mask"])[..., 0]

    return Source(
        name=dataset.name_of(builder),
        ids=[name for name, _ in names],
        groups=[group for _, group in names],
        classes=tuple(builder.info.metadata["classes"]),
        channels=channels,
        read=read,
        kinds={pixels.kind(channels): len(names)},
        description=f"{len(names)} images, as the builder {builder.info.name} reads them from its files",
        faults=[neighbours.missing(single[0], data.context)] if single else [],
        notes=[],
        spacings=[(height, width) for height, width in spacings],
    )


def _without_spacing(found: Source, data: Data) -> list[str]:
    """Say which images cannot be brought to a common spacing."""
    reasons: dict[str, list[str]] = {}
    for id_, spacing in zip(found.ids, found.spacings, strict=True):
        try:
            trained_size((1, 1), data, spacing)
        except InputError as error:
            reasons.setdefault(str(error), []).append(id_)
    return [f"{first_few(ids)}: {reason}" for reason, ids in reasons.items()]


def _nothing(index: int) -> tuple[np.ndarray, np.ndarray]:
    raise IndexError(index)
