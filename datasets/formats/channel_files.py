"""Channels that are files of their own: a_DAPI.png and a_GFP.png are two channels of the image "a".

The endings of the names say which channel a file is: those of `config.Data.channel_files`, or nnU-Net's _0000, _0001,
..., which `numbered` recognises.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from datasets import files
from datasets.errors import DataError
from datasets.formats import grid
from datasets.formats.stack import Header, Stack


def stripped(stem: str, endings: Sequence[str]) -> tuple[str, int] | None:
    """Return a file's name without the ending of its channel, and the channel's number; None without such an ending.

    The longest ending counts. Upper and lower case do not matter, nor how accents are encoded. An ending that begins
    with a letter or digit needs a space, "_", "." or "-" before it, which is no part of the name: "a_DAPI" is the
    channel "DAPI" of "a".
    """
    stem = unicodedata.normalize("NFC", stem)
    for channel, ending in sorted(enumerate(endings), key=lambda each: -len(each[1])):
        ending = unicodedata.normalize("NFC", ending)
        name, end = stem[: -len(ending)], stem[-len(ending) :]
        if ending[:1].isalnum():
            name, apart = name[:-1], name[-1:] in tuple(" _.-")
        else:
            apart = True
        if name and apart and end.casefold() == ending.casefold():
            return name, channel
    return None


def split(
    named: Iterable[tuple[str, Path]], endings: Sequence[str], faults: list[str] | None = None
) -> dict[str, tuple[Path, ...]]:
    """Return the files of each image, one per channel in the order of `endings`, by the image's name.

    Args:
        named: files with their names without suffix; a name may hold folders.
        endings: of the names, in the order of the channels.
        faults: gets a line for a file without ending, two files of one channel, or an image that lacks a channel;
            these files are left out. Without the list, the first such line is raised as DataError.
    """
    found: dict[str, tuple[str, dict[int, Path]]] = {}  # by names without case or the encoding of accents
    for name, path in named:
        with files.collecting(faults):
            place = stripped(name, endings)
            if place is None:
                raise DataError(
                    f"{path}: its name ends in none of {', '.join(endings)}, the endings of channels "
                    "(data.channel_files); rename or remove it"
                )
            _, of_image = found.setdefault(unicodedata.normalize("NFC", place[0]).casefold(), (place[0], {}))
            if (other := of_image.setdefault(place[1], path)) is not path:
                raise DataError(f"{other} and {path} are the same channel of one image; remove one of them")
    whole = {}
    for name, by_channel in found.values():
        with files.collecting(faults):
            if lacking := [ending for number, ending in enumerate(endings) if number not in by_channel]:
                raise DataError(f"{by_channel[min(by_channel)]}: the image has no file of {lacking[0]}; add it")
            whole[name] = tuple(by_channel[number] for number in range(len(endings)))
    return whole


def numbered(stems: Iterable[str]) -> tuple[str, ...]:
    """Return nnU-Net's endings _0000, _0001, ... if all names have one, and none is left out; else ().

    The frames of a video may have such names too: the caller must see that the files are channels.
    """
    found = sorted({end[0] if (end := re.search(r"_\d{4}$", stem)) else "" for stem in stems})
    return tuple(found) if found == [f"_{channel:04}" for channel in range(len(found))] else ()


def header(headers: Sequence[Header], paths: Sequence[Path]) -> Header:
    """Return the header of an image from those of the files of its channels. Raises DataError where they differ."""
    first = headers[0]
    for one, path in zip(headers, paths, strict=True):
        _check_alike((first.slices, *first.size), (one.slices, *one.size), paths[0], path)
        grid.check(one, first, path, paths[0])
    return Header(
        first.slices,
        first.size,
        sum(one.channels for one in headers),
        any(one.deep for one in headers),
        " + ".join(dict.fromkeys(one.kind for one in headers)),
        max(one.orientation for one in headers),
        first.patient,
        first.grid,
        first.spacing,
        axes=first.axes,
        as_stored=all(one.as_stored for one in headers),
    )


def joined(stacks: Sequence[Stack], paths: Sequence[Path]) -> Stack:
    """Return the pictures whose channels `stacks` hold, files with the `paths`; dtypes become one that holds all.

    Raises DataError where sizes or slices differ.
    """
    first, *others = stacks
    for one, path in zip(others, paths[1:], strict=True):
        (n, height, width), (slices, rows, columns) = first.pictures.shape[:3], one.pictures.shape[:3]
        _check_alike((n, width, height), (slices, columns, rows), paths[0], path)
    planes = [one.pictures for one in stacks]
    if len({plane.dtype for plane in planes}) > 1:  # True is white beside numbers, as it is by itself
        planes = [plane.astype(np.uint8) * 255 if plane.dtype == bool else plane for plane in planes]
    return first._replace(pictures=np.concatenate(planes, axis=-1), ct=any(one.ct for one in stacks))


def _check_alike(one: tuple[int, ...], other: tuple[int, ...], first: Path, path: Path) -> None:
    """Compare (slices, width, height). Raises DataError."""
    if one != other:
        sizes = ["x".join(map(str, size[1:])) + f" x {size[0]} slices" * (one[0] != other[0]) for size in (one, other)]
        raise DataError(
            f"{first} is {sizes[0]} but {path.name} is {sizes[1]} (width x height); the channels of an image "
            "have one size"
        )
