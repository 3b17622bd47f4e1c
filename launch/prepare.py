"""A data set checked before any training: python -m launch.prepare --config=folder.py --config.data.images=IMAGES ...

Reads every image and mask of the config's data set, says what it found, what launch.cv would refuse and which settings
suit, and ends with the command to give next. --output (default: prepared/NAME) gets report.md, contact.png, images.csv
(a row for each image), crops.png for data.fit=crop and, where images look like copies of others, groups.csv. A few
steps of training are run to say how long all of it will take; no network is kept. Exit code 0: launch.cv can train on
the data set as it is; 1: launch.cv would refuse it.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console
from rich.markdown import Markdown

from datasets.folder import labels
from datasets.folder.names import first_few
from launch.console import arguments as command_line
from launch.console import ending, paths, runtime
from launch.preview import contact, findings, hours, source, suggestions, training_size
from sharp_unet_jax.advice import settings
from sharp_unet_jax.advice.profile import Profile
from sharp_unet_jax.advice.settings import Advice
from sharp_unet_jax.config import Config
from sharp_unet_jax.storage import atomic, spreadsheet
from sharp_unet_jax.sweeps import check

SHOWN = 20  # faults on the terminal; report.md lists all


def run(arguments: Sequence[str], console: Console) -> int:
    """Run the command and return its exit code. Raises InputError, DataError or OSError for what the user can fix."""
    parser = command_line.parser_with_config("launch.prepare", __doc__)
    parser.add_argument("--output", type=paths.path, help="folder for the findings (default: prepared/NAME)")
    known, config, given = command_line.parse_with_config(parser, arguments)
    device, *others = runtime.configure()
    check.config(config, 1 + len(others))
    check.files(config)
    atomic.check_writable(known.output or Path("prepared"))
    found, profile = source.inspect(config.data, console)
    output = known.output or Path("prepared") / found.name.replace("/", "-")
    atomic.clear_dead(output)
    faults, notes = list(found.faults), list(found.notes)
    changes: list[Advice] = []
    pictures: dict[str, Image.Image] = {}
    folds, better = 0, config  # as many as can be filled; the config with the changes
    if profile.ids:
        folds, why = settings.fold_count(config, profile)
        faults += [why] if folds != config.folds else []
        changes = suggestions.suggest(config, given, found, profile, output, device)
        better = suggestions.applied(config, changes)
        at, remedy = training_size.at(config.data)
        if training_size.all_empty(config, found, profile):
            faults.append(f"at {at} all masks are empty, so little is in them: {remedy}")
        if lost := training_size.unscored(config, found, profile):
            faults.append(f"at {at} all pixels of {first_few(lost)} are ignored: {remedy}")
        if len(found.classes) <= labels.MAX_CLASSES:
            notes.append(training_size.ceiling(better, found, profile))
        atomic.write_text(output / "images.csv", spreadsheet.csv(_images(profile)))
        pictures = _pictures(better, found, profile)
        for name, picture in pictures.items():
            with atomic.replacing(output / name) as path:
                picture.save(path, "PNG")
    needed = {each.field: each.value for each in changes if suggestions.applied(config, [each]) != config}
    fields = [f"--config.{field}={value}" for field, value in (given | needed).items()]
    command = shlex.join(["python", "-m", "launch.cv", f"--config={known.config}", *fields])
    time = ""
    if folds:
        console.print("timing a few steps of training; the networks are compiled for it")
        time = hours.text(better, found, training_size.sizes(better.data, found, profile), [device, *others])
    whole = findings.text(found, profile, faults, notes, changes)
    atomic.write_text(
        output / "report.md", whole + (f"\n## Run it\n\n{time}\n\n```\n{command}\n```\n" if folds else "")
    )
    more = [f"{len(faults) - SHOWN} more, all in {output / 'report.md'}"] if len(faults) > SHOWN else []
    console.print(Markdown(findings.text(found, profile, [*faults[:SHOWN], *more], notes, changes)))
    console.print(f"\n{output}: {', '.join(['report.md', *pictures, *['images.csv'] * bool(profile.ids)])}")
    if faults:
        then = " Then:" if folds else ""
        console.print(f"Fix what is above, or take the settings that suit, and give this command again.{then}")
    if folds:
        console.print(time)
        console.print(command, soft_wrap=True)
    return 1 if faults else 0


def _pictures(config: Config, found: source.Source, profile: Profile) -> dict[str, Image.Image]:
    """Return the pictures to write, by name."""
    pictures = {"contact.png": contact.sheet(profile, found.read)}
    if config.data.fit == "crop":
        sizes = training_size.sizes(config.data, found, profile)
        pictures["crops.png"] = contact.crop_sheet(config.data, profile.ids, sizes, found.read)
    return pictures


def _images(profile: Profile) -> pd.DataFrame:
    """Return images.csv: a row for each image."""
    share = profile.counts / np.maximum(profile.counts.sum(axis=1, keepdims=True), 1)
    columns: dict[str, Any] = {"id": profile.ids, "group": profile.groups, "relatives": profile.families}
    columns["height"], columns["width"] = profile.sizes.T
    columns["brightness"] = [round(one.brightness, 1) for one in profile.images]
    columns |= {f"share of {name}": share[:, label].round(6) for label, name in enumerate(profile.classes)}
    if (profile.labelled < 1).any():
        columns["share ignored"] = (1 - profile.labelled).round(6)
    return pd.DataFrame(columns)


def main() -> None:
    """Run the command and exit with its code; an error that the user can fix is one line and code 1."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    with ending.in_one_line():
        sys.exit(run(sys.argv[1:], console))


if __name__ == "__main__":
    main()
