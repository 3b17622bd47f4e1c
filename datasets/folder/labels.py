"""The rule by which the masks of a set are read as labels 0..C-1: decided once for the whole set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from datasets import files
from datasets.folder import masks
from datasets.folder.masks import Summary
from datasets.folder.names import first_few, is_text
from datasets.folder.settings import Settings
from datasets.formats.stack import PLAIN, How

MAX_CLASSES = 32  # more values than these are noise, instances, or not masks at all
CLEAR = 0.95  # a black-and-white mask has at least this share of pixels near black or near white

Kind = Literal["labels", "binary", "values"]


@dataclass(frozen=True)
class Reading:
    """The rule by which all masks of a set are read."""

    kind: Kind
    values: tuple[int, ...]  # the codes found, ascending; if kind is "values", the index of a code is its label
    classes: tuple[str, ...]  # names, background first
    indices: bool  # whether the indices of palettes are read, not their colours

    def labels(self, paths: Sequence[Path], how: How = PLAIN) -> np.ndarray:
        """Return the labels of one mask, uint8 (n, H, W)."""
        return self.decode(masks.read(paths, how, indices=self.indices))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the labels of codes, uint8 of their shape."""
        if self.kind == "labels":
            return codes.astype(np.uint8)
        if self.kind == "binary":
            return (codes > _white(self.values) // 2).astype(np.uint8)
        codes = masks.as_colours(codes) if self.values[-1] >= masks.COLOUR else codes
        return np.searchsorted(np.array(self.values), codes).astype(np.uint8)

    def describe(self) -> str:
        """Describe the values found and how they are read, in one clause."""
        values = np.array(self.values)
        found = first_few(show(v) for v in self.values) if len(values) < 6 else f"{values[0]} to {values[-1]}"
        if self.kind == "labels":
            named = ", ".join(f"{label} is {name}" for label, name in enumerate(self.classes))
            return f"mask values {found} are labels: {named}"
        if self.kind == "binary" and len(values) > 2:
            cut = f"above {_white(self.values) // 2} is {self.classes[1]}"
            return f"mask values {found} ({len(values)} greys) are black and white, blurred: {cut}"
        named = ", ".join(f"{show(v)} is {self.classes[k]}" for v, k in zip(values, self.decode(values), strict=True))
        return f"mask values: {named}"


def show(code: int) -> str:
    """Return a grey value as a number, a colour as #rrggbb."""
    return f"#{code - masks.COLOUR:06x}" if code >= masks.COLOUR else str(code)


def decide(summaries: Sequence[Summary], given: Settings, *, indices: bool) -> Reading:
    """Return the rule by which all masks can be read.

    Args:
        summaries: of all masks.
        given: has the names of the classes, background first; () gives them default names.
        indices: whether the indices of palettes were read.

    Raises:
        DataError: where the masks could mean two things: nothing is guessed. For names that are no text, or not unique.
    """
    classes = given.classes or None
    if classes is not None and len(set(classes)) < len(classes):
        raise files.DataError(f"data.classes names a class twice ({', '.join(classes)}); give each its own name")
    for name in classes or ():
        if not is_text(name):
            raise files.DataError(f"data.classes names {name!a}, which is no line of text; rename it")
    values = np.unique(np.concatenate([mask.values for mask in summaries]))
    if values[-1] >= masks.COLOUR:
        kind: Kind = "values"
        values = np.unique(masks.as_colours(values))
        if len(values) > MAX_CLASSES:
            worst = max(summaries, key=lambda mask: len(mask.values))
            raise files.DataError(
                f"{worst.path}: {len(worst.values)} colours in this mask and {len(values)} in all, at most "
                f"{MAX_CLASSES} can be classes; save masks as PNG, since JPEG blurs colours, and check that these are "
                "masks"
            )
    else:
        kind = _kind_of_greys(summaries, values, classes)
    jpeg = next((mask.path for mask in summaries if mask.jpeg and mask.values.any()), None)
    if jpeg and kind != "binary":
        raise files.DataError(f"{jpeg}: JPEG changes labels and colours near edges; save such masks as PNG")
    if classes is None:
        return Reading(kind, tuple(values.tolist()), _default_names(kind, values), indices)
    if (kind == "binary" and len(classes) != 2) or (kind == "values" and len(classes) != len(values)):
        where = _first_beyond(summaries, values, len(classes))
        held = "black and white" if kind == "binary" else f"{len(values)} values"
        raise files.DataError(f"{where}: masks hold {held} but {_named(classes)}; name one for each, background first")
    return Reading(kind, tuple(values.tolist()), tuple(classes), indices)


def _kind_of_greys(summaries: Sequence[Summary], values: np.ndarray, classes: Sequence[str] | None) -> Kind:
    """Decide what grey values mean. Raises DataError where they could mean two things."""
    highest = int(values[-1])
    if classes is not None and highest < len(classes):
        return "labels"
    if highest <= 1 or (highest == len(values) - 1 and highest < MAX_CLASSES):
        if classes is not None:
            raise files.DataError(
                f"{_first_beyond(summaries, values, len(classes))}: holds label {highest} (labels in all masks: "
                f"{first_few(values)}) but {_named(classes)}; name {highest + 1}"
            )
        return "labels"
    if classes is not None and len(classes) == len(values) and (len(values) > 2 or not _is_light(values, values).any()):
        return "values"
    binary = _is_binary(summaries, values, named=classes is not None and len(classes) == 2)
    if (binary or len(values) <= MAX_CLASSES) and (different := _different_whites(summaries, values)):
        raise files.DataError(
            f"{different[0].path}: holds nothing above {different[0].values[-1]} where {different[1].path} holds "
            f"{different[1].values[-1]}: what is foreground? save all masks in one way"
            + (f", or name {len(values)} classes to make each value one" if len(values) <= MAX_CLASSES else "")
        )
    if binary:
        return "binary"
    where = _first_beyond(summaries, values, len(classes)) if classes is not None else _oddest(summaries, values)
    found = f"{len(values)} grey values, {first_few(values)}"
    if len(values) > MAX_CLASSES:
        raise files.DataError(
            f"{where}: masks hold {found}; at most {MAX_CLASSES} can be classes (instances? merge them)"
        )
    named = f"but {_named(classes)}" if classes is not None else "which are neither 0 and 255 nor labels 0, 1, 2, ..."
    or_two = ", or two to cut them in the middle" if _is_binary(summaries, values, named=True) else ""
    raise files.DataError(
        f"{where}: masks hold {found}, {named}; name {len(values)} classes to make each value one{or_two}"
    )


def _is_binary(summaries: Sequence[Summary], values: np.ndarray, *, named: bool) -> bool:
    """Say whether masks that hold no labels mean two classes, with sharp or blurred edges.

    `named`: two names are given. Labels beside 255 (for ignored pixels) and numbered objects are not binary, although
    most pixels of such masks are near black: of their pixels above 0, most are not near white.
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
        if not mask.jpeg:  # in a JPEG, pixels near black can be noise alone
            dark_pixels += int(mask.counts[dark].sum())
        light_pixels += int(mask.counts[light].sum())
        middle_pixels += int(mask.counts[(mask.values > 0) & ~dark & ~light].sum())
        pixels += int(mask.counts.sum())
    blurred = named or noise or len(values) > MAX_CLASSES
    return blurred and light_pixels > dark_pixels + middle_pixels and middle_pixels <= (1 - CLEAR) * pixels


def _different_whites(summaries: Sequence[Summary], values: np.ndarray) -> tuple[Summary, Summary] | None:
    """Return a mask that is not empty but holds nothing above nearly black, and a mask that holds white, if there are.

    So are masks of 0 and 1 beside masks of 0 and 255, and masks of 8 bits beside masks of 16.
    """
    near_black = [
        mask for mask in summaries if mask.values.any() and _is_dark(mask.values, values).all() and not mask.jpeg
    ]
    white = [mask for mask in summaries if _is_light(mask.values, values).any()]
    return (near_black[0], white[0]) if near_black and white else None


def _is_dark(values: np.ndarray, of_all_masks: np.ndarray) -> np.ndarray:
    return values <= _white(of_all_masks) // 8


def _is_light(values: np.ndarray, of_all_masks: np.ndarray) -> np.ndarray:
    return values >= _white(of_all_masks) - _white(of_all_masks) // 8


def _white(values: Sequence[int] | np.ndarray) -> int:
    return 255 if values[-1] <= 255 else 65535


def _first_beyond(summaries: Sequence[Summary], values: np.ndarray, classes: int) -> Path:
    """Return the first mask with a value beyond the first `classes` values."""
    known = values[:classes]
    return next((mask.path for mask in summaries if not np.isin(mask.values, known).all()), summaries[0].path)


def _oddest(summaries: Sequence[Summary], values: np.ndarray) -> Path:
    """Return the first mask with the value that the fewest masks hold."""
    masks_with = np.sum([np.isin(values, mask.values) for mask in summaries], axis=0)
    rarest = values[np.argmin(masks_with)]
    return next(mask.path for mask in summaries if rarest in mask.values)


def _named(classes: Sequence[str]) -> str:
    return f"{len(classes)} classes are named ({', '.join(classes)})"


def _default_names(kind: Kind, values: np.ndarray) -> tuple[str, ...]:
    """Name classes that the user has not named."""
    if kind == "values":
        return tuple(_default_name(int(value), label, len(values)) for label, value in enumerate(values))
    count = max(2, int(values[-1]) + 1) if kind == "labels" else 2
    return tuple(_default_name(0, label, count) for label in range(count))


def _default_name(value: int, label: int, count: int) -> str:
    if value > masks.COLOUR or (value == masks.COLOUR and label):
        return show(value)
    return "background" if label == 0 else "foreground" if count == 2 else f"class {label}"
