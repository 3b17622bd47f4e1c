"""The user's files scanned before anything is built: the pairs, and how their files are read."""

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from datasets import files, formats
from datasets.errors import DataError
from datasets.folder import class_names, labels, layout, pairs, palettes, volumes
from datasets.folder import images as image_files
from datasets.folder import masks as mask_files
from datasets.folder.drawn import Drawn
from datasets.folder.names import first_few
from datasets.folder.settings import Settings
from datasets.formats.stack import Header, How, Spacing, is_possible
from sharp_unet_jax.data.pixels import Window, check_pairs, check_window, kind, ranges, such
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.metrics import IGNORE, foreground


@dataclass(frozen=True)
class Scan:
    """A set of images and masks that can be built."""

    settings: Settings  # with both folders
    pairs: tuple[pairs.Pair, ...]
    slices: tuple[int, ...]  # of each pair
    spacings: tuple[Spacing, ...]  # of each pair's pixels, 0 where the file does not say
    axes: tuple[str, ...]  # of each pair, see `Header`
    sizes: tuple[tuple[int, int], tuple[int, int]]  # smallest and largest, (width, height)
    channels: int  # of all images; 3 where some are grey and some RGB
    window: Window | None  # becomes 0 to 255 of images of more than 8 bits; None if there are none
    reading: labels.Reading | Drawn
    empty: int  # masks without foreground
    inverted: int  # masks that ask to show 0 as white, and whose classes have no values

    def describe(self) -> str:
        """Describe the set in one paragraph."""
        small, large = (f"{width}x{height}" for width, height in self.sizes)
        size = f"all {small}" if small == large else f"{small} to {large}"
        depth = f", deeper than 8 bits: {ranges(self.window)} becomes 0 to 255" if self.window else ""
        empty = f"; {self.empty} of the masks are empty" if self.empty else ""
        if self.inverted:
            empty += (
                f"; {self.inverted} of the masks ask to show 0 as white, and are read by their numbers: if 0 is an "
                "object, name the classes with their values"
            )
        axis = f"{self.settings.axis} " if any(volumes.is_nifti(pair) for pair in self.pairs) else ""
        slices = f" ({len(self.names)} {axis}slices)" if len(self.names) > len(self.pairs) else ""
        return (
            f"{len(self.pairs)} images{slices}{pairs.describe(self.settings)}; {size} (width x height), "
            f"{kind(self.channels)}{depth}; {self.reading.describe()}{empty}."
        )

    @functools.cached_property
    def names(self) -> list[tuple[int, int, str]]:
        """The pair, the slice and the id of each example: a pair of one slice has its own id."""
        return [
            (number, index, pair.id if slices == 1 else f"{pair.id}-{index:03}")
            for number, (pair, slices) in enumerate(zip(self.pairs, self.slices, strict=True))
            for index in range(slices)
        ]

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the image (n, H, W, C) and the labels (n, H, W) of a pair, both uint8. Raises DataError."""
        image = image_files.read(self.pairs[number].image, self.channels, self.window, self.settings.how)
        return image, self.labels(number)

    def labels(self, number: int) -> np.ndarray:
        """Return the labels (n, H, W) uint8 of a pair. Raises DataError."""
        return self.reading.labels(self.pairs[number].mask, self.how(number))

    def how(self, number: int) -> How:
        """Return how the mask of a pair is read: a NIfTI volume is turned into the axes of its image."""
        return self.settings.how._replace(seen=self.axes[number])


def by_slice(found: Scan) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Return the function that reads an example of `found.names`: image (H, W, C) and labels (H, W), both uint8.

    Threads may call it. The volumes read last are kept, two at most, since their next slices are wanted next.
    """
    volume, lock = functools.lru_cache(maxsize=2)(found.read), threading.Lock()

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        number, at, _ = found.names[index]
        if found.slices[number] == 1:
            image, labels = found.read(number)
        else:
            with lock:  # or each thread would read the volume
                image, labels = volume(number)
        return image[at], labels[at]

    return read


class Scanned(NamedTuple):
    """A pair and what its files say of themselves."""

    pair: pairs.Pair
    header: Header
    mask: mask_files.Summary


def scan(given: Settings) -> Scan:
    """Pair the files, read every mask, and every image's header; images of more than 8 bits are read whole.

    Raises DataError for the first fault.
    """
    given = layout.complete(given)
    scanned, indices = scan_pairs(given)
    return assemble(given, scanned, labels.decide([each.mask for each in scanned], given, indices=indices))


def scan_pairs(
    given: Settings,
    faults: list[str] | None = None,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items,
) -> tuple[list[Scanned], bool]:
    """Return every pair, and whether palettes are read as indices.

    Args:
        given: the user's settings.
        faults: gets the faults, and pairs with a fault are left out; without it the first fault is raised as DataError.
        track: `track(items, total)` may wrap the iteration to show its progress.
    """
    paired, how, apart = pairs.pairs(given, faults), given.how, bool(given.class_files)
    scanned = []
    for pair in track(paired, len(paired)):
        with files.collecting(faults):
            header = formats.header(pair.image, how)
            mask = mask_files.summarise(pair.mask, how._replace(seen=header.axes), indices=True, apart=apart)
            one = Scanned(pair, header, mask)
            _check_sizes(one)
            _check_turn(one, how)
            volumes.check_grids(pair, header, how)
            scanned.append(one)
    indices = palettes.by_index([one.mask for one in scanned], class_names.codes(given))
    if not indices:
        scanned = [
            one._replace(mask=mask_files.summarise(one.pair.mask, one.mask.how, indices=False, apart=apart))
            for one in scanned
        ]
    return scanned, indices


