"""How the masks of a set are read as labels 0..C-1: decided once, over the whole set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from datasets import files
from datasets.folder import masks
from datasets.folder.pairs import some

MOST = 32  # classes; more values than this are noise, instances, or not masks at all
CLEAR = 0.95  # part of all pixels that is near black or near white in masks which mean black and white
JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Reading:
    """One rule for all masks."""

    how: Literal["labels", "binary", "values"]
    values: tuple[int, ...]  # the codes found, ascending; where how is "values", the index of each is its label
    classes: tuple[str, ...]
    indices: bool  # whether palettes are read as indices

    def labels(self, path: Path) -> np.ndarray:
        """The label map of one mask, uint8 (H, W)."""
        return self.of(masks.read(path, indices=self.indices))

    def of(self, codes: np.ndarray) -> np.ndarray:
        """Labels of codes."""
        if self.how == "labels":
            return codes.astype(np.uint8)
        if self.how == "binary":
            return (codes > _top(self.values) // 2).astype(np.uint8)
        codes = masks.as_colours(codes) if self.values[-1] >= masks.COLOUR else codes
        return np.searchsorted(np.array(self.values), codes).astype(np.uint8)

    def describe(self) -> str:
        """What was found and how it is read, for people."""
        values = np.array(self.values)
        found = some(show(v) for v in self.values) if len(values) < 6 else f"{values[0]} to {values[-1]}"
        if self.how == "labels":
            named = ", ".join(f"{label} is {name}" for label, name in enumerate(self.classes))
            return f"mask values {found} are labels: {named}"
        if self.how == "binary" and len(values) > 2:
            cut = f"above {_top(self.values) // 2} is {self.classes[1]}"
            return f"mask values {found} ({len(values)} greys) are black and white, blurred: {cut}"
        named = ", ".join(f"{show(v)} is {self.classes[k]}" for v, k in zip(values, self.of(values), strict=True))
        return f"mask values: {named}"


def show(code: int) -> str:
    """A grey value as a number, a colour as #rrggbb."""
    return f"#{code - masks.COLOUR:06x}" if code >= masks.COLOUR else str(code)


def decide(looks: Sequence[masks.Look], classes: Sequence[str] | None, *, indices: bool) -> Reading:
    """The rule by which all masks can be read; refuses, rather than guesses, where several could be meant."""
    if classes is not None and len(set(classes)) < len(classes):
        raise files.DataError(f"data.classes names a class twice ({', '.join(classes)}); give each its own name")
    values = np.unique(np.concatenate([look.values for look in looks]))
    if values[-1] >= masks.COLOUR:
        how: Literal["labels", "binary", "values"] = "values"
        values = np.unique(masks.as_colours(values))
        if len(values) > MOST:
            worst = max(looks, key=lambda look: len(look.values))
            raise files.DataError(
                f"{worst.path}: {len(worst.values)} colours in this mask and {len(values)} in all, at most {MOST} can "
                "be classes; save masks as PNG, since JPEG blurs colours, and check that these are masks"
            )
    else:
        how = _grey(looks, values, classes)
    jpeg = next((look.path for look in looks if look.path.suffix.lower() in JPEG and look.values.any()), None)
    if jpeg and how != "binary":
        raise files.DataError(f"{jpeg}: JPEG changes labels and colours near edges; save such masks as PNG")
    if classes is None:
        count = {"labels": max(2, int(values[-1]) + 1), "binary": 2, "values": len(values)}[how]
        named = tuple(_name(int(v), label, count) for label, v in enumerate(values)) if how == "values" else ()
        named = named or tuple(_name(0, label, count) for label in range(count))
        return Reading(how, tuple(values.tolist()), named, indices)
    if (how == "binary" and len(classes) != 2) or (how == "values" and len(classes) != len(values)):
        at, kind = (
            _first(looks, values, len(classes)),
            "black and white" if how == "binary" else f"{len(values)} values",
        )
        raise files.DataError(f"{at}: masks hold {kind} but {_named(classes)}; name one for each, background first")
    return Reading(how, tuple(values.tolist()), tuple(classes), indices)


