"""Settings that suit a data set: names of its classes, groups of related images, and what `advice` proposes."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import pandas as pd

from datasets.errors import DataError
from datasets.folder import groups as folder_groups
from datasets.folder import labels, proposal
from launch.console import config as configs
from launch.preview import training_size
from launch.preview.source import Source
from sharp_unet_jax.advice import memory, settings
from sharp_unet_jax.advice.profile import Profile
from sharp_unet_jax.advice.settings import Advice
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import neighbours
from sharp_unet_jax.storage import atomic, spreadsheet


def suggest(
    config: Config, given: Collection[str], source: Source, profile: Profile, output: Path, device: jax.Device
) -> list[Advice]:
    """Return the settings that suit, each with its reason; write groups.csv to `output` where one is suggested.

    `given` names the fields that the command line sets; their values stay.
    """
    changes = [*_reading(source), *_groups(config, source, profile, output)]
    # The settings of a built-in data set are its paper's.
    kept = {*given, *(() if config.data.builder == "folder" else ("data.size", "data.fit", "batch_size"))}
    room, fast = memory.at_hand(device), device.platform != "cpu"
    channels = neighbours.channels(source.channels, config.data.context)

    def suits(config: Config) -> list[Advice]:
        sizes = training_size.sizes(config.data, source, profile)
        return settings.settings(config, profile, sizes, channels=channels, room=room, fast=fast, kept=kept)

    better = applied(config, changes)
    found = suits(better)
    whole = "data.fit" not in kept and better.data.fit != "crop"
    if whole and (why := _crops(applied(better, found), source, profile)):
        of_crops = [Advice("data.fit", "crop", why)]
        found = of_crops + suits(applied(better, of_crops))
    return changes + found


def applied(config: Config, changes: Sequence[Advice]) -> Config:
    """Return `config` with the changes."""
    for each in changes:
        config = configs.override(config, each.field, each.value)
    return config


def _crops(config: Config, source: Source, profile: Profile) -> str:
    """Say why crops suit better than the size of the config; "" if they do not."""
    size = config.data.size
    if settings.shrinkage(profile.sizes, size) < settings.SHRUNK or len(source.classes) > labels.MAX_CLASSES:
        return ""  # without a look at the masks, which takes time
    return settings.crops(profile.sizes, size, training_size.ceilings(config.data, source, profile))


def _reading(source: Source) -> list[Advice]:
    reasons = {
        "classes": "lets the masks be read; give the classes your own names",
        "labels": "reads each numbered object as foreground",
        "ignore": "neither trains on nor scores pixels of this value, if they are not annotated",
    }
    text = {name: proposal.text_of(value) for name, value in source.proposed.items()}
    return [
        Advice(f"data.{name}", value, reasons.get(name, "pairs images and masks by their names"))
        for name, value in text.items()
    ]


def _groups(config: Config, source: Source, profile: Profile, output: Path) -> list[Advice]:
    """Suggest folds that keep copies and near-duplicates together, where there are any and the folds can be filled."""
    families = len(set(profile.families))
    if profile.grouped or families == len(profile.ids):
        missing = profile.grouped and not config.grouped
        return [Advice("grouped", "true", "keeps each group in one fold")] if missing else []
    groups = _named(profile.ids, profile.families)
    # The table must name every image of the folder, so there must be none that could not be read.
    if config.data.builder != "folder" or source.faults:
        return []
    with_groups = dataclasses.replace(profile, groups=groups)
    if not settings.fold_count(dataclasses.replace(config, grouped=True), with_groups)[0]:
        return []
    path, table = output / "groups.csv", _table(profile.ids, groups)
    why = f"{len(profile.ids)} images in {families} groups, copies and near-duplicates in one; add what else is related"
    if not _edited(path):
        atomic.write_text(path, table)
    else:
        why = "kept as it is there, changed by hand"
        try:
            folder_groups.groups(path, profile.ids)
        except DataError as error:
            why += f", but {error}"
        why += "; delete it to have copies and near-duplicates grouped again"
    return [Advice("data.groups", str(path), why), Advice("grouped", "true", "keeps each group in one fold")]


def _named(ids: Sequence[str], families: Iterable[Any]) -> list[str]:
    """Return the group of each image: the first image of its family."""
    first: dict[str, str] = {}
    return [first.setdefault(str(family), name) for name, family in zip(ids, families, strict=True)]


def _table(ids: Sequence[str], groups: Sequence[str]) -> str:
    return spreadsheet.csv(pd.DataFrame({"id": ids, "group": groups}))


def _edited(path: Path) -> bool:
    """Say whether groups.csv is another than that of the images.csv beside it, which were written together."""
    if not path.exists():
        return False
    try:
        headings, *lines = spreadsheet.rows((path.parent / "images.csv").read_bytes())
        ids, families = ([line[headings.index(name)] for line in lines] for name in ("id", "relatives"))
    except (OSError, ValueError, IndexError):
        return True
    return path.read_bytes() != _table(ids, _named(ids, families)).encode()  # an edited table may have any encoding