def assemble(given: Settings, scanned: Sequence[Scanned], reading: labels.Reading | Drawn) -> Scan:
    """Return the set of all these pairs.

    Raises DataError where all masks are empty, for masks without a pixel that is scored, since any prediction would
    do, where channels differ, and where a slice has the name of another image.
    """
    if unscored := [one.pair.id for one in scanned if (reading.found(one.mask) == IGNORE).all()]:
        raise DataError(
            f"{given.masks or given.table}: all pixels of {first_few(unscored)} are ignored; remove the image"
        )
    empty = sum(not foreground(reading.found(one.mask)).any() for one in scanned)
    if empty == len(scanned):
        images = given.images or given.table
        why = [f"are these the masks of {images}?", *(reading.notes if reading.kind == "drawn" else ())]
        raise DataError(f"{given.masks or images}: all {empty} masks are empty; {'; '.join(why)}")
    channels = _channels(scanned)
    by_area = sorted({one.header.size for one in scanned}, key=lambda size: (size[0] * size[1], size))
    found = Scan(
        settings=given,
        pairs=tuple(replace(one.pair, group=one.pair.group or one.header.patient) for one in scanned),
        slices=tuple(one.header.slices for one in scanned),
        spacings=tuple(_spacing(one.header) for one in scanned),
        axes=tuple(one.header.axes for one in scanned),
        sizes=(by_area[0], by_area[-1]),
        channels=channels,
        window=_window(given, scanned, channels),
        reading=reading,
        empty=empty,
        inverted=0 if any("=" in name for name in given.classes) else sum(one.mask.inverted for one in scanned),
    )
    _check_names(found)
    return found


def _check_names(found: Scan) -> None:
    """Refuse a slice that is called as another image is. Raises DataError."""
    number_of: dict[str, int] = {}
    for number, _, name in found.names:
        if (first := number_of.setdefault(name, number)) != number:
            both = f"{found.pairs[first].image[0]} and {found.pairs[number].image[0]}"
            raise DataError(f"{both} would both hold the image {name}; rename one of them")


def _spacing(header: Header) -> Spacing:
    return header.spacing if header.spacing and is_possible(header.spacing) else (0.0, 0.0)


def _channels(scanned: Sequence[Scanned]) -> int:
    """Return the number of channels of all images: grey ones count as RGB among RGB. Raises DataError."""
    first_of: dict[int, Scanned] = {}
    for one in scanned:
        first_of.setdefault(one.header.channels, one)
    if len(first_of) > 1 and first_of.keys() != {1, 3}:
        odd = next(number for number in first_of if number not in (1, 3))
        other = next(number for number in first_of if number != odd)
        raise DataError(
            f"{first_of[odd].pair.image[0]} is {such(odd)} but {first_of[other].pair.image[0]} is {such(other)}; all "
            "images of a set have the same channels: save them alike, or apart"
        )
    return max(first_of)


def _window(given: Settings, scanned: Sequence[Scanned], channels: int) -> Window | None:
    """Return the window of images of more than 8 bits: as set, or found; None without such images. Raises DataError."""
    deep = [one.pair.image for one in scanned if one.header.deep]
    if given.window:
        try:
            check_window("data.window", given.window)
            check_pairs("data.window", given.window, channels)
        except InputError as error:
            raise DataError(str(error)) from error
        if not deep:
            raise DataError("data.window: all images have 8 bits per channel and stay as they are; leave it out")
        return given.window
    apart = any(one.header.apart for one in scanned if one.header.deep)
    by_channel = channels not in (1, 3) or apart or any(map(formats.are_channels, deep))
    return image_files.common_window(deep, given.how, by_channel=by_channel) if deep else None


def _check_sizes(one: Scanned) -> None:
    held = (one.header.slices, one.header.size), (one.mask.slices, one.mask.size)
    if held[0] == held[1]:
        return
    sizes = " but its mask {} is ".join(f"{w}x{h}{volumes.times(n)}" for n, (w, h) in held)
    rotated = " (EXIF rotates the image, which is not done here)" if one.header.rotated else ""
    pages = one.mask.slices == 1 < one.header.slices and one.pair.image[0].suffix.lower() in files.TIF
    channels = "; if they are channels, give --config.data.pages=channels" if pages else ""
    raise DataError(
        f"{one.pair.image[0]} is {sizes.format(one.pair.mask[0].name)} (width x height){rotated}; they must be equal"
        f"{channels}"
    )


def _check_turn(one: Scanned, how: How) -> None:
    """Refuse an image that EXIF turns without a change of size: its mask may fit the image as stored or as shown."""
    width, height = one.header.size
    if not one.header.rotated or (one.header.orientation > 4 and width != height):
        return
    # Programs to annotate differ: LabelMe shows the image turned, and its points are of what it shows.
    if one.mask.drawn or formats.header(one.pair.mask[:1], how).orientation != one.header.orientation:
        raise DataError(
            f"{one.pair.image[0]}: its EXIF data ask to show it rotated or mirrored, at the same size; was the mask "
            "drawn on it as stored, or as shown? save the image as the mask fits it, without the request"
        )
