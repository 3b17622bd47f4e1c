"""A data set decoded and resized once: uint8, on disk, and from there in memory as far as it is used."""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grain
import numpy as np

from sharp_unet_jax.data.resize import Fit, resize
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.storage.atomic import replacing_folder, write_json

Example = tuple[np.ndarray, np.ndarray, str, str]  # image, mask, id, group


class Source(Protocol):
    """Examples by index: {"image": (h, w, C) uint8, "mask": (h, w, 1) uint8, "id": text, "group": text}."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Dataset:
    """Every pair of a data set at its training size."""

    name: str
    images: np.ndarray  # (n, H, W, C) uint8
    masks: np.ndarray  # (n, H, W) uint8: 0..len(classes)-1, or IGNORE where nothing is trained or scored
    ids: tuple[str, ...]
    groups: tuple[str, ...]  # what must not be split across folds
    classes: tuple[str, ...]  # names, background first
    folder: Path | None = None  # where images.npy, masks.npy and names.json lie, if they were kept
    window: tuple[float, float] | None = None  # what became 0 and 255 of files deeper than 8 bits, see data.pixels

    @property
    def num_classes(self) -> int:
        """Channels of the logits, see `num_classes`."""
        return num_classes(self.classes)

    @property
    def gigabytes(self) -> float:
        """Of images and masks."""
        return (self.images.nbytes + self.masks.nbytes) / 1e9

    @functools.cached_property
    def sha256(self) -> str:
        """Of every pixel, label, id and group: two data sets with the same digest give the same runs."""
        digest = hashlib.sha256()
        for part in (self.images, self.masks):
            digest.update(repr(part.shape).encode())
            digest.update(np.ascontiguousarray(part).data)
        digest.update("\n".join((*self.ids, *self.groups, *self.classes)).encode())
        return digest.hexdigest()


def num_classes(classes: Sequence[str]) -> int:
    """Channels of the logits for `classes`, background among them: one for a single foreground, else one a class."""
    return 1 if len(classes) == 2 else len(classes)


def prepare(
    source: Source,
    *,
    name: str,
    classes: tuple[str, ...],
    size: tuple[int, int],
    fit: Fit,
    cache: Path | None = None,
    window: tuple[float, float] | None = None,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items,
) -> Dataset:
    """Reads `source` through Grain, resizing each pair to `size` (H, W) as `fit` says.

    With `cache` the result is read from that folder where it is, else written there; without, or where that folder
    cannot be made, it stays in memory. `window` is remembered alone. `track(items, total)` may wrap the iteration to
    show its progress. Raises InputError for no examples, grey images among coloured ones, labels beyond `classes`, and
    masks that are all empty.
    """
    if cache is not None and (cached := _load(cache, name, classes)) is not None:
        return dataclasses.replace(cached, window=window)
    if not len(source):
        raise InputError(f"{name}: the data set is empty")
    pipeline = grain.MapDataset.source(source).map(functools.partial(_example, size=size, fit=fit))
    examples = _checked(track(_iterate(pipeline), len(source)), name, classes)
    with contextlib.ExitStack() as stack:
        kept = None
        if cache is not None:
            with contextlib.suppress(OSError):  # not to be written to: reading again costs time alone
                kept = stack.enter_context(replacing_folder(cache))
        folder = kept or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            ids, groups = _write(folder, examples, len(source))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise InputError(f"{folder.parent}: no space left on the device for the images at {size}") from error
        # Outlives its files' names.
        dataset = Dataset(name, *_arrays(folder), ids, groups, classes, kept and cache, window)
        write_json(folder / "names.json", {"ids": ids, "groups": groups, "sha256": dataset.sha256})
    return dataset


def _iterate(pipeline: grain.MapDataset) -> Iterator[Any]:
    # Decoding and resizing release the GIL: threads use every core, and the order stays that of the source.
    return iter(pipeline.to_iter_dataset(grain.ReadOptions(num_threads=os.cpu_count() or 1, prefetch_buffer_size=32)))


def _example(example: Mapping[str, Any], size: tuple[int, int], fit: Fit) -> Example:
    image, mask = resize(np.asarray(example["image"]), np.asarray(example["mask"])[..., 0], size, fit)
    return image, mask, _text(example["id"]), _text(example["group"])


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _checked(examples: Iterable[Example], name: str, classes: tuple[str, ...]) -> Iterator[Example]:
    """`examples` as they are; InputError for one that does not fit the others or the classes, or if none has labels."""
    shape, highest = None, 0
    number = 0
    for image, mask, id_, group in examples:
        if shape not in (None, image.shape):
            raise InputError(f"{name}: some images are grey and some have colours; make them all one or the other")
        label = int(np.max(mask, where=mask != IGNORE, initial=0))
        if label >= len(classes):
            raise InputError(
                f"{name}: the mask of {id_!r} holds label {label}, but there are {len(classes)} classes "
                f"({', '.join(classes)}); name every class or mend the mask"
            )
        number, shape, highest = number + 1, image.shape, max(highest, label)
        yield image, mask, id_, group
    if not highest:
        raise InputError(f"{name}: all {number} masks are empty: there is nothing to learn")


def _write(folder: Path, examples: Iterable[Example], n: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Pair by pair, since the whole need not fit into memory; ids and groups."""
    names: list[list[str]] = []
    with open(folder / "images.npy", "wb") as images, open(folder / "masks.npy", "wb") as masks:
        for image, mask, *name in examples:
            for file, array in ((images, image), (masks, mask)):
                if not names:
                    header = {"descr": "|u1", "fortran_order": False, "shape": (n, *array.shape)}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(np.ascontiguousarray(array, np.uint8).data)
            names.append(name)
    ids, groups = zip(*names, strict=True)
    return ids, groups


def _arrays(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    images, masks = (np.lib.format.open_memmap(folder / f"{part}.npy", mode="r") for part in ("images", "masks"))
    return images, masks


def _load(folder: Path, name: str, classes: tuple[str, ...]) -> Dataset | None:
    try:
        names = json.loads((folder / "names.json").read_text())
        dataset = Dataset(name, *_arrays(folder), tuple(names["ids"]), tuple(names["groups"]), classes, folder)
        return dataset if dataset.sha256 == names["sha256"] else None
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, ValueError, EOFError):
        return None  # not there, or damaged: prepared anew
