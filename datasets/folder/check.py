"""Everything that is to be said of the user's two folders at once: what would stop a build, and what may surprise."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets import files
from datasets.folder import images as image_files
from datasets.folder import labels, masks, pairs
from datasets.folder.scan import Found, Seen, found, see


@dataclass(frozen=True)
class Checked:
    """The pairs that can be read."""

    faults: list[str]  # what stops a build, a line each
    notes: list[str]  # what does not, but should be known
    found: Found | None  # None where nothing is left
    kinds: dict[str, int]  # of images: how many there are of each format, mode and depth
    groups: dict[str, str]  # by id; {} where no table was given, or it was refused
    classes: tuple[str, ...]  # names with which masks that were refused can be read; () where there are none


def check(
    image_folder: Path,
    mask_folder: Path | None = None,
    groups: Path | None = None,
    classes: Sequence[str] | None = None,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items,
) -> Checked:
    """Pairs the files and reads every mask. DataError only where there are no folders, or nothing in them."""
    folders = pairs.folders(image_folder, mask_folder)
    faults: list[str] = []
    every, indices = see(*folders, faults, track)
    group_of: dict[str, str] = {}
    if groups is not None:
        with files.noting(faults):
            group_of = pairs.groups(groups, [path.stem for path in pairs.listing(folders[0])])
    every = [seen for seen in every if not seen.header.deep or _readable(seen, faults)]
    if not every:
        with contextlib.suppress(files.DataError):
            if not pairs.pairs(*folders, []):
                faults += _naming(folders)
        return Checked(faults, [], None, {}, group_of, ())
    reading, names = _read(every, classes, indices, faults)
    whole = None
    with files.noting(faults):
        whole = found(folders, every, reading)
    kinds = Counter(seen.header.kind for seen in every)
    return Checked(faults, _notes(folders, every, reading), whole, dict(kinds.most_common()), group_of, names)


def _readable(seen: Seen, faults: list[str]) -> bool:
    """Whether an image deeper than 8 bits can be decoded: their common range needs all of them."""
    before = len(faults)
    with files.noting(faults):
        image_files.pixels(seen.pair.image)
    return len(faults) == before


def _read(
    every: Sequence[Seen], classes: Sequence[str] | None, indices: bool, faults: list[str]
) -> tuple[labels.Reading, tuple[str, ...]]:
    """How the masks are read; where they are refused, under which names they would be, else each value as a class."""
    looks = [seen.look for seen in every]
    with files.noting(faults):
        return labels.decide(looks, classes, indices=indices), ()
    values = np.unique(np.concatenate([look.values for look in looks]))
    names = [("background", "foreground")]
    if len(values) <= labels.MOST:
        names.append(("background", *(f"value{labels.show(v)}" for v in values[1:].tolist())))
    if values[-1] < labels.MOST:
        names.append(("background", *(f"class{label}" for label in range(1, int(values[-1]) + 1))))
    for proposed in names:
        with contextlib.suppress(files.DataError):
            reading = labels.decide(looks, proposed, indices=indices)
            if any(reading.of(look.values).any() for look in looks):
                return reading, proposed
    values = np.unique(masks.as_colours(values)) if values[-1] >= masks.COLOUR else values
    few = tuple(values[:255].tolist())  # labels are 8 bits
    return labels.Reading("values", few, tuple(map(labels.show, few)), indices), ()


def _naming(folders: tuple[Path, Path]) -> list[str]:
    names = [pairs.listing(folder)[0].name for folder in folders]
    return [
        f"no pair is left: a mask has its image's name, with or without an ending such as _mask; here the first image "
        f"is {names[0]} and the first mask {names[1]}"
    ]


def _notes(folders: tuple[Path, Path], every: Sequence[Seen], reading: labels.Reading) -> list[str]:
    notes = []
    for folder in folders:
        others = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() not in files.IMAGES]
        if names := sorted(path.name for path in others if not path.name.startswith(".")):
            notes.append(f"{folder}: {pairs.some(names)} are of no format that is read, and left alone")
        if below := sum(path.suffix.lower() in files.IMAGES for path in folder.glob("*/**/*")):
            notes.append(f"{folder}: {below} pictures in its subfolders are not read")
    if reading.how == "binary" and len(reading.values) > 2:
        ends = 0, 255 if reading.values[-1] <= 255 else 65535
        grey = [int(seen.look.counts[~np.isin(seen.look.values, ends)].sum()) for seen in every]
        pixels = sum(int(seen.look.counts.sum()) for seen in every)
        notes.append(
            f"{np.count_nonzero(grey)} of {len(every)} masks hold greys between black and white "
            f"({sum(grey) / pixels:.2%} of all pixels): edges were blurred, and are cut in the middle"
        )
    if blurred := sum(seen.pair.mask.suffix.lower() in labels.JPEG for seen in every):
        notes.append(f"{blurred} masks are JPEG, which blurs edges: better export them as PNG")
    if inverted := sum(seen.look.inverted for seen in every):
        notes.append(
            f"{inverted} masks are TIFs that ask to show 0 as white; their numbers are taken as they are: see on the "
            "contact sheet that the right side is foreground"
        )
    if turned := [seen.pair.image.name for seen in every if seen.header.turned]:
        notes.append(
            f"the EXIF data of {pairs.some(turned)} ask to show them turned or mirrored, which is not done here, to "
            "image or mask: see on the contact sheet that the masks fit"
        )
    return notes
