"""A data set, decoded and resized once, as uint8 arrays that are mapped into memory from the disk."""

import contextlib
import dataclasses
import errno
import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, TypedDict

import grain
import numpy as np

from sharp_unet_jax.data import digest, grey_range, neighbours, pixels
from sharp_unet_jax.data.resize import Fit, MaskFilter, resize
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.storage.atomic import clear_dead, replacing_folder, write_json
from sharp_unet_jax.storage.reading import read_json

Example = tuple[np.ndarray, np.ndarray, str, str]  # image, mask, id, group
PARTS = ("images.npy", "masks.npy")


class Source(Protocol):
    """Examples by index: {"image": (h, w, C) uint8, "mask": (h, w, 1) uint8, "id": text, "group": text}.

    They may have a "volume" too, a text: its slices follow each other in their order. "" is no volume.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


class Names(TypedDict):
    """The content of names.json, beside images.npy and masks.npy."""

    ids: list[str]
    groups: list[str]
    sha256: str  # see `Dataset.sha256`


@dataclass(frozen=True)
class Dataset:
    """All images and masks of a data set, at the size of training."""

    name: str
    images: np.ndarray  # (n, H, W, C) uint8
    masks: np.ndarray  # (n, H, W) uint8: 0..len(classes)-1, or IGNORE where nothing is trained or scored
    ids: tuple[str, ...]
    groups: tuple[str, ...]  # what must not be split across folds
    classes: tuple[str, ...]  # names, background first
    folder: Path | None = None  # of images.npy, masks.npy and names.json, if they were kept
    window: pixels.Window | None = None  # intensities that became 0 and 255

    @property
    def num_classes(self) -> int:
        """Channels of the logits, see the function `num_classes`."""
        return num_classes(self.classes)

    @property
    def gigabytes(self) -> float:
        """Size of images and masks, in 1e9 bytes."""
        return (self.images.nbytes + self.masks.nbytes) / 1e9

    @functools.cached_property
    def clipped(self) -> tuple[float, float] | None:
        """The largest share of an image that the window clips at either end; None without a window."""
        return grey_range.largest_shares(self.images, self.masks) if self.window else None

    @functools.cached_property
    def sha256(self) -> str:
        """Digest of every pixel, label, id, group and class: data sets with equal digests give the same runs."""
        return digest.of_pairs(self.images, self.masks, self.ids, self.groups, self.classes)


def num_classes(classes: Sequence[str]) -> int:
    """Return the channels of the logits for `classes`, background first: 1 for one foreground, else one a class."""
    return 1 if len(classes) == 2 else len(classes)


def prepare(
    source: Source,
    *,
    name: str,
    classes: tuple[str, ...],
    size: tuple[int, int],
    fit: Fit,
    mask_filter: MaskFilter = "nearest",
    context: int = 0,
    cache: Path | None = None,
    window: pixels.Window | None = None,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items,
) -> Dataset:
    """Read and resize a data set through Grain.

    Args:
        source: images and masks of any sizes.
        name: of the data set.
        classes: names, background first.
        size: height and width of training.
        fit: how `resize` fits images into `size`.
        mask_filter: how `resize` resizes masks.
        context: neighbouring slices on either side that become channels, see `neighbours.stacked`.
        cache: a folder to read the result from if it is there, else to write it to. Without one, or if it cannot be
            written, the arrays lie in temporary files without a name.
        window: kept in the result, not applied.
        track: `track(items, total)` may wrap the iteration, to show its progress.

    Raises:
        InputError: for no examples, images of different channels, labels beyond `classes`, a mask of `IGNORE` alone,
            masks that are all empty, an image of no volume where `context` asks for neighbours, or a full disk.
    """
    if cache is not None:
        clear_dead(cache.parent)
        if cached := _load(cache, name, classes, size):
            return dataclasses.replace(cached, window=window)
    if not len(source):
        raise InputError(f"{name}: the data set is empty")
    resized = functools.partial(_example, size=size, fit=fit, mask_filter=mask_filter)
    pipeline = grain.MapDataset.source(source).map(resized)
    examples = _checked(track(_iterate(pipeline), len(source)), name, classes)
    with contextlib.ExitStack() as stack:
        kept = None
        if cache is not None:
            with contextlib.suppress(OSError):  # without a cache the next call reads again
                kept = stack.enter_context(replacing_folder(cache))
        try:
            files: list[IO[bytes]] = [
                stack.enter_context((kept / part).open("w+b"))
                if kept
                else stack.enter_context(tempfile.TemporaryFile())
                for part in PARTS
            ]
            images, masks, ids, groups = _write(files, neighbours.of_volumes(examples, context), len(source))
            dataset = Dataset(name, images, masks, ids, groups, classes, kept and cache, window)
            if kept:
                names: Names = {"ids": list(ids), "groups": list(groups), "sha256": dataset.sha256}
                write_json(kept / "names.json", names)
        except OSError as error:
            folder = cache.parent if kept and cache else Path(tempfile.gettempdir())
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(
                f"{folder}: {os.strerror(error.errno).lower()}: no images at {size} are written"
            ) from error
    return dataset


def _iterate(pipeline: grain.MapDataset) -> Iterator[Any]:
    # Threads use every core, since decoding and resizing release the GIL; the order stays that of the source.
    return iter(pipeline.to_iter_dataset(grain.ReadOptions(num_threads=os.cpu_count() or 1, prefetch_buffer_size=32)))


def _example(example: Mapping[str, Any], size: tuple[int, int], fit: Fit, mask_filter: MaskFilter) -> neighbours.Slice:
    image, mask = resize(np.asarray(example["image"]), np.asarray(example["mask"])[..., 0], size, fit, mask_filter)
    return image, mask, _text(example["id"]), _text(example["group"]), _text(example.get("volume", ""))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _checked(examples: Iterable[neighbours.Slice], name: str, classes: tuple[str, ...]) -> Iterator[neighbours.Slice]:
    """Yield the examples unchanged.

    Raises InputError for one with other channels, with labels beyond the classes or with nothing to score, and if all
    masks are empty.
    """
    shape, highest = None, 0
    number = 0
    for image, mask, id_, group, volume in examples:
        if shape not in (None, image.shape):
            few, many = map(pixels.such, sorted((shape[-1], image.shape[-1])))
            raise InputError(f"{name}: some images are {few} and some are {many}; make them all one or the other")
        if (mask == IGNORE).all():  # any prediction would do
            at = "x".join(map(str, mask.shape))
            raise InputError(f"{name}: at {at} all pixels of {id_!r} are ignored: remove the image or raise the size")
        label = int(np.max(mask, where=mask != IGNORE, initial=0))
        if label >= len(classes):
            raise InputError(
                f"{name}: the mask of {id_!r} holds label {label}, but there are {len(classes)} classes "
                f"({', '.join(classes)}); name every class or correct the mask"
            )
        number, shape, highest = number + 1, image.shape, max(highest, label)
        yield image, mask, id_, group, volume
    if not highest:
        raise InputError(f"{name}: all {number} masks are empty: there is nothing to learn")


def _write(
    files: Sequence[IO[bytes]], examples: Iterable[Example], n: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Write images and masks to two .npy files example by example, since all may not fit into memory.

    Returns images, masks, ids and groups. The arrays are mapped from the files, and stay valid when these are closed,
    renamed or deleted.
    """
    names: list[list[str]] = []
    shapes: list[tuple[int, ...]] = []
    starts: list[int] = []
    for image, mask, *name in examples:
        for file, array in zip(files, (image, mask), strict=True):
            if not names:
                shapes.append((n, *array.shape))
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "|u1", "fortran_order": False, "shape": shapes[-1]}
                )
                starts.append(file.tell())
            file.write(np.ascontiguousarray(array, np.uint8).data)
        names.append(name)
    for file in files:
        file.flush()
    images, masks = (
        np.memmap(file, np.uint8, "r", start, shape) for file, start, shape in zip(files, starts, shapes, strict=True)
    )
    ids, groups = zip(*names, strict=True)
    return images, masks, ids, groups


def _load(folder: Path, name: str, classes: tuple[str, ...], size: tuple[int, int]) -> Dataset | None:
    """Return the data set that was written to `folder`; None if it is missing or damaged: it is prepared again."""
    try:
        names = read_json(folder / "names.json", Names, remedy="it is written again")
        if not all((folder / part).is_file() for part in PARTS):  # opening a pipe may never end
            return None
        images, masks = (np.lib.format.open_memmap(folder / part, mode="r") for part in PARTS)
    except Exception:  # NumPy raises errors of many kinds for a damaged header
        return None
    n = len(names["ids"])
    # The digest is of bytes and shapes: the same bytes may be another dtype's.
    whole = len(names["groups"]) == n and images.dtype == masks.dtype == np.uint8
    if not whole or images.shape[:-1] != masks.shape or masks.shape != (n, *size):
        return None
    dataset = Dataset(name, images, masks, tuple(names["ids"]), tuple(names["groups"]), classes, folder)
    return dataset if dataset.sha256 == names["sha256"] else None
