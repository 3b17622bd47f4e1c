"""A look at the user's two folders before anything is built: what is there, and how it will be read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from datasets import files
from datasets.folder import images as image_files
from datasets.folder import labels, pairs
from datasets.folder import masks as mask_files


@dataclass(frozen=True)
class Found:
    """A set of images and masks that can be built."""

    folders: tuple[Path, Path]
    pairs: tuple[pairs.Pair, ...]
    sizes: tuple[tuple[int, int], tuple[int, int]]  # smallest and largest, width and height
    channels: int  # 1 if all images are grey, else 3
    span: tuple[float, float] | None  # range scaled to 0..255 of images deeper than 8 bits
    reading: labels.Reading
    empty: int  # masks without foreground

    def describe(self) -> str:
        """All of it in one paragraph, for people."""
        small, large = (f"{width}x{height}" for width, height in self.sizes)
        size = f"all {small}" if small == large else f"{small} to {large}"
        depth = f", deeper than 8 bits: {self.span[0]:.4g} to {self.span[1]:.4g} becomes 0 to 255" if self.span else ""
        empty = f"; {self.empty} of the masks are empty" if self.empty else ""
        return (
            f"{len(self.pairs)} images in {self.folders[0]} with masks in {self.folders[1]}; {size} (width x height), "
            f"{'grey' if self.channels == 1 else 'RGB'}{depth}; {self.reading.describe()}{empty}."
        )


class Seen(NamedTuple):
    """A pair and what its files say of themselves."""

    pair: pairs.Pair
    header: image_files.Header
    look: mask_files.Look


def scan(images: Path, masks: Path | None = None, classes: Sequence[str] | None = None) -> Found:
    """Pairs the files, reads every mask, and every image's header (images of more than 8 bits whole)."""
    folders = pairs.folders(images, masks)
    every, indices = see(*folders)
    return found(folders, every, labels.decide([seen.look for seen in every], classes, indices=indices))


def see(
    images: Path,
    masks: Path,
    faults: list[str] | None = None,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items,
) -> tuple[list[Seen], bool]:
    """Every pair, and whether palettes are to be read as indices.

    What is wrong is raised, or with `faults` added there, and that pair left out. `track(items, total)` may wrap the
    iteration to show its progress.
    """
    paired = pairs.pairs(images, masks, faults)
    every = []
    for pair in track(paired, len(paired)):
        with files.noting(faults):
            seen = Seen(pair, image_files.header(pair.image), mask_files.look(pair.mask, indices=True))
            _check_sizes(seen)
            every.append(seen)
    indices = mask_files.trusted([seen.look for seen in every])
    if not indices:
        every = [seen._replace(look=mask_files.look(seen.pair.mask, indices=False)) for seen in every]
    return every, indices


def found(folders: tuple[Path, Path], every: Sequence[Seen], reading: labels.Reading) -> Found:
    """The set that all these pairs make."""
    images, masks = folders
    empty = sum(not reading.of(seen.look.values).any() for seen in every)
    if empty == len(every):
        raise files.DataError(f"{masks}: all {empty} masks are empty; are these the masks of {images}?")
    deep = [seen.pair.image for seen in every if seen.header.deep]
    by_area = sorted({seen.header.size for seen in every}, key=lambda size: (size[0] * size[1], size))
    return Found(
        folders=folders,
        pairs=tuple(seen.pair for seen in every),
        sizes=(by_area[0], by_area[-1]),
        channels=max(seen.header.channels for seen in every),
        span=image_files.scale(deep) if deep else None,
        reading=reading,
        empty=empty,
    )


def _check_sizes(seen: Seen) -> None:
    if seen.header.size == seen.look.size:
        return
    sizes = " but its mask {} is ".join("{}x{}".format(*size) for size in (seen.header.size, seen.look.size))
    turned = " (EXIF turns the image, which is not done here)" if seen.header.turned else ""
    raise files.DataError(
        f"{seen.pair.image} is {sizes.format(seen.pair.mask.name)} (width x height){turned}; they must be equal"
    )
