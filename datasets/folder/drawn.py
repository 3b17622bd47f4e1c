"""The rule by which annotations, COCO's and LabelMe's, become labels: decided once for the whole set."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from datasets import annotations
from datasets.annotations.labelme import IGNORED
from datasets.annotations.raster import Region
from datasets.errors import DataError
from datasets.folder.class_names import UndecidedError
from datasets.folder.masks import Summary
from datasets.folder.names import first_few, is_text
from datasets.folder.settings import MAX_CLASSES, Settings
from datasets.formats.stack import PLAIN, How
from sharp_unet_jax.metrics import IGNORE

TOUCHING = 0.01  # share of the objects' pixels that may lie in two classes before one must say which wins
BACKGROUND = ("background", "_background_")


@dataclass(frozen=True)
class Drawn:
    """The rule by which all annotations of a set are read; a stand-in for `labels.Reading`."""

    classes: tuple[str, ...]  # names, background first
    label_of: Mapping[str, int]  # by the annotations' names; names that are not there are left out
    text: str  # for `describe`
    kind: Literal["drawn"] = "drawn"
    notes: tuple[str, ...] = ()

    def labels(self, paths: Sequence[Path], how: How = PLAIN) -> np.ndarray:
        """Return the labels of one mask, uint8 (1, H, W)."""
        del how
        codes, contents = annotations.read(paths)
        return decode(codes, contents.regions, self.label_of)[None]

    def found(self, mask: Summary) -> np.ndarray:
        """Return the label of each of the mask's `values`."""
        assert mask.drawn is not None
        return decode(mask.values, mask.drawn.regions, self.label_of)

    def describe(self) -> str:
        """Describe the annotations and how they are read, in one clause."""
        return self.text


def decode(codes: np.ndarray, regions: Sequence[Region], label_of: Mapping[str, int]) -> np.ndarray:
    """Return the label of each code of `raster.codes`, uint8 of its shape.

    A pixel in regions to be ignored is IGNORE. Of several classes the lowest label wins. A crowd is IGNORE where there
    is nothing else.
    """
    labels = np.zeros(codes.shape, np.uint8)
    known = [(bit, region, label_of[region.name]) for bit, region in enumerate(regions) if region.name in label_of]
    layers = [(-1, IGNORE, bit) for bit, region, _ in known if region.crowd]
    layers += [(IGNORE - label, label, bit) for bit, region, label in known if label != IGNORE and not region.crowd]
    layers += [(IGNORE + 1, IGNORE, bit) for bit, _, label in known if label == IGNORE]
    for _, label, bit in sorted(layers):
        labels[codes & codes.dtype.type(1 << bit) > 0] = label
    return labels


def decide(summaries: Sequence[Summary], given: Settings) -> Drawn:
    """Return the rule by which all annotations can be read.

    Args:
        summaries: of all masks.
        given: `classes`, `labels` and `ignore`; see README.md.

    Raises:
        DataError: for names that are not in the annotations.
        UndecidedError: where the annotations could mean two things.
    """
    known, found, where = _names(summaries), _found(summaries), given.masks or given.table
    if odd := [name for name in known if not is_text(name)]:
        raise DataError(f"{where}: calls a class {odd[0]!a}, which is no line of text; rename it")
    ignored = {IGNORED, given.ignore} & {*known, given.ignore} - {""}
    for field, names in (("ignore", ignored), ("classes", given.classes[1:] if given.labels == "classes" else ())):
        if unknown := [name for name in names if name not in known]:
            raise DataError(f"{where}: data.{field} names {first_few(unknown)}, but there are {first_few(known)}")
    objects = [name for name in known if name in found and name not in ignored]
    classes = given.classes or ("background", *objects)
    if given.labels == "any":
        classes = given.classes or ("background", "foreground")
        if len(classes) != 2:
            raise DataError(f"data.classes names {len(classes)} classes; data.labels=any has 2: name both")
        label_of = dict.fromkeys(objects, 1)
    else:
        label_of = {name: label for label, name in enumerate(classes) if name in known}
        if not given.classes and (twice := [name for name in objects if name.casefold() in BACKGROUND]):
            rest = [name for name in objects if name not in twice]
            left_out = f"to leave it out, --config.data.classes={','.join(['ground', *rest])}"
            called = f"{where}: a class is called {twice[0]}; if it cuts holes into others"
            raise UndecidedError(called, left_out, classes=(twice[0], *rest))
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"{where}: {len(objects)} classes are annotated, and at most {MAX_CLASSES} with the background are read; "
            "name background and those that you want in data.classes"
        )
    if given.labels == "classes" and classes[0] in objects and classes[0].casefold() not in BACKGROUND:
        first = f"data.classes names {classes[0]} first, which is the background's place"
        raise DataError(f"{where}: {first}; write background,{','.join(classes)}")
    label_of = {name: IGNORE if name in ignored else label for name, label in label_of.items()}
    label_of |= dict.fromkeys(ignored, IGNORE)
    both = _both(summaries, label_of)
    if both and not given.classes and sum(both.values()) > TOUCHING * _objects(summaries, label_of):
        (one, other), pixels = both.most_common(1)[0]
        overlap = f"{where}: {classes[one]} and {classes[other]} overlap in {pixels:,} pixels, and the first class wins"
        if odd := [name for name in objects if {*name} & {*",="}]:
            raise DataError(f"{overlap}; rename {odd[0]!r}, which data.classes cannot name")
        raise UndecidedError(overlap, classes=proposed(summaries, given))
    text = _text(summaries, classes, label_of, sum(both.values()))
    return Drawn(classes, label_of, text, notes=(*_crowds(summaries, label_of), *_alike(classes)))


