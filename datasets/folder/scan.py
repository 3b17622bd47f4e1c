"""A look at the user's two folders before anything is built: what is there, and how it will be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


def scan(images: Path, masks: Path | None = None, classes: Sequence[str] | None = None) -> Found:
    """Pairs the files, reads every mask, and every image's header (images of more than 8 bits whole)."""
    images, masks = pairs.folders(images, masks)
    found = pairs.pairs(images, masks)
    headers = [image_files.header(pair.image) for pair in found]
    looks = [mask_files.look(pair.mask, indices=True) for pair in found]
    indices = mask_files.trusted(looks)
    if not indices:
        looks = [mask_files.look(pair.mask, indices=False) for pair in found]
    for pair, header, look in zip(found, headers, looks, strict=True):
        if header.size != look.size:
            sizes = " but its mask {} is ".join("{}x{}".format(*size) for size in (header.size, look.size))
            raise files.DataError(
                f"{pair.image} is {sizes.format(pair.mask.name)} (width x height); they must be equal"
            )
    reading = labels.decide(looks, classes, indices=indices)
    empty = sum(not reading.of(look.values).any() for look in looks)
    if empty == len(looks):
        raise files.DataError(f"{masks}: all {empty} masks are empty; are these the masks of {images}?")
    deep = [pair.image for pair, header in zip(found, headers, strict=True) if header.deep]
    by_area = sorted({header.size for header in headers}, key=lambda size: (size[0] * size[1], size))
    return Found(
        folders=(images, masks),
        pairs=found,
        sizes=(by_area[0], by_area[-1]),
        channels=max(header.channels for header in headers),
        span=image_files.scale(deep) if deep else None,
        reading=reading,
        empty=empty,
    )
