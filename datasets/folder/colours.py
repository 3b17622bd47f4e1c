"""Masks in colours: one class per colour, black first; blends at smoothed edges are snapped to the named colours."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from datasets.errors import DataError
from datasets.folder import blends, class_names, greys, instances, masks
from datasets.folder.class_names import UndecidedError
from datasets.folder.masks import BLACK, WHITE, Summary
from datasets.folder.settings import MAX_CLASSES


def recoded(mask: Summary) -> Summary:
    """Return a mask of a set in colours with its greys as colours."""
    solid = tuple(masks.as_colours(np.array(mask.solid, int)).tolist())
    return replace(mask, values=masks.as_colours(mask.values), solid=solid)


def check(
    summaries: Sequence[Summary], values: np.ndarray, classes: Sequence[str], *, indices: bool
) -> tuple[str, ...]:
    """Return notes on colours, and refuse those whose meaning is not plain. Raises DataError.

    Args:
        summaries: of all masks.
        values: of all masks together, ascending.
        classes: the names without values that the user gives; () where there are none.
        indices: whether the indices of palettes were read.
    """
    few, number = blends.main(summaries, values.tolist()), len(values)
    pixels = greys.pixels_of(summaries, few)
    order = sorted(pixels, key=lambda one: one != BLACK)  # black, then the most frequent
    worst = max(summaries, key=lambda mask: len(mask.values)).path
    if len(few) < number:
        message = f"masks hold {number} colours, as it seems blends of {class_names.shares(pixels)}; name these"
        raise UndecidedError(f"{worst}: {message}", classes=class_names.proposed(order, classes))
    objects = len(classes) != number and instances.numbered(summaries, indices=indices)
    if objects:
        raise greys.objects(summaries, f"{number} colours, which seem to be one for each object (instances)")
    if number > MAX_CLASSES:
        most = max(len(mask.values) for mask in summaries)
        raise DataError(
            f"{worst}: {most} colours in this mask and {number} in all, at most {MAX_CLASSES} can be classes; "
            "save masks as PNG, since JPEG blurs colours, and check that these are masks (instances? "
            "--config.data.labels=any reads each colour but black as foreground)"
        )
    if BLACK not in values:
        found = f"{class_names.shares(pixels)} and no black, which would be background; name it first"
        raise UndecidedError(f"{summaries[0].path}: masks hold {found}", classes=class_names.proposed(order, classes))
    if next(iter(pixels)) != WHITE:
        return ()
    paper = ",".join(class_names.proposed(list(pixels)))
    return (f"most pixels are white, and black is read as background; if white is: --config.data.classes={paper}",)


def blended(summaries: Sequence[Summary], rest: Sequence[int], known: Mapping[int, int]) -> tuple[str, ...]:
    """Return a note on the colours `rest`, blends of those that are `known`.

    Raises DataError for a colour that is none, and for more blends than edges have.
    """
    solid = {one for mask in summaries for one in mask.solid}
    near = blends.are_blends(rest, [one for one in known if one >= BLACK])
    odd = [one for one, blend in zip(rest, near, strict=True) if one in solid or not blend]
    if odd:
        found = class_names.shares(greys.pixels_of(summaries, odd), _pixels(summaries))
        raise DataError(f"{greys.holding(summaries, odd)}: masks hold {found}, which no name in data.classes carries")
    share = sum(greys.pixels_of(summaries, rest).values()) / _pixels(summaries)
    if share > blends.MOST:
        raise DataError(
            f"{greys.holding(summaries, rest)}: {share:.1%} of all pixels are blends of the named colours, and at most "
            f"{blends.MOST:.0%} are read; save the masks without smoothing"
        )
    return (
        f"{share:.2%} of all pixels are blends of colours, as smoothed edges have them; each takes the nearest colour",
    )


def _pixels(summaries: Sequence[Summary]) -> int:
    return sum(int(mask.counts.sum()) for mask in summaries)
