"""The rule by which masks in grey values are read: labels, black and white, or values that are a class each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.errors import DataError
from datasets.folder import class_names, instances
from datasets.folder.class_names import UndecidedError
from datasets.folder.masks import Summary
from datasets.folder.names import first_few
from datasets.folder.settings import MAX_CLASSES, Settings

CLEAR = 0.95  # a black-and-white mask has at least this share of pixels near black or near white

Kind = Literal["labels", "binary", "values"]


def kind(
    summaries: Sequence[Summary], values: np.ndarray, classes: Sequence[str], given: Settings, *, indices: bool
) -> Kind:
    """Return what grey values mean.

    Args:
        summaries: of all masks.
        values: of all masks together, ascending.
        classes: the names without values that the user gives; () where there are none.
        given: the user's settings.
        indices: whether the indices of palettes were read.

    Raises:
        DataError: where they could mean two things.
    """
    highest, number = int(values[-1]), len(values)
    if classes and highest < len(classes):
        return "labels"
    if highest <= 1 or (highest == number - 1 and highest < MAX_CLASSES):
        if highest >= instances.FEWEST and instances.numbered(summaries, indices=indices):
            raise objects(summaries, f"labels 1 to {highest}, which seem to number objects (instances)")
        if classes:
            raise DataError(
                f"{first_beyond(summaries, values, len(classes))}: holds label {highest} (labels in all masks: "
                f"{first_few(values)}) but {named(classes)}; name {highest + 1}"
            )
        return "labels"
    noisy = bool(_is_dark(values[:1], values)[0]) and is_binary(summaries, values, named=False)
    if 1 < number <= MAX_CLASSES and values[0] > 0 and not noisy:
        pixels = pixels_of(summaries, values)
        found = f"masks hold {class_names.shares(pixels)} and no 0, which would be background; name it first"
        raise UndecidedError(f"{summaries[0].path}: {found}", classes=class_names.proposed(list(pixels), classes))
    if classes and len(classes) == number and (number > 2 or not _is_light(values, values).any()):
        return "values"
    return _black_and_white(summaries, values, classes, given, indices=indices)


def _black_and_white(
    summaries: Sequence[Summary], values: np.ndarray, classes: Sequence[str], given: Settings, *, indices: bool
) -> Kind:
    """Return "binary". Raises DataError for masks that are not black and white."""
    number = len(values)
    check_void(summaries, values, given)
    binary = is_binary(summaries, values, named=len(classes) == 2)
    if (binary or number <= MAX_CLASSES) and (different := _different_whites(summaries, values)):
        raise DataError(
            f"{different[0].path}: holds nothing above {different[0].values[-1]} where {different[1].path} holds "
            f"{different[1].values[-1]}: what is foreground? save all masks in one way"
            + (f", or name {number} classes to make each value one" if number <= MAX_CLASSES else "")
        )
    if binary:
        return "binary"
    or_two = ", or two to cut them in the middle" if is_binary(summaries, values, named=True) else ""
    if number > MAX_CLASSES and or_two and (odd_ones := [mask for mask in summaries if mask.areas]):
        where, most = odd_ones[0].path, next(iter(pixels_of(odd_ones[:1], odd_ones[0].areas)))
        found = f"areas of grey, mostly {most}, beside black and white"
        raise DataError(f"{where}: masks hold {found}; save them without blur and name a class for each{or_two}")
    where = first_beyond(summaries, values, len(classes)) if classes else _oddest(summaries, values)
    found = f"{number} grey values, {first_few(values)}"
    maybe_instances = "instances? --config.data.labels=any reads each value above 0 as foreground"
    if number > MAX_CLASSES:
        if instances.numbered(summaries, indices=indices):
            raise objects(summaries, f"{found}, which seem to number objects (instances)")
        raise DataError(f"{where}: masks hold {found}; at most {MAX_CLASSES} can be classes ({maybe_instances})")
    odd = f"but {named(classes)}" if classes else "which are neither 0 and 255 nor labels 0, 1, 2, ..."
    advice = f"name {number} classes to make each value one{or_two}"
    advice += f" ({maybe_instances})" if number > instances.MANY else ""
    raise DataError(f"{where}: masks hold {found}, {odd}; {advice}")


def check_void(summaries: Sequence[Summary], values: np.ndarray, given: Settings) -> None:
    """Refuse white beside labels 0, 1, ... in one mask: such pixels may not be annotated. Raises DataError."""
    labels, light = values[:-1], int(values[-1])
    if given.ignore or len(labels) < 2 or labels[-1] != len(labels) - 1 or light not in (255, 65535):
        return
    if light == len(labels) or not any(
        not mask.jpeg and light in mask.values and np.isin(labels[1:], mask.values).any() for mask in summaries
    ):
        return
    message = f"{holding(summaries, [light])}: masks hold {light} beside labels {first_few(labels)}"
    otherwise = f"or name {len(values)} classes to make each value one" if len(values) <= MAX_CLASSES else ""
    raise UndecidedError(f"{message}; leave these pixels out", otherwise, ignore=str(light))


def objects(summaries: Sequence[Summary], found: str) -> UndecidedError:
    """Return the error for masks that number objects."""
    largest = max(summaries, key=lambda mask: int(mask.values.max(initial=0)))
    message = f"{largest.path}: masks hold {found}; read each object as foreground"
    return UndecidedError(message, "if they are classes, name these instead", labels="any")


def is_binary(summaries: Sequence[Summary], values: np.ndarray, *, named: bool) -> bool:
    """Say whether masks that hold no labels mean two classes, with sharp or blurred edges.

    `named`: two names are given. Without them, areas of one grey between black and white are no edges. Labels beside
    255 (for ignored pixels) and numbered objects are not binary, although most pixels of such masks are near black: of
    their pixels above 0, most are not near white.
    """
    light = _is_light(values, values)
    between = (values > 0) & ~light
    if not light.any() or not between.any():
        return bool(light.any())
    # Noise, as JPEG adds it, is on both sides: greys near black beside several greys near white.
    noise = light.sum() > 1 and not (between & ~_is_dark(values, values)).any()
    dark_pixels = middle_pixels = light_pixels = pixels = 0
    for mask in summaries:
        dark, light = _is_dark(mask.values, values) & (mask.values > 0), _is_light(mask.values, values)
        if not mask.jpeg:  # in a JPEG, pixels near black can be mere noise
            dark_pixels += int(mask.counts[dark].sum())
        light_pixels += int(mask.counts[light].sum())
        middle_pixels += int(mask.counts[(mask.values > 0) & ~dark & ~light].sum())
        pixels += int(mask.counts.sum())
    blurred = named or ((noise or len(values) > MAX_CLASSES) and not any(mask.areas for mask in summaries))
    return blurred and light_pixels > dark_pixels + middle_pixels and middle_pixels <= (1 - CLEAR) * pixels


def white(values: Sequence[int] | np.ndarray) -> int:
    """Return the grey that is white in masks with these values."""
    return 255 if values[-1] <= 255 else 65535


def first_beyond(summaries: Sequence[Summary], values: np.ndarray, classes: int) -> Path:
    """Return the first mask with a value beyond the first `classes` values."""
    return holding(summaries, values[classes:]) or summaries[0].path


def holding(summaries: Sequence[Summary], values: Sequence[int] | np.ndarray) -> Path | None:
    """Return the first mask that holds one of these values, if any does."""
    return next((mask.path for mask in summaries if np.isin(mask.values, values).any()), None)


def pixels_of(summaries: Sequence[Summary], values: Sequence[int] | np.ndarray) -> dict[int, int]:
    """Return the number of pixels of each of these codes, the most frequent first."""
    found = {int(value): 0 for value in values}
    for mask in summaries:
        for value, count in zip(mask.values.tolist(), mask.counts.tolist(), strict=True):
            if value in found:
                found[value] += count
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def named(classes: Sequence[str]) -> str:
    """Return how many classes the user names, and which, for a message."""
    return f"{len(classes)} classes are named ({', '.join(classes)})"


def _different_whites(summaries: Sequence[Summary], values: np.ndarray) -> tuple[Summary, Summary] | None:
    """Return a mask that is not empty but holds nothing above nearly black, and a mask that holds white, if there are.

    So are masks of 0 and 1 beside masks of 0 and 255, and masks of 8 bits beside masks of 16.
    """
    near_black = [
        mask for mask in summaries if mask.values.any() and _is_dark(mask.values, values).all() and not mask.jpeg
    ]
    light = [mask for mask in summaries if _is_light(mask.values, values).any()]
    return (near_black[0], light[0]) if near_black and light else None


def _is_dark(values: np.ndarray, of_all_masks: np.ndarray) -> np.ndarray:
    return values <= white(of_all_masks) // 8


def _is_light(values: np.ndarray, of_all_masks: np.ndarray) -> np.ndarray:
    return values >= white(of_all_masks) - white(of_all_masks) // 8


def _oddest(summaries: Sequence[Summary], values: np.ndarray) -> Path:
    """Return the first mask with the value that the fewest masks hold."""
    masks_with = np.sum([np.isin(values, mask.values) for mask in summaries], axis=0)
    return holding(summaries, [values[np.argmin(masks_with)]]) or summaries[0].path
