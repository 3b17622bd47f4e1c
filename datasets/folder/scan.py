"""The user's files scanned before anything is built: the pairs, and how their files are read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from datasets import files, formats
from datasets.folder import images as image_files
from datasets.folder import labels, layout, pairs
from datasets.folder import masks as mask_files
from datasets.folder.settings import Settings
from datasets.formats.stack import Header


@dataclass(frozen=True)
class Scan:
    """A set of images and masks that can be built."""

    settings: Settings  # with both folders
    pairs: tuple[pairs.Pair, ...]
    slices: tuple[int, ...]  # of each pair
    sizes: tuple[tuple[int, int], tuple[int, int]]  # smallest and largest, (width, height)
    channels: int  # 1 if all images are grey, else 3
    window: tuple[float, float] | None  # becomes 0 to 255 of images of more than 8 bits; None if there are none
    reading: labels.Reading
    empty: int  # masks without foreground

    def describe(self) -> str:
        """Describe the set in one paragraph."""
        small, large = (f"{width}x{height}" for width, height in self.sizes)
        size = f"all {small}" if small == large else f"{small} to {large}"
        window = self.window
        depth = f", deeper than 8 bits: {window[0]:.4g} to {window[1]:.4g} becomes 0 to 255" if window else ""
        empty = f"; {self.empty} of the masks are empty" if self.empty else ""
        return (
            f"{pairs.describe(self.settings, self.pairs)}; {size} (width x height), "
            f"{'grey' if self.channels == 1 else 'RGB'}{depth}; {self.reading.describe()}{empty}."
        )

    @property
    def names(self) -> list[tuple[int, int, str]]:
        """The pair, the slice and the id of each example: a pair of one slice has its own id."""
        return [
            (number, index, pair.id if slices == 1 else f"{pair.id}-{index:03}")
            for number, (pair, slices) in enumerate(zip(self.pairs, self.slices, strict=True))
            for index in range(slices)
        ]

    def read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the image (n, H, W, C) and the labels (n, H, W) of a pair, both uint8. Raises DataError."""
        pair, how = self.pairs[number], self.settings.how
        image = image_files.read(pair.image, self.channels, self.window, how)
        return image, self.reading.labels(pair.mask, how)


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
    paired, how = pairs.pairs(given, faults), given.how
    scanned = []
    for pair in track(paired, len(paired)):
        with files.collecting(faults):
            header = formats.header(pair.image, how)
            one = Scanned(pair, header, mask_files.summarise(pair.mask, how, indices=True))
            _check_sizes(one)
            scanned.append(one)
    indices = mask_files.palettes_agree([one.mask for one in scanned])
    if not indices:
        scanned = [one._replace(mask=mask_files.summarise(one.pair.mask, how, indices=False)) for one in scanned]
    return scanned, indices


def assemble(given: Settings, scanned: Sequence[Scanned], reading: labels.Reading) -> Scan:
    """Return the set of all these pairs. Raises DataError where all masks are empty."""
    empty = sum(not reading.decode(one.mask.values).any() for one in scanned)
    if empty == len(scanned):
        images = given.images or given.table
        raise files.DataError(f"{given.masks or images}: all {empty} masks are empty; are these the masks of {images}?")
    deep = [one.pair.image for one in scanned if one.header.deep]
    by_area = sorted({one.header.size for one in scanned}, key=lambda size: (size[0] * size[1], size))
    return Scan(
        settings=given,
        pairs=tuple(one.pair for one in scanned),
        slices=tuple(one.header.slices for one in scanned),
        sizes=(by_area[0], by_area[-1]),
        channels=max(one.header.channels for one in scanned),
        window=image_files.common_window(deep, given.how) if deep else None,
        reading=reading,
        empty=empty,
    )


def _check_sizes(one: Scanned) -> None:
    if (one.header.slices, one.header.size) == (one.mask.slices, one.mask.size):
        return
    sizes = " but its mask {} is ".join("{}x{}".format(*size) for size in (one.header.size, one.mask.size))
    rotated = " (EXIF rotates the image, which is not done here)" if one.header.rotated else ""
    raise files.DataError(
        f"{one.pair.image[0]} is {sizes.format(one.pair.mask[0].name)} (width x height){rotated}; they must be equal"
    )
