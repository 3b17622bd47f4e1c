"""The output folder of `launch.predict`: which files it gets, and the record that keeps two predictions apart."""

import json
import os
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from datasets.formats import search
from datasets.formats.search import Input
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.storage import checkpoint, contents
from sharp_unet_jax.storage.atomic import clear_dead, write_json
from sharp_unet_jax.storage.layout import CHOICE
from sharp_unet_jax.storage.reading import read_json

AREAS = "areas.csv"  # the table of areas, see launch.prediction.areas


class Prediction(TypedDict):
    """The content of prediction.json."""

    classes: list[str]  # background first
    rule: contents.RuleFields  # how probabilities became masks
    runs: dict[str, str]  # digests of the weights by run
    flips: bool
    rotations: bool
    tile: list[int] | None  # height and width
    inputs: dict[str, str]  # files by name


class Output(NamedTuple):
    """The folder to write to, and the kinds of files to write."""

    folder: Path
    extras: tuple[str, ...] = ()  # those of `search.OUTPUTS` that are asked for beside the masks


def paths(output: Output, one: Input) -> list[Path]:
    """Return the files of an input: its mask first, then one file for each of the extras, in their order.

    Every file that is written for an input is one of these. Raises InputError for one that would lie outside the
    folder: names come from others, and a folder in it may be a link.
    """
    suffixes = {
        "masks": one.family.MASK,
        "probabilities": one.family.PROBABILITIES,
        "overlays": one.family.OVERLAYS,
        "disagreement": one.family.MAP,
        "disagreement_overlays": one.family.OVERLAYS,
    }
    names = [Path(f"{kind}/{one.name}{suffixes[kind]}") for kind in ("masks", *output.extras)]
    folder = os.path.realpath(output.folder)
    for name in names:
        wanted = os.path.join(folder, name.parent)
        if os.path.realpath(wanted) != wanted:
            raise InputError(f"{output.folder / name} leads elsewhere, by a link or by its name: name another folder")
    return [output.folder / name for name in names]


def is_written(output: Output, one: Input) -> bool:
    """Say whether all files of an input are there, and none is empty."""
    return all(path.is_file() and path.stat().st_size for path in paths(output, one))


def is_older(output: Output, one: Input) -> bool:
    """Say whether an input was changed after a file of it was written; its time may also lie in the future."""
    changed = max((path.stat().st_mtime_ns for path in one.paths if path.exists()), default=0)
    written = [path.stat().st_mtime_ns for path in paths(output, one) if path.exists()]
    return changed <= time.time_ns() and any(each < changed for each in written)


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
    """Write prediction.json: the runs, the options and the file of each input. Clear what killed commands left.

    Raises InputError where the folder's prediction.json is damaged, names other runs or options, or another file for
    an input: masks of two predictions would be mixed.
    """
    now: dict[str, Any] = {
        "classes": list(members[0].classes),
        "rule": members[0].rule._asdict(),
        "runs": {member.name: checkpoint.digest(member.weights) for member in members},
        **options,
    }
    now = json.loads(json.dumps(now))  # tuples become lists, as in the file
    path = output.folder / search.PREDICTION
    before: Mapping[str, Any] = {**now, "inputs": {}}
    if path.exists():
        known = read_json(path, Prediction, remedy="name another folder, or delete this one")
        before = known if _holds_any(output) else before
    for field in now:
        if before[field] != now[field]:
            of = f"{CHOICE}, which --plain leaves out" if members[0].chosen else f"the config, without {CHOICE}"
            why = f" (now that of {of})" if field == "rule" else ""
            raise InputError(
                f"{output.folder} holds a prediction with other {field}{why}: name another folder, or delete this one"
            )
    sources = before["inputs"]
    for one in inputs:
        paths(output, one)  # refuses the input before anything is written
        file = one.where if len(one.paths) == 1 else f"{one.where} ({len(one.paths)} files)"
        name, source = _as_text(one.name), _as_text(file)
        there = sources.setdefault(name, source)
        if there != source:
            raise InputError(f"{output.folder} holds {name} of {there}, and now it is {source}: name another folder")
    write_json(path, {**now, "inputs": sources})
    if _ignores_case(output.folder):
        _check_case(sources)
    clear_dead(output.folder)
    for kind in search.OUTPUTS:
        for folder, _, _ in os.walk(output.folder / kind):
            clear_dead(Path(folder))


def _holds_any(output: Output) -> bool:
    """Say whether a command has written a mask or a row to the folder: one that failed early leaves neither."""
    table = output.folder / AREAS
    rows = table.exists() and len(table.read_bytes().splitlines()) > 1
    return rows or any(path.is_file() for kind in search.OUTPUTS for path in (output.folder / kind).rglob("*"))


def _as_text(name: str) -> str:
    """Return a name with bytes that are not UTF-8 as "\\xe9": JSON holds text."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _ignores_case(folder: Path) -> bool:
    """Say whether A and a are one file in `folder`, as on most disks of macOS and Windows."""
    return (folder / search.PREDICTION.upper()).exists()


def _check_case(names: Iterable[str]) -> None:
    """Refuse names that would be one file on a disk that ignores case. Raises InputError."""
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise InputError(f"{other} and {name} would be one file on a disk that ignores case: rename one")
