"""A look at a data set before any training: python -m launch.prepare --config=folder.py --config.data.images=IMAGES ...

Reads every image and mask of the config's data set, says what it found, what launch.cv would refuse and which settings
suit, and ends with the command to give next. --output (default: prepared/NAME) gets report.md, contact.png, images.csv
(a row an image) and, where images look like copies of others, groups.csv. Nothing is trained. Exit code 0: launch.cv
can train on it as it is; 1: it would refuse it.
"""

import argparse
import dataclasses
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markdown import Markdown

from datasets.folder import labels
from launch.console import config as configs
from launch.console import ending, paths, runtime
from launch.preview import contact, findings, source
from launch.preview.source import Source
from sharp_unet_jax.advice import memory, settings
from sharp_unet_jax.advice import profile as data
from sharp_unet_jax.advice.profile import Profile
from sharp_unet_jax.advice.settings import Advice
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resize import resize
from sharp_unet_jax.storage import atomic
from sharp_unet_jax.sweeps import check

SHOWN = 20  # faults on the terminal; report.md has all
SAMPLE = 40  # masks that are made small and large again


def run(arguments: Sequence[str], console: Console) -> int:
    """The whole command; returns its exit code. Raises InputError, DataError or OSError for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m launch.prepare", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--config",
        type=os.path.expanduser,
        required=True,
        help="a file of launch/configs by its bare name, or any path",
    )
    parser.add_argument("--output", type=paths.path, help="folder for what was found")
    known, rest = parser.parse_known_args(arguments)
    given = dict(configs.assignments(rest))
    config = configs.overridden(configs.load(known.config), rest)
    devices = runtime.configure()
    check.config(config, len(devices))
    found, facts = source.look(config.data, console)
    faults, notes = list(found.faults), list(found.notes)
    output = known.output or Path("prepared") / found.name.replace("/", "-")
    changes: list[Advice] = []
    number = 0  # of folds that can be filled
    if facts.ids:
        number, why = settings.fold_count(config, facts)
        faults += [why] if number != config.folds else []
        changes = [*_classes(found), *_groups(config, found, facts, output)]
        # The settings of a built-in data set are its paper's.
        kept = {*given, *(() if config.data.builder == "folder" else ("data.size", "data.fit", "batch_size"))}
        better = _changed(config, changes)
        room, fast = memory.at_hand(devices[0]), devices[0].platform != "cpu"
        changes += settings.settings(better, facts, channels=found.channels, room=room, fast=fast, kept=kept)
        if not _anything_left(config, facts, found):
            height, width = config.data.size
            faults.append(f"at {height}x{width} all masks are empty, so little is in them: raise --config.data.size")
        if len(found.classes) <= labels.MOST:
            notes.append(_ceiling(_changed(config, changes), facts, found))
        atomic.write_text(output / "images.csv", _images(facts).to_csv(index=False))
        with atomic.replacing(output / "contact.png") as path:
            contact.sheet(facts, found.read).save(path, "PNG")
    needed = {each.field: each.value for each in changes if _changed(config, [each]) != config}
    fields = [f"--config.{field}={value}" for field, value in (given | needed).items()]
    command = shlex.join(["python", "-m", "launch.cv", f"--config={known.config}", *fields])
    whole = findings.text(found, facts, faults, notes, changes)
    atomic.write_text(output / "report.md", whole + (f"\n## Run it\n\n```\n{command}\n```\n" if number else ""))
    more = [f"{len(faults) - SHOWN} more, all in {output / 'report.md'}"] if len(faults) > SHOWN else []
    console.print(Markdown(findings.text(found, facts, [*faults[:SHOWN], *more], notes, changes)))
    console.print(f"\n{output}: report.md{', contact.png, images.csv' if facts.ids else ''}")
    if faults:
        then = " Then:" if number else ""
        console.print(f"Mend what is above, or take the settings that suit, and give this command again.{then}")
    if number:
        console.print(command, soft_wrap=True)
    return 1 if faults else 0


def _changed(config: Config, changes: Sequence[Advice]) -> Config:
    for each in changes:
        config = configs.override(config, each.field, each.value)
    return config


def _classes(found: Source) -> list[Advice]:
    if not found.names:
        return []
    return [Advice("data.classes", ",".join(found.names), "makes the masks readable; give the classes your own names")]


def _groups(config: Config, found: Source, facts: Profile, output: Path) -> list[Advice]:
    """Folds that keep relatives together, where there are any and the folds can be filled."""
    number = len(set(facts.families))
    if facts.grouped or number == len(facts.ids):
        grouped = facts.grouped and not config.grouped
        return [Advice("grouped", "true", "keeps each group in one fold")] if grouped else []
    first = {int(family): facts.ids[index] for index, family in reversed(list(enumerate(facts.families)))}
    groups = [first[int(family)] for family in facts.families]
    alike = dataclasses.replace(facts, groups=groups)
    if config.data.builder != "folder" or found.faults:  # a table must name every image, those not read yet too
        return []
    if not settings.fold_count(dataclasses.replace(config, grouped=True), alike)[0]:
        return []
    path, table = output / "groups.csv", pd.DataFrame({"id": facts.ids, "group": groups}).to_csv(index=False)
    why = f"{len(facts.ids)} images in {number} groups, copies and near-duplicates in one; add what else is related"
    if path.exists() and path.read_text() != table:
        why = "kept as it is there, changed by hand; delete it to have copies and near-duplicates grouped anew"
    else:
        atomic.write_text(path, table)
    return [Advice("data.groups", str(path), why), Advice("grouped", "true", "keeps each group in one fold")]


def _anything_left(config: Config, facts: Profile, found: Source) -> bool:
    """Whether any mask still holds anything at the training size."""
    masks = (found.read(index)[1] for index in range(len(facts.ids)))
    return any(resize(mask[..., None], mask, config.data.size, config.data.fit)[1].any() for mask in masks)


def _ceiling(config: Config, facts: Profile, found: Source) -> str:
    """What the training size alone costs."""
    size, fit = config.data.size, config.data.fit
    some = np.unique(np.linspace(0, len(facts.ids) - 1, SAMPLE).astype(int)).tolist()
    scores = np.array([data.ceiling(found.read(index)[1], size, fit, len(found.classes)) for index in some])
    scores = scores[~np.isnan(scores)]
    if not len(scores):
        return "the masks looked at for what is lost at the training size are all empty"
    return (
        f"masks made {size[0]}x{size[1]} ({fit}) and large again agree with themselves by a Jaccard of "
        f"{scores.mean():.3f} (mean of {len(scores)}; lowest {scores.min():.3f}): no prediction at that size beats it"
    )


def _images(facts: Profile) -> pd.DataFrame:
    """A row an image."""
    share = facts.counts / np.maximum(facts.counts.sum(axis=1, keepdims=True), 1)
    columns: dict[str, Any] = {"id": facts.ids, "group": facts.groups, "relatives": facts.families}
    columns["height"], columns["width"] = facts.sizes.T
    columns["brightness"] = [round(one.brightness, 1) for one in facts.images]
    columns |= {f"share of {name}": share[:, label].round(6) for label, name in enumerate(facts.classes)}
    return pd.DataFrame(columns)


def main() -> None:
    """Runs the command; what the user can mend ends in one line and exit code 1."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    with ending.in_one_line():
        sys.exit(run(sys.argv[1:], console))


if __name__ == "__main__":
    main()
