"""The output folder of `launch.predict`: which files it gets, and the record that keeps two predictions apart."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets.formats import search
from datasets.formats.search import Input
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.storage.atomic import write_json

AREAS = "areas.csv"  # the table of areas, see launch.prediction.areas


class Output(NamedTuple):
    """The folder to write to, and the kinds of files to write."""

    folder: Path
    extras: tuple[str, ...] = ()  # "probabilities" and "overlays", where they are asked for beside the masks


def paths(output: Output, one: Input) -> list[Path]:
    """Return the files of an input: its mask first, then one file for each of the extras, in their order."""
    suffixes = {"masks": one.family.MASK, "probabilities": one.family.PROBABILITIES, "overlays": one.family.OVERLAYS}
    return [output.folder / kind / f"{one.name}{suffixes[kind]}" for kind in ("masks", *output.extras)]


def is_done(output: Output, one: Input) -> bool:
    """Say whether all files of an input are there."""
    return all(path.exists() for path in paths(output, one))


def check(output: Output, given: Sequence[str]) -> None:
    """Refuse an output folder that is an input of the command, or that holds files which this command did not write.

    `given` are the inputs as on the command line. Raises InputError.
    """
    folder = output.folder
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: name a folder for the masks")
    if any(Path(text).resolve() == folder.resolve() for text in given):
        raise InputError(f"{folder} is the input as well as the output: name another folder for the masks")
    ours = [folder / name for name in ("masks", AREAS, *output.extras)]
    if not (folder / search.PREDICTION).exists() and (there := [path for path in ours if path.exists()]):
        raise InputError(f"{there[0]} was not written by this command: name another folder for the masks")


def begin(output: Output, members: Sequence[Trained], inputs: Sequence[Input], options: dict[str, Any]) -> None:
    """Write prediction.json: the runs, the options and the file of each input.

    Raises InputError where the folder's prediction.json names other runs or options, or another file for an input:
    masks of two predictions would be mixed.
    """
    now = {
        "classes": list(members[0].classes),
        "threshold": members[0].config.threshold,
        "runs": {member.name: checkpoint.digest(member.weights) for member in members},
        **options,
    }
    now = json.loads(json.dumps(now))  # tuples become lists, as in the file
    path = output.folder / search.PREDICTION
    try:
        before = json.loads(path.read_text()) if path.exists() else now
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): name another folder, or delete this one") from error
    for field in now:
        if before.get(field) != now[field]:
            raise InputError(
                f"{output.folder} holds masks predicted with other {field}: name another folder, or delete this one"
            )
    sources = before.get("inputs", {})
    for one in inputs:
        source = str(one.paths[0]) if len(one.paths) == 1 else f"{one.paths[0].parent} ({len(one.paths)} files)"
        there = sources.setdefault(one.name, source)
        if there != source:
            raise InputError(
                f"{output.folder} holds {one.name} of {there}, and now it is {source}: name another folder"
            )
    write_json(path, {**now, "inputs": sources})
