"""areas.csv: a row for each slice and class of every input, with its pixels, its share and, if known, its mm²."""

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

from datasets.formats.search import Input
from launch.prediction.output import AREAS, Output, paths
from sharp_unet_jax.storage.atomic import replacing

COLUMNS = ("input", "slice", "class", "pixels", "share", "mm2")

Row = tuple[str, ...]


def rows(name: str, labels: np.ndarray, classes: Sequence[str], area: float | None) -> list[Row]:
    """Return a row for each slice and each class but the background.

    Args:
        name: of the input.
        labels: (n, H, W) uint8.
        classes: names, background first.
        area: of a pixel in mm²; None where the file does not say.
    """
    counts = [np.bincount(one.ravel(), minlength=len(classes)) for one in labels]
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


def append(output: Output, added: Iterable[Row]) -> None:
    """Append rows to the table."""
    with open(output.folder / AREAS, "ab", buffering=0) as file:  # a single write: threads cannot interleave their rows
        file.write(_csv(added))


def sort(output: Output, inputs: Sequence[Input]) -> None:
    """Rewrite the table: the inputs in their order, after rows of earlier commands.

    Rows of inputs that have no mask are dropped. Where an input has rows twice, because it was predicted twice, the
    later ones are kept.
    """
    path, order = output.folder / AREAS, {one.name: number for number, one in enumerate(inputs)}
    undone = {one.name for one in inputs if not paths(output, one)[0].exists()}
    kept: dict[Row, Row] = {}
    if path.exists():
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            # A command that was killed may leave a row that is cut off.
            whole = (tuple(row) for row in list(csv.reader(file))[1:] if len(row) == len(COLUMNS))
            kept = {row[:3]: row for row in whole if row[0] not in undone}  # by input, slice and class
    with replacing(path) as temporary:
        temporary.write_bytes(_csv([COLUMNS, *sorted(kept.values(), key=lambda row: order.get(row[0], -1))]))


def _csv(lines: Iterable[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode(errors="surrogateescape")  # a file's name need not be UTF-8
