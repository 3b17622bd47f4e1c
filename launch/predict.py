"""Masks of your own images: python -m launch.predict --run=WORKDIR_OR_RUN INPUT [INPUT ...] OUTPUT

INPUT is a file, a folder or a glob: PNG, JPG, BMP, TIF of one page or several, NIfTI, DICOM files or series. OUTPUT, a
folder, gets masks/ in each image's own size and format, areas.csv and what else is asked for. How images are read,
resized and thresholded is what the run was trained and scored with. Given a workdir, the probabilities of all its
finished runs of a model are averaged. Give the same command again to go on: what is there already is skipped. A file
that cannot be read stops nothing and is listed at the end. Exit code 0: all done; 1: something failed, or the input is
wrong; 130 after Ctrl-C.
"""

import argparse
import contextlib
import csv
import io
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image
from rich.console import Console

from datasets.files import DataError
from launch import formats, runtime
from launch.formats.stack import Stack
from launch.overlay import overlay
from launch.progress import track
from sharp_unet_jax import checkpoint, predict
from sharp_unet_jax.atomic import write_json, write_text
from sharp_unet_jax.data.pixels import as_trained
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.trained import Trained

INTERRUPTED = 130  # as shells have it
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


def parse(arguments: Sequence[str]) -> Command:
    """The command line; InputError for what is not understood."""
    parser = argparse.ArgumentParser(prog="python -m launch.predict", description=__doc__, allow_abbrev=False)
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="file, folder (with all below it) or glob")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="folder")
    parser.add_argument("--run", type=Path, required=True, help="WORKDIR, or WORKDIR/runs/MODEL/repeatR-foldF")
    parser.add_argument("--model", default="", help="which, if the workdir has several")
    parser.add_argument("--probabilities", action="store_true", help="write them too, in probabilities/")
    parser.add_argument("--overlays", action="store_true", help="write pictures with the masks drawn in, in overlays/")
    parser.add_argument("--flips", action="store_true", help="average over mirrored images (4 times the work)")
    parser.add_argument("--rotations", action="store_true", help="average over quarter turns (4 times the work)")
    tiling = "cut images into tiles instead of resizing them: for very large ones, or runs trained at native size"
    parser.add_argument("--tile", metavar="H,W", help=tiling)
    known = parser.parse_args(arguments)
    try:
        tile = tuple(int(side) for side in known.tile.split(",")) if known.tile else None
    except ValueError:
        tile = ()
    if tile is not None and (len(tile) != 2 or min(tile) < 1):
        raise InputError(f"--tile={known.tile}: give a height and a width in pixels, such as --tile=512,512")
    options = {"flips": known.flips, "rotations": known.rotations, "tile": tile}
    extras = tuple(name for name in ("probabilities", "overlays") if getattr(known, name))
    return Command(known.run, known.model, known.inputs, known.output, options, extras)


def run(arguments: Sequence[str], console: Console) -> int:
    """The whole command; returns its exit code. Raises InputError or OSError for what the user can mend."""
    command = parse(arguments)
    _check_output(command)
    Image.MAX_IMAGE_PIXELS = None  # the user named these files: a large one is no attack
    made = [command.output / name for name in ("masks", "probabilities", "overlays")]
    inputs = formats.find(command.inputs, made)
    devices = runtime.configure()
    members = predict.load(command.run, command.model)
    _begin(command.output, members, command.options)
    todo = [one for one in inputs if not all(path.exists() for path in _paths(command, one))]
    _tidy(command, inputs)
    some = f"{len(members)} runs of {members[0].model}" if len(members) > 1 else members[0].name
    console.print(
        f"{len(inputs)} inputs, {len(inputs) - len(todo)} of them done before; by {some}, trained on "
        f"{members[0].dataset} at {'x'.join(map(str, members[0].config.data.size))} (height x width)"
    )
    failed = []
    began, pictures = time.monotonic(), 0
    try:
        with contextlib.closing(work(command, members, todo, devices)) as outcomes:
            for one, outcome in track(console, "predicting")(outcomes, len(todo)):
                if isinstance(outcome, Exception):
                    failed.append(_line(one, outcome))
                else:
                    pictures += outcome
    finally:
        _tidy(command, inputs)
    seconds = time.monotonic() - began
    if pictures:
        console.print(f"{pictures} images in {seconds:.1f} s ({pictures / seconds:.1f} images/s), see {command.output}")
    for line in failed:
        console.print(f"failed: {line}")
    return 1 if failed else 0


