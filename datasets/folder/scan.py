"""The user's two folders scanned before anything is built: the pairs, and how their files are read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from datasets import files
from datasets.folder import images as image_files
from datasets.folder import labels, pairs
from datasets.folder import masks as mask_files


@dataclass(frozen=True)
class Scan:
    """A set of images and masks that can be built."""

    folders: tuple[Path, Path]  # of the images, of the masks
    pairs: tuple[pairs.Pair, ...]
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
            f"{len(self.pairs)} images in {self.folders[0]} with masks in {self.folders[1]}; {size} (width x height), "
            f"{'grey' if self.channels == 1 else 'RGB'}{depth}; {self.reading.describe()}{empty}."
        )


class Scanned(NamedTuple):
    """A pair and what its files say of themselves."""

    pair: pairs.Pair
    header: image_files.Header
    mask: mask_files.Summary


def scan(images: Path, masks: Path | None = None, classes: Sequence[str] | None = None) -> Scan:
    """Pair the files, read every mask, and every image's header; images of more than 8 bits are read whole.

    Raises DataError for the first fault.
    """
    folders = pairs.folders(images, masks)
    scanned, indices = scan_pairs(*folders)
    return assemble(folders, scanned, labels.decide([each.mask for each in scanned], classes, indices=indices))


def scan_pairs(
    images: Path,
    masks: Path,
    faults: list[str] | None = None,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items,
) -> tuple[list[Scanned], bool]:
    """Return every pair, and whether palettes are read as indices.

    Args:
        images: folder.
        masks: folder.
        faults: gets the faults, and pairs with a fault are left out; without it the first fault is raised as DataError.
        track: `track(items, total)` may wrap the iteration to show its progress.
    """
    paired = pairs.pairs(images, masks, faults)
    scanned = []
    for pair in track(paired, len(paired)):
        with files.collecting(faults):
            one = Scanned(pair, image_files.header(pair.image), mask_files.summarise(pair.mask, indices=True))
            _check_sizes(one)
            scanned.append(one)
    indices = mask_files.palettes_agree([one.mask for one in scanned])
    if not indices:
        scanned = [one._replace(mask=mask_files.summarise(one.pair.mask, indices=False)) for one in scanned]
    return scanned, indices


def assemble(folders: tuple[Path, Path], scanned: Sequence[Scanned], reading: labels.Reading) -> Scan:
    """Return the set of all these pairs. Raises DataError where all masks are empty."""
    images, masks = folders
    empty = sum(not reading.decode(one.mask.values).any() for one in scanned)
    if empty == len(scanned):
        raise files.DataError(f"{masks}: all {empty} masks are empty; are these the masks of {images}?")
    deep = [one.pair.image for one in scanned if one.header.deep]
    by_area = sorted({one.header.size for one in scanned}, key=lambda size: (size[0] * size[1], size))
    return Scan(
        folders=folders,
        pairs=tuple(one.pair for one in scanned),
        sizes=(by_area[0], by_area[-1]),
        channels=max(one.header.channels for one in scanned),
        window=image_files.common_window(deep) if deep else None,
        reading=reading,
        empty=empty,
    )


def _check_sizes(one: Scanned) -> None:
    if one.header.size == one.mask.size:
        return
    sizes = " but its mask {} is ".join("{}x{}".format(*size) for size in (one.header.size, one.mask.size))
    rotated = " (EXIF rotates the image, which is not done here)" if one.header.rotated else ""
    raise files.DataError(
        f"{one.pair.image} is {sizes.format(one.pair.mask.name)} (width x height){rotated}; they must be equal"
    )
