"""A data set, decoded and brought to the size of training once: arrays that are mapped into memory from the disk."""

import contextlib
import errno
import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypedDict

import grain
import numpy as np
from numpy.typing import NDArray

from sharp_unet_jax.config import Data
from sharp_unet_jax.data import array_files, digest, neighbours, pixels
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.data.resize import resize, resized, trained_size
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.storage.atomic import clear_dead, replacing_folder, write_json
from sharp_unet_jax.storage.reading import read_json

NAMES = "names.json"


class Source(Protocol):
    """Examples by index: {"image": (h, w, C) uint8, "mask": (h, w, 1) uint8, "id": text, "group": text}.

    They may have a "volume" too, a text: its slices follow each other in their order; "" is no volume. And "spacing",
    (2,) float: millimetres from row to row and from column to column, 0 where nobody knows.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


class Names(TypedDict):
    """The content of names.json, beside the arrays."""

    ids: list[str]
    groups: list[str]
    sha256: str  # see `Dataset.sha256`
    settings: dict[str, Any]  # see `_settings`


def prepare(
    source: Source,
    *,
    name: str,
    classes: tuple[str, ...],
    data: Data,
    cache: Path | None = None,
    window: pixels.Window | None = None,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, _: items,
) -> Dataset:
    """Read a data set through Grain, and bring its images and masks to the size of training.

    Args:
        source: images and masks of any sizes.
        name: of the data set.
        classes: names, background first.
        data: says how; its fields size, fit, mask_filter, scale, spacing, context and score matter.
        cache: a folder to read the result from if it is there, else to write it to. Without one, or if it cannot be
            written, the arrays lie in temporary files without a name.
        window: kept in the result, not applied.
        track: `track(items, total)` may wrap the iteration, to show its progress.

    Raises:
        InputError: for no examples, images of different channels, labels beyond `classes`, a mask of only `IGNORE`,
            masks that are all empty, an image of no volume where `data.context` asks for neighbours, one of unknown
            spacing where `data.spacing` asks for it, or a full disk.
    """
    if cache is not None:
        clear_dead(cache.parent)
        if cached := _load(cache, name, classes, data, window):
            return cached
    if not len(source):
        raise InputError(f"{name}: the data set is empty")
    pipeline = grain.MapDataset.source(source).map(functools.partial(_example, data=data))
    examples = _checked(track(_iterate(pipeline), len(source)), name, classes)
    with contextlib.ExitStack() as stack:
        kept = None
        if cache is not None:
            with contextlib.suppress(OSError):  # without a cache the next call reads again
                kept = stack.enter_context(replacing_folder(cache))
        try:
            writers = {}
            for part, own_sizes in _parts(data).items():
                file: Any = array_files.path(kept, part).open("w+b") if kept else tempfile.TemporaryFile()  # noqa: SIM115
                writers[part] = array_files.Writer(stack.enter_context(file), ragged=own_sizes)
            arrays, ids, groups = _write(writers, neighbours.of_volumes(examples, data.context))
            folder = cache if kept else None
            dataset = Dataset(name, **arrays, ids=ids, groups=groups, classes=classes, folder=folder, window=window)
            if kept:
                for part, array in arrays.items():
                    array_files.write_sizes(kept, part, array)
                names: Names = {
                    "ids": list(ids),
                    "groups": list(groups),
                    "sha256": dataset.sha256,
                    "settings": _settings(data),
                }
                write_json(kept / NAMES, names)
        except OSError as error:
            full = cache.parent if kept and cache else Path(tempfile.gettempdir())
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(f"{full}: {os.strerror(error.errno).lower()}: no images of {name} are written") from error
    return dataset


def pairs(
    folder: Path, sha256: str, ids: Sequence[str]
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]] | None:
    """Return the images (H, W, C) and masks (H, W) with these ids of the data set that was prepared in `folder`.

    None where it is gone or damaged, or has another digest than `sha256`.
    """
    try:
        names = read_json(folder / NAMES, Names, remedy="it is written again")
        images, masks = (array_files.read(folder, part) for part in ("images", "masks"))
        rows = [names["ids"].index(id_) for id_ in ids]
        if images is None or masks is None or names["sha256"] != sha256:
            return None
        return [images[row] for row in rows], [masks[row] for row in rows]
    except Exception:  # NumPy raises errors of many kinds for a damaged header
        return None


def _settings(data: Data) -> dict[str, Any]:
    """Return what prepared arrays depend on beside the files, as JSON has it; crops have any size."""
    names = ("fit", "context", *(("mask_filter", "score", "scale", "spacing") if resized(data) else ()))
    of_whole = {} if data.fit == "crop" else {"size": [*data.size]}
    return {"code": _code(), **of_whole, **{name: getattr(data, name) for name in names}}


@functools.cache
def _code() -> str:
    return digest.of_code(Path(__file__).with_name(f"{name}.py") for name in ("prepared", "resize", "neighbours"))


def _parts(data: Data) -> dict[str, bool]:
    """Return the arrays that a data set has, by name, and whether their images have their own sizes."""
    own_sizes = data.fit == "crop"
    native = {"native": True} if data.score == "native" and resized(data) else {}
    return {"images": own_sizes, "masks": own_sizes} | native


def _iterate(pipeline: grain.MapDataset) -> Iterator[Any]:
    # Threads use every core, since decoding and resizing release the GIL; the order stays that of the source.
    return iter(pipeline.to_iter_dataset(grain.ReadOptions(num_threads=os.cpu_count() or 1, prefetch_buffer_size=32)))


def _example(example: Mapping[str, Any], data: Data) -> neighbours.Slice:
    image, native, id_ = np.asarray(example["image"]), np.asarray(example["mask"])[..., 0], _text(example["id"])
    try:
        size = trained_size(image.shape[:2], data, example.get("spacing"))
    except InputError as error:
        raise InputError(f"{id_}: {error}") from error
    image, mask = resize(image, native, size, data.fit, data.mask_filter)
    volume = _text(example.get("volume", ""))
    return neighbours.Slice(
        image, mask, native if data.score == "native" else None, id_, _text(example["group"]), volume
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _checked(examples: Iterable[neighbours.Slice], name: str, classes: tuple[str, ...]) -> Iterator[neighbours.Slice]:
    """Yield the examples unchanged.

    Raises InputError for one with other channels, with labels beyond the classes or with nothing to score, and if all
    masks are empty.
    """
    channels, highest = None, 0
    number = 0
    for example in examples:
        mask, id_, own = example.mask, example.id, example.image.shape[-1]
        if channels not in (None, own):
            few, many = map(pixels.such, sorted((channels, own)))
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
        number, channels, highest = number + 1, own, max(highest, label)
        yield example
    if not highest:
        raise InputError(f"{name}: all {number} masks are empty: there is nothing to learn")


def _write(
    writers: Mapping[str, array_files.Writer], examples: Iterable[neighbours.Slice]
) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    """Write the examples; return the arrays by name, ids and groups."""
    names: list[tuple[str, str]] = []
    for example in examples:
        for part, array in {"images": example.image, "masks": example.mask, "native": example.native}.items():
            if part in writers and array is not None:
                writers[part].add(array)
        names.append((example.id, example.group))
    ids, groups = zip(*names, strict=True)
    return {part: writer.close() for part, writer in writers.items()}, ids, groups


def _load(
    folder: Path, name: str, classes: tuple[str, ...], data: Data, window: pixels.Window | None
) -> Dataset | None:
    """Return the data set that was written to `folder`; None if it is missing or damaged: it is prepared again."""
    try:
        names = read_json(folder / NAMES, Names, remedy="it is written again")
        arrays: dict[str, Any] = {part: array_files.read(folder, part) for part in _parts(data)}
    except Exception:  # NumPy raises errors of many kinds for a damaged header
        return None
    n = len(names["ids"])
    if len(names["groups"]) != n or any(part is None or len(part) != n for part in arrays.values()):
        return None
    if any(isinstance(arrays[part], Ragged) != ragged for part, ragged in _parts(data).items()):
        return None
    if names["settings"] != _settings(data):
        return None
    # The digest is of bytes and shapes: the same bytes may be another size's.
    if data.fit != "crop" and not arrays["images"].shape[:-1] == arrays["masks"].shape == (n, *data.size):
        return None
    if data.fit == "crop" and not np.array_equal(arrays["images"].sizes, arrays["masks"].sizes):
        return None
    ids, groups = tuple(names["ids"]), tuple(names["groups"])
    dataset = Dataset(name, **arrays, ids=ids, groups=groups, classes=classes, folder=folder, window=window)
    return dataset if dataset.sha256 == names["sha256"] else None
