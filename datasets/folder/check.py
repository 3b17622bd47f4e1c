"""All faults of the user's two folders at once: what would stop a build, and what the user should know."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from datasets import files
from datasets.errors import DataError
from datasets.folder import class_names, drawn, groups, labels, layout, masks, pairs, volumes
from datasets.folder import images as image_files
from datasets.folder.class_names import UndecidedError
from datasets.folder.names import first_few
from datasets.folder.proposal import UnpairedError
from datasets.folder.scan import Scan, Scanned, assemble, scan_pairs
from datasets.folder.settings import Settings
from sharp_unet_jax.metrics import foreground


@dataclass(frozen=True)
class Checked:
    """The faults, and the pairs without one."""

    faults: list[str]  # each stops a build; a line each
    notes: list[str]  # these do not, but the user should know them
    found: Scan | None  # None where no pair is left
    kinds: dict[str, int]  # images of each format, mode and depth
    groups: dict[str, str]  # by id; {} where no table was given, or it was refused
    suits: dict[str, Any]  # settings with which refused files pair and masks can be read, by name; {} if there are none


def check(
    given: Settings,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items,
) -> Checked:
    """Pair the files and read every mask. Raises DataError only where there are no folders, or nothing in them."""
    faults: list[str] = []
    try:
        given = layout.complete(given)
    except UnpairedError as error:
        return _otherwise(error, given, track)
    scanned, indices = scan_pairs(given, faults, track)
    if faults and (unpaired := pairs.unpaired(given)):
        return _otherwise(unpaired, given, track)
    group_of: dict[str, str] = {}
    if given.groups not in (None, groups.FOLDERS):
        with files.collecting(faults):
            group_of = groups.groups(given.groups, pairs.ids(given))
    scanned = [one for one in scanned if not one.header.deep or _can_be_decoded(one, given, faults)]
    if not scanned:
        with contextlib.suppress(DataError):
            if not (given.table or layout.annotations_of(given) or pairs.pairs(given, [])):
                faults += _naming(given)
        return Checked(faults, [], None, {}, group_of, {})
    reading, suits = _read(scanned, given, indices, faults)
    whole = None
    with files.collecting(faults):
        whole = assemble(given, scanned, reading)
    kinds = Counter(one.header.kind for one in scanned)
    return Checked(faults, _notes(given, scanned, reading), whole, dict(kinds.most_common()), group_of, suits)


def _otherwise(error: UnpairedError, given: Settings, track: Callable[[Iterable[Any], int], Iterable[Any]]) -> Checked:
    """Check the files as they pair by the settings that the error names."""
    better = check(replace(given, **error.settings), track)
    return replace(better, faults=[str(error), *better.faults], suits={**error.settings, **better.suits})


def _can_be_decoded(one: Scanned, given: Settings, faults: list[str]) -> bool:
    """Decode an image of more than 8 bits: the window of all such images needs every one of them."""
    before = len(faults)
    with files.collecting(faults):
        image_files.stored(one.pair.image, given.how)
    return len(faults) == before


def _read(
    scanned: Sequence[Scanned], given: Settings, indices: bool, faults: list[str]
) -> tuple[labels.Reading | drawn.Drawn, dict[str, Any]]:
    """Return how the masks are read and, where they are refused, the settings with which they would not be.

    Where no settings help, every value is read as a class.
    """
    summaries = [one.mask for one in scanned]
    settings: list[dict[str, Any]] = []
    try:
        return labels.decide(summaries, given, indices=indices), {}
    except UndecidedError as error:
        faults.append(str(error))
        settings.append(error.settings)
    except DataError as error:
        faults.append(str(error))
    if any(mask.drawn for mask in summaries):
        plain = replace(given, classes=drawn.proposed(summaries, given), labels="classes", ignore="")
        return drawn.decide(summaries, plain), settings[0] if settings else {}
    values = np.unique(np.concatenate([mask.values for mask in summaries]))
    if not any("=" in name for name in given.classes):
        settings += [{"classes": ("background", *rest)} for rest in _plain_names(values)]
    for proposed in settings:
        with contextlib.suppress(DataError):
            reading = labels.decide(summaries, replace(given, **proposed), indices=indices)
            if any(foreground(reading.found(mask)).any() for mask in summaries):
                return reading, proposed
    values = np.unique(masks.as_colours(values)) if values[-1] >= masks.COLOUR else values
    few = tuple(values[:255].tolist())  # labels have 8 bits
    return labels.Reading("values", few, tuple(map(class_names.show, few)), indices, tuple(range(len(few)))), {}


def _plain_names(values: np.ndarray) -> list[list[str]]:
    """Return names with which these values may be read, without the background's."""
    found = [["foreground"]]
    if len(values) <= labels.MAX_CLASSES:
        found.append([f"value{class_names.show(value)}" for value in values[1:].tolist()])
    if values[-1] < labels.MAX_CLASSES:
        found.append([f"class{label}" for label in range(1, int(values[-1]) + 1)])
    return found


def _naming(given: Settings) -> list[str]:
    names = [several[0].name for several in layout.names(given, series=False)]
    return [
        f"no pair is left: a mask has its image's name, with or without an ending such as _mask; here the first image "
        f"is {names[0]} and the first mask {names[1]}"
    ]


def _notes(given: Settings, scanned: Sequence[Scanned], reading: labels.Reading | drawn.Drawn) -> list[str]:
    notes = pairs.notes(given)
    notes += reading.notes
    if reading.kind == "binary" and len(reading.values) > 2:
        ends = 0, 255 if reading.values[-1] <= 255 else 65535
        grey = [int(one.mask.counts[~np.isin(one.mask.values, ends)].sum()) for one in scanned]
        pixels = sum(int(one.mask.counts.sum()) for one in scanned)
        notes.append(
            f"{np.count_nonzero(grey)} of {len(scanned)} masks hold greys between black and white "
            f"({sum(grey) / pixels:.2%} of all pixels): edges were blurred, and are cut in the middle"
        )
    notes += volumes.notes([(one.pair, one.header) for one in scanned])
    if blurred := sum(one.mask.jpeg for one in scanned):
        notes.append(f"{blurred} masks are JPEG or lossy WebP, which blurs edges: better export them as PNG")
    shallow = [one.pair.image[0].name for one in scanned if not one.header.deep]
    if 0 < len(shallow) < len(scanned):
        notes.append(
            f"{first_few(shallow)} have 8 bits per channel and stay as they are, and the other images are deeper: "
            "these are scaled to 8 bits by the window; check on the contact sheet that both are as bright"
        )
    if rotated := [one.pair.image[0].name for one in scanned if one.header.rotated]:
        notes.append(
            f"the EXIF data of {first_few(rotated)} ask to show them rotated or mirrored, which is not done "
            "here, to image or mask: check on the contact sheet that the masks fit"
        )
    return notes
