"""areas.csv: a row for each slice and class of every input, with its pixels, its share, mm² and disagreement."""

import contextlib
import csv
import errno
import io
import math
import os
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from datasets.formats.search import Input
from launch.prediction.output import AREAS, Output, is_written
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import spreadsheet
from sharp_unet_jax.storage.atomic import replacing

COLUMNS = ("input", "slice", "class", "pixels", "share", "mm2", "disagreement", "note", "slices")
LARGEST = 2**30  # bytes of the table: some ten million rows

Row = tuple[str, ...]


def rows(
    name: str,
    labels: np.ndarray,
    classes: Sequence[str],
    area: float | None,
    note: str = "",
    disagreement: Sequence[tuple[float, ...]] = (),
) -> list[Row]:
    """Return a row for each slice and each class but the background.

    Args:
        name: of the input.
        labels: (n, H, W) uint8.
        classes: names, background first.
        area: of a pixel in mm²; None or NaN where it is not known.
        note: what the user should know of the input.
        disagreement: for each slice, one number per class but the background, or (); () leaves the column empty.
    """
    counts = [np.bincount(one.ravel(), minlength=len(classes)) for one in labels]
    return [
        (
            name,
            str(number),
            classes[label],
            str(count[label]),
            f"{count[label] / labels[0].size:.6f}",
            "" if area is None or math.isnan(area) else _text(count[label] * area),
            f"{disagreement[number][label - 1]:.4f}" if any(disagreement) else "",
            note,
            str(len(counts)),
        )
        for number, count in enumerate(counts)
        for label in range(1, len(classes))
    ]


def _text(area: float) -> str:
    return f"{area:.4f}" if area >= 0.1 or not area else f"{area:.4g}"  # a cell has less than a thousandth mm²


def append(output: Output, added: Iterable[Row]) -> None:
    """Append rows to the table."""
    content = _csv(added)
    with open(output.folder / AREAS, "ab", buffering=0) as file:  # a single write: threads cannot interleave their rows
        if file.write(content) != len(content):  # the disk is full
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)


def sort(output: Output, inputs: Sequence[Input], classes: Sequence[str], *, changed: Collection[str] = ()) -> set[str]:
    """Rewrite the table, and return the names of the inputs that are done: all their files and rows are there.

    The inputs are in their order, after rows of earlier commands. Rows of inputs that are not done are dropped, and so
    are those of inputs whose names are among the `changed`.
    """
    found, order = _read(output, classes), {one.name: number for number, one in enumerate(inputs)}
    names = found.keys() - {*changed}
    done = {one.name for one in inputs if one.name in names and is_written(output, one)}
    kept = sorted((name for name in found if name in done or name not in order), key=lambda name: order.get(name, -1))
    with replacing(output.folder / AREAS) as temporary:
        temporary.write_bytes(_csv([COLUMNS, *(row for name in kept for row in found[name])]))
    return done


def _read(output: Output, classes: Sequence[str]) -> dict[str, Collection[Row]]:
    """Return the rows of each input that has all of them: the table may have been deleted, cut short or edited."""
    path = output.folder / AREAS
    if path.exists() and not (path.is_file() and path.stat().st_size <= LARGEST):
        raise InputError(f"{path} is not the table that this command wrote: delete it, and give the command again")
    content = path.read_bytes() if path.exists() else b""
    lines = content[: content.rfind(b"\n") + 1].decode(errors="surrogateescape")  # the last one may be cut off
    found: dict[str, dict[Row, Row]] = {}
    with contextlib.suppress(csv.Error):  # a quotation mark too many: inputs whose rows follow are predicted again
        for cells in csv.reader(io.StringIO(lines, newline="")):
            row = tuple(map(spreadsheet.original, cells))
            if len(row) == len(COLUMNS) and row[:3] != COLUMNS[:3]:
                found.setdefault(row[0], {})[row[1:3]] = row
    return {name: rows.values() for name, rows in found.items() if _are_whole(rows, classes)}


def _are_whole(rows: dict[Row, Row], classes: Sequence[str]) -> bool:
    """Say whether these are all rows of an input, by slice and class."""
    slices = len(rows) // len(classes[1:])
    return {row[-1] for row in rows.values()} == {str(slices)} and set(rows) == {
        (str(number), name) for number in range(slices) for name in classes[1:]
    }


def _csv(table: Iterable[Row]) -> bytes:
    """Return rows as CSV. Names need not be UTF-8."""
    text = io.StringIO()
    for row in table:
        end = "\r\n" if "\r" in row[0] else "\n"  # a cell with a character of it gets quotation marks
        csv.writer(text, lineterminator=end).writerow(map(spreadsheet.cell, row))
    return text.getvalue().encode(errors="surrogateescape")