def _check_output(command: Command) -> None:
    """Refuses an output whose masks could be taken for the user's own, or lie among the images."""
    output = command.output
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file: name a folder for the masks")
    if any(Path(text).resolve() == output.resolve() for text in command.inputs):
        raise InputError(f"{output} is the input as well as the output: name another folder for the masks")
    if (output / "masks").exists() and not (output / "prediction.json").exists():
        raise InputError(f"{output / 'masks'} was not made by this command: name another folder for the masks")


def _begin(output: Path, members: Sequence[Trained], options: dict[str, Any]) -> None:
    """Writes prediction.json, or checks that the masks that are there are by the same runs and options."""
    now = {
        "classes": list(members[0].classes),
        "threshold": members[0].config.threshold,
        "runs": {member.name: checkpoint.digest(member.weights) for member in members},
        **options,
    }
    now = json.loads(json.dumps(now))
    path = output / "prediction.json"
    before = json.loads(path.read_text()) if path.exists() else now
    for field in now:
        if before.get(field) != now[field]:
            raise InputError(f"{output} holds masks made with other {field}: name another folder, or delete this one")
    write_json(path, now)


def _paths(command: Command, one: formats.Input) -> list[Path]:
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
        pictures = stack.pictures[..., None] if stack.pictures.ndim == 3 else stack.pictures
        return stack._replace(pictures=pictures[:0]), as_trained(pictures, one.channels, one.window)

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
                labels.append(predict.labels(output, one.config.threshold))
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
    mask, *extras = _paths(command, each)
    for extra, path in zip(command.extras, extras, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        if extra == "probabilities":
            each.family.write_probabilities(path, np.stack(probabilities), stack, classes)
        else:
            each.family.write_overlays(path, np.stack(list(map(overlay, pictures, labels))))
    rows = _areas(each.name, labels, classes, stack.area)
    with open(command.output / TABLE, "ab", buffering=0) as file:  # one write: of other threads' none comes between
        file.write(_text(rows).encode())
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


def _text(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _tidy(command: Command, inputs: Sequence[formats.Input]) -> None:
    """Leaves areas.csv in the order of the inputs, after earlier commands' rows, without inputs that have no mask."""
    path, order = command.output / TABLE, {one.name: number for number, one in enumerate(inputs)}
    undone = {one.name for one in inputs if not _paths(command, one)[0].exists()}
    rows: dict[Row, None] = {}
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            whole = (tuple(row) for row in list(csv.reader(file))[1:] if len(row) == len(COLUMNS))
            rows = dict.fromkeys(row for row in whole if row[0] not in undone)
    write_text(path, _text([COLUMNS, *sorted(rows, key=lambda row: order.get(row[0], -1))]))


def _line(one: formats.Input, error: Exception) -> str:
    """What went wrong with an input, naming its file once."""
    text = " ".join(str(error).split()) or type(error).__name__
    where = str(one.paths[0] if len(one.paths) == 1 else one.paths[0].parent)
    return text if where in text else f"{where}: {text}"


def main() -> None:
    """Runs the command; what the user can mend ends in one line and exit code 1."""
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, soft_wrap=True)
    try:
        sys.exit(run(sys.argv[1:], console))
    except (InputError, DataError, OSError) as error:
        message, code = f"error: {' '.join(str(error).split())}", 1
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        message, code = "error: the device is out of memory: give --tile=H,W with a smaller height and width", 1
    except KeyboardInterrupt:
        message, code = "interrupted: give the same command again to go on", INTERRUPTED
    print(message, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