def _grey(
    looks: Sequence[masks.Look], values: np.ndarray, classes: Sequence[str] | None
) -> Literal["labels", "binary", "values"]:
    highest = int(values[-1])
    if classes is not None and highest < len(classes):
        return "labels"
    if highest <= 1 or (highest == len(values) - 1 and highest < MOST):
        if classes is not None:
            raise files.DataError(
                f"{_first(looks, values, len(classes))}: holds label {highest} (labels in all masks: "
                f"{some(values)}) but {_named(classes)}; name {highest + 1}"
            )
        return "labels"
    if classes is not None and len(classes) == len(values) and (len(values) > 2 or not _light(values, values).any()):
        return "values"
    binary = _black_and_white(looks, values, named=classes is not None and len(classes) == 2)
    if (binary or len(values) <= MOST) and (different := _different(looks, values)):
        raise files.DataError(
            f"{different[0].path}: holds nothing above {different[0].values[-1]} where {different[1].path} holds "
            f"{different[1].values[-1]}: what is foreground? save all masks alike"
            + (f", or name {len(values)} classes to make each value one" if len(values) <= MOST else "")
        )
    if binary:
        return "binary"
    where, found = _first(looks, values, len(classes or "ab")), f"{len(values)} grey values, {some(values)}"
    if len(values) > MOST:
        raise files.DataError(f"{where}: masks hold {found}; at most {MOST} can be classes (instances? merge them)")
    named = f"but {_named(classes)}" if classes is not None else "which are neither 0 and 255 nor labels 0, 1, 2, ..."
    or_two = ", or two to cut them in the middle" if _black_and_white(looks, values, named=True) else ""
    raise files.DataError(
        f"{where}: masks hold {found}, {named}; name {len(values)} classes to make each value one{or_two}"
    )


def _black_and_white(looks: Sequence[masks.Look], values: np.ndarray, *, named: bool) -> bool:
    """Whether masks that are no labels mean two classes, sharp or with blurred edges; `named` if there are two names.

    Labels beside 255, for what was left out, and numbers of objects are not black and white, although most of such
    masks is near black: there, what is not black is not white.
    """
    light = _light(values, values)
    between = (values > 0) & ~light
    if not light.any() or not between.any():
        return bool(light.any())
    several = light.sum() > 1 and not (between & ~_dark(values, values)).any()  # noise, as JPEG has it on both sides
    dark_pixels = middle_pixels = light_pixels = pixels = 0
    for look in looks:
        dark, light = _dark(look.values, values) & (look.values > 0), _light(look.values, values)
        if look.path.suffix.lower() not in JPEG:  # in which they can only be noise
            dark_pixels += int(look.counts[dark].sum())
        light_pixels += int(look.counts[light].sum())
        middle_pixels += int(look.counts[(look.values > 0) & ~dark & ~light].sum())
        pixels += int(look.counts.sum())
    blurred = named or several or len(values) > MOST
    return blurred and light_pixels > dark_pixels + middle_pixels and middle_pixels <= (1 - CLEAR) * pixels


def _different(looks: Sequence[masks.Look], values: np.ndarray) -> tuple[masks.Look, masks.Look] | None:
    """A mask that has something in it, but nothing brighter than nearly black, and one with white: if there are both.

    Masks of 0 and 1 beside masks of 0 and 255, or of 8 bits beside 16.
    """
    near_black = [
        look
        for look in looks
        if look.values.any() and _dark(look.values, values).all() and look.path.suffix.lower() not in JPEG
    ]
    white = [look for look in looks if _light(look.values, values).any()]
    return (near_black[0], white[0]) if near_black and white else None


def _dark(some_values: np.ndarray, all_values: np.ndarray) -> np.ndarray:
    return some_values <= _top(all_values) // 8


def _light(some_values: np.ndarray, all_values: np.ndarray) -> np.ndarray:
    return some_values >= _top(all_values) - _top(all_values) // 8


def _top(values: Sequence[int] | np.ndarray) -> int:
    return 255 if values[-1] <= 255 else 65535


def _first(looks: Sequence[masks.Look], values: np.ndarray, classes: int) -> Path:
    """The first mask with a value beyond those that `classes` classes account for."""
    known = values[:classes]
    return next((look.path for look in looks if not np.isin(look.values, known).all()), looks[0].path)


def _named(classes: Sequence[str]) -> str:
    return f"{len(classes)} classes are named ({', '.join(classes)})"


def _name(value: int, label: int, count: int) -> str:
    if value > masks.COLOUR or (value == masks.COLOUR and label):
        return show(value)
    return "background" if label == 0 else "foreground" if count == 2 else f"class {label}"