def proposed(summaries: Sequence[Summary], given: Settings) -> tuple[str, ...]:
    """Return names of classes with which annotations can be read: what covers less wins."""
    known, found = _names(summaries), _found(summaries)
    names = [n for n in known if n in found and n not in (IGNORED, given.ignore) and n.casefold() not in BACKGROUND]
    return "background", *_smallest_first(summaries, names)[: MAX_CLASSES - 1]


def _names(summaries: Sequence[Summary]) -> tuple[str, ...]:
    """Return all names: a COCO file's in its order, those of LabelMe's files by the alphabet."""
    every = {mask.drawn.known: None for mask in summaries if mask.drawn}
    return next(iter(every)) if len(every) == 1 else tuple(sorted({name for known in every for name in known}))


def _found(summaries: Sequence[Summary]) -> set[str]:
    return {region.name for mask in summaries if mask.drawn for region in mask.drawn.regions}


def _pixels(summaries: Iterable[Summary]) -> Counter[frozenset[Region]]:
    """Count the pixels by the regions that they lie in."""
    pixels: Counter[frozenset[Region]] = Counter()
    for mask in summaries:
        regions = mask.drawn.regions if mask.drawn else ()
        for value, count in zip(mask.values.tolist(), mask.counts.tolist(), strict=True):
            pixels[frozenset(region for bit, region in enumerate(regions) if value >> bit & 1)] += count
    return pixels


def _labels(regions: Iterable[Region], label_of: Mapping[str, int]) -> list[int]:
    """Return the different labels of regions, ascending, without IGNORE and crowds."""
    found = {label_of[region.name] for region in regions if region.name in label_of and not region.crowd}
    return sorted(found - {IGNORE})


def _both(summaries: Sequence[Summary], label_of: Mapping[str, int]) -> Counter[tuple[int, int]]:
    """Count the pixels in two classes or more, by the first two."""
    both: Counter[tuple[int, int]] = Counter()
    for regions, count in _pixels(summaries).items():
        if len(labels := _labels(regions, label_of)) > 1:
            both[labels[0], labels[1]] += count
    return both


def _objects(summaries: Sequence[Summary], label_of: Mapping[str, int]) -> int:
    return sum(count for regions, count in _pixels(summaries).items() if any(_labels(regions, label_of)))


def _crowds(summaries: Sequence[Summary], label_of: Mapping[str, int]) -> tuple[str, ...]:
    """Return a note on crowds, if there are any: CVAT and Datumaro call each object that is no polygon a crowd."""
    regions = [mask.drawn.regions for mask in summaries if mask.drawn]
    if not (number := sum(any(r.crowd and r.name in label_of for r in several) for several in regions)):
        return ()
    return (
        f"annotations in {number} of {len(summaries)} images are crowds (iscrowd=1), which are not scored; if they are "
        "objects, as those that CVAT saves as run lengths, set iscrowd to 0 in the file",
    )


def _alike(classes: Sequence[str]) -> tuple[str, ...]:
    """Return a note on names that differ only in case or blanks, as those typed by hand do, if there are any."""
    often = Counter(name.casefold().strip() for name in classes)
    alike = [repr(name) for name in classes if often[name.casefold().strip()] > 1]
    return (f"{first_few(alike)} are different classes: if they are one, give it one name in the files",) * bool(alike)


def _smallest_first(summaries: Sequence[Summary], names: Sequence[str]) -> list[str]:
    area: Counter[str] = Counter()
    for regions, count in _pixels(summaries).items():
        for name in {region.name for region in regions}:
            area[name] += count
    return sorted(names, key=lambda name: area[name])


def _text(summaries: Sequence[Summary], classes: Sequence[str], label_of: Mapping[str, int], overlapping: int) -> str:
    kinds = {mask.drawn.file for mask in summaries if mask.drawn}
    named = ", ".join(f"{label} is {name}" for label, name in enumerate(classes))
    parts = [f"annotations of {first_few(sorted(kinds))} are labels: {named}"]
    if overlapping:
        parts.append(f"{overlapping:,} pixels lie in several classes, of which the first wins")
    unused = sorted(_found(summaries) - set(label_of))
    if unused:
        parts.append(f"left out: {first_few(unused)}")
    if elsewhere := [mask.drawn.elsewhere for mask in summaries if mask.drawn and mask.drawn.elsewhere]:
        parts.append(f"{len(elsewhere)} images are matched by name alone, in other folders: {first_few(elsewhere)}")
    if without := sum(mask.drawn.without_area for mask in summaries if mask.drawn):
        parts.append(f"{without} points and lines, which have no area, are left out")
    ignored = sorted(name for name, label in label_of.items() if label == IGNORE)
    crowds = any(r.crowd and r.name in label_of for mask in summaries if mask.drawn for r in mask.drawn.regions)
    if what := [*ignored, *["crowds"] * crowds]:
        parts.append(f"not scored: {first_few(what)}")
    return "; ".join(parts)
