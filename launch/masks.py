"""The work of `launch.predict`: reads, predicts and writes, all at the same time, and keeps the table of areas."""

import csv
import io
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from datasets import formats
from datasets.files import DataError
from datasets.formats.stack import Stack
from launch.preview.overlay import overlay
from sharp_unet_jax import decision
from sharp_unet_jax.data.pixels import as_trained
from sharp_unet_jax.inference import predict
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.storage.atomic import replacing

THREADS = 8  # that read, and that write; as many inputs wait in memory on either side
TABLE = "areas.csv"
COLUMNS = ("input", "slice", "class", "pixels", "share", "mm2")

Row = tuple[str, ...]


class Command(NamedTuple):
    """What the user asked for."""

    run: Path
    model: str
    inputs: list[str]
    output: Path
    options: dict[str, Any]  # of predict.predict
    extras: tuple[str, ...]  # of "probabilities" and "overlays"


def paths(command: Command, one: formats.Input) -> list[Path]:
    """All that is made of an input."""
    suffixes = {"masks": one.family.MASK, "probabilities": one.family.PROBABILITIES, "overlays": one.family.OVERLAYS}
    return [command.output / kind / f"{one.name}{suffixes[kind]}" for kind in ("masks", *command.extras)]


def work(
    command: Command, members: Sequence[Trained], todo: Sequence[formats.Input], devices: Sequence[jax.Device]
) -> Generator[tuple[formats.Input, int | Exception], None, None]:
    """Reads, predicts and writes, all at the same time; of each input the number of pictures, or the error."""
    one = members[0]

    def read(each: formats.Input) -> tuple[Stack, np.ndarray]:
        stack = each.family.read(each.paths)
        if (
            one.dataset == "lung_ct/volumes"
            and each.family is formats.nifti
            and _sliced_otherwise(stack.pictures.shape)
        ):
            raise DataError(
                f"{each.paths[0]}: by its header slices are {stack.pictures.shape[2]} wide and "
                f"{stack.pictures.shape[1]} high, but the volumes this run was trained on hold slice, row, column "
                "whatever their headers say: mend the header, or give the slices as pictures"
            )
        pictures = stack.pictures[..., None] if stack.pictures.ndim == 3 else stack.pictures
        none = np.empty((0, *pictures.shape[1:]), pictures.dtype)  # a view would keep the whole volume in memory
        return stack._replace(pictures=none), as_trained(pictures, one.channels, one.window)

    readers, writers = ThreadPoolExecutor(THREADS), ThreadPoolExecutor(THREADS)
    opened: deque[tuple[formats.Input, Stack, np.ndarray]] = deque()
    ended: deque[tuple[formats.Input, Future[Any]]] = deque()

    def pictures() -> Iterator[np.ndarray]:
        for each, future in _ahead(readers, read, todo):
            if future.exception():
                ended.append((each, future))
            else:
                opened.append((each, *future.result()))
                yield from opened[-1][2]

    try:
        outputs = predict.predict(members, pictures(), **command.options, devices=devices)
        for first in outputs:
            each, stack, images = opened.popleft()
            labels, kept = [], []
            for output in chain([first], islice(outputs, len(images) - 1)):
                labels.append(decision.labels(output, one.config.threshold))
                kept += [output] if "probabilities" in command.extras else []
            writing = writers.submit(_write, command, each, stack, images, np.stack(labels), kept, one.classes)
            ended.append((each, writing))
            while len(ended) > THREADS:
                yield _outcome(*ended.popleft())
        while ended:
            yield _outcome(*ended.popleft())
    finally:  # also of Ctrl-C: what is being written is finished
        readers.shutdown(cancel_futures=True)
        writers.shutdown(cancel_futures=True)


def _sliced_otherwise(shape: tuple[int, ...]) -> bool:
    """Whether of two equal sides of a volume, which are those of a CT slice, one was taken for the row of slices."""
    slices, height, width = shape[:3]
    return height != width and slices in (height, width)


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[formats.Input], Any], todo: Iterable[formats.Input]
) -> Iterator[tuple[formats.Input, Future[Any]]]:
    """What `read` makes of each, in their order, with THREADS of them begun or waiting."""
    waiting: deque[tuple[formats.Input, Future[Any]]] = deque()
    for each in todo:
        waiting.append((each, pool.submit(read, each)))
        if len(waiting) > THREADS:
            yield waiting.popleft()
    yield from waiting


def _outcome(each: formats.Input, future: Future[Any]) -> tuple[formats.Input, int | Exception]:
    error = future.exception()
    return each, error if isinstance(error, Exception) else future.result()


def _write(
    command: Command,
    each: formats.Input,
    stack: Stack,
    pictures: np.ndarray,
    labels: np.ndarray,
    probabilities: list[np.ndarray],
    classes: Sequence[str],
) -> int:
    """Writes all that is made of an input, its mask last: with it, the input is done. The number of pictures."""
    mask, *extras = paths(command, each)
    for extra, path in zip(command.extras, extras, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        if extra == "probabilities":
            each.family.write_probabilities(path, np.stack(probabilities), stack, classes)
        else:
            each.family.write_overlays(path, np.stack(list(map(overlay, pictures, labels))))
    rows = _areas(each.name, labels, classes, stack.area)
    with open(command.output / TABLE, "ab", buffering=0) as file:  # one write: of other threads' none comes between
        file.write(_csv(rows))
    mask.parent.mkdir(parents=True, exist_ok=True)
    each.family.write_masks(mask, labels, stack, classes)
    return len(labels)


def _areas(name: str, labels: np.ndarray, classes: Sequence[str], area: float | None) -> list[Row]:
    """A row a picture and class but the background."""
    counts = [np.bincount(picture.ravel(), minlength=len(classes)) for picture in labels]
    return [
        (
            name,
            str(number),
            classes[label],
            str(count[label]),
            f"{count[label] / labels[0].size:.6f}",
            "" if area is None else f"{count[label] * area:.4f}",
        )
        for number, count in enumerate(counts)
        for label in range(1, len(classes))
    ]


def _csv(rows: Iterable[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode(errors="surrogateescape")  # a file's name need not be UTF-8


def tidy(command: Command, inputs: Sequence[formats.Input]) -> None:
    """Leaves areas.csv in the order of the inputs, after earlier commands' rows, without inputs that have no mask.

    Of an input that was made again the later rows count.
    """
    path, order = command.output / TABLE, {one.name: number for number, one in enumerate(inputs)}
    undone = {one.name for one in inputs if not paths(command, one)[0].exists()}
    rows: dict[Row, Row] = {}
    if path.exists():
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            whole = (tuple(row) for row in list(csv.reader(file))[1:] if len(row) == len(COLUMNS))
            rows = {row[:3]: row for row in whole if row[0] not in undone}  # by input, slice and class
    with replacing(path) as temporary:
        temporary.write_bytes(_csv([COLUMNS, *sorted(rows.values(), key=lambda row: order.get(row[0], -1))]))
