"""A data set small enough to stay in memory: decoded and resized once, kept as uint8, cached on disk."""

import contextlib
import functools
import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grain
import numpy as np

from sharp_unet_jax.atomic import replacing
from sharp_unet_jax.data.resize import Fit, resize
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.metrics import IGNORE


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

    @property
    def num_outputs(self) -> int:
        """Channels of the logits: one for a single foreground, else one a class."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @functools.cached_property
    def sha256(self) -> str:
        """Of every pixel, label, id and group: two data sets with the same digest give the same runs."""
        digest = hashlib.sha256()
        for part in (self.images, self.masks):
            digest.update(repr(part.shape).encode())
            digest.update(np.ascontiguousarray(part).data)
        digest.update("\n".join((*self.ids, *self.groups, *self.classes)).encode())
        return digest.hexdigest()


def prepare(
    source: Source,
    *,
    name: str,
    classes: tuple[str, ...],
    size: tuple[int, int],
    fit: Fit,
    cache: Path | None = None,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items,
) -> Dataset:
    """Reads `source` through Grain, resizing each pair to `size` (H, W) as `fit` says.

    With `cache` the result is read from that file where it is, else written there. `track(items, total)` may wrap the
    iteration to show its progress. Raises InputError for labels beyond `classes`, and for masks that are all empty.
    """
    if cache is not None and (cached := _load(cache, name, classes)) is not None:
        return cached
    pipeline = grain.MapDataset.source(source).map(functools.partial(_example, size=size, fit=fit))
    examples = list(track(_iterate(pipeline), len(source)))
    if not examples:
        raise InputError(f"{name}: the data set is empty")
    images, masks, ids, groups = zip(*examples, strict=True)
    if len({image.shape for image in images}) > 1:
        raise InputError(f"{name}: some images are grey and some have colours; make them all one or the other")
    dataset = Dataset(name, np.stack(images), np.stack(masks), ids, groups, classes)
    _check(dataset)
    if cache is not None:
        with contextlib.suppress(OSError):  # a folder that cannot be written to: reading again costs time alone
            _save(cache, dataset)
    return dataset


def _iterate(pipeline: grain.MapDataset) -> Iterator[Any]:
    # Decoding and resizing release the GIL: threads use every core, and the order stays that of the source.
    return iter(pipeline.to_iter_dataset(grain.ReadOptions(num_threads=os.cpu_count() or 1, prefetch_buffer_size=32)))


def _example(example: Mapping[str, Any], size: tuple[int, int], fit: Fit) -> tuple[np.ndarray, np.ndarray, str, str]:
    image, mask = resize(np.asarray(example["image"]), np.asarray(example["mask"])[..., 0], size, fit)
    return image, mask, _text(example["id"]), _text(example["group"])


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _check(dataset: Dataset) -> None:
    labels = np.where(dataset.masks == IGNORE, 0, dataset.masks)
    highest = labels.max(axis=(1, 2))
    for index in np.flatnonzero(highest >= len(dataset.classes))[:1]:
        raise InputError(
            f"{dataset.name}: the mask of {dataset.ids[index]!r} holds label {highest[index]}, but there are "
            f"{len(dataset.classes)} classes ({', '.join(dataset.classes)}); name every class or mend the mask"
        )
    if not highest.any():
        raise InputError(f"{dataset.name}: all {len(dataset.ids)} masks are empty: there is nothing to learn")


def _save(path: Path, dataset: Dataset) -> None:
    arrays = {"images": dataset.images, "masks": dataset.masks, "ids": dataset.ids, "groups": dataset.groups}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **{key: np.asarray(value) for key, value in arrays.items()})


def _load(path: Path, name: str, classes: tuple[str, ...]) -> Dataset | None:
    try:
        with np.load(io.BytesIO(path.read_bytes())) as file:
            ids, groups = tuple(map(str, file["ids"])), tuple(map(str, file["groups"]))
            return Dataset(name, file["images"], file["masks"], ids, groups, classes)
    except (FileNotFoundError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None  # not there, or damaged: prepared anew
