"""Predicted masks that any program wrote, paired with a test set and read as its classes."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets import formats
from datasets.errors import DataError
from datasets.folder import class_names, greys, masks, matching, palettes, volumes, walk
from datasets.folder.class_names import show
from datasets.folder.masks import COLOUR, Summary, as_colours
from datasets.folder.names import Named, first_few
from datasets.folder.reading import Reading
from datasets.folder.settings import Settings
from datasets.formats import search
from launch.evaluation.truth import Truth

Files = tuple[Path, ...]  # a file, or those of a DICOM series


class Rule(NamedTuple):
    """The way masks are read."""

    indices: bool  # of palettes, not their colours
    decode: Callable[[np.ndarray], np.ndarray]  # from codes, see `masks`, to labels uint8


def pair(truth: Truth, folder: Path) -> list[Files]:
    """Return the predicted mask of each pair of the test set: it has the name of the image, or of its true mask.

    Raises DataError for a pair without a predicted mask, and for a predicted mask without a pair.
    """
    if (folder / search.PREDICTION).is_file() and (folder / "masks").is_dir():
        folder = folder / "masks"  # the output folder of launch.predict
    names = walk.named(folder, walk.listing(folder), series=True)
    pairs = truth.scan.pairs
    by_image = [Named(tuple(one.id.split("/")[:-1]), one.id.split("/")[-1], one.image) for one in pairs]
    by_mask = [Named((), formats.stem(one.mask[0]), one.image) for one in pairs]
    tried = [matching.match(named, names, Settings()) for named in (by_image, by_mask)]
    found = next((each for each in tried if each.whole), tried[0])
    if found.faults:
        raise DataError(found.faults[0])
    missing, extra = found.unpaired
    if missing:
        raise DataError(
            f"{folder}: holds no predicted mask for {first_few(one.name for one in missing)}; add what is missing, "
            "named as the image or as its true mask"
        )
    if extra:
        raise DataError(f"{folder}: {first_few(one.name for one in extra)} belong to no image of the test set")
    of_image = {found.image_of[key].files: several[0].files for key, several in found.masks_of.items()}
    how = truth.scan.settings.how
    for one in pairs:
        volumes.check_grids(replace(one, mask=of_image[one.image]), formats.header(one.image, how), how)
    return [of_image[one.image] for one in pairs]


def rule(truth: Truth, predicted: Sequence[Files], track: Callable[[Iterable[Any], int], Iterable[Any]]) -> Rule:
    """Return how all predicted masks are read: with the values of the true masks, or as 0 to C-1, or black and white.

    Raises DataError for values that are neither, and where they could be both.
    """
    classes, numbered = len(truth.classes), ", ".join(f"{n} {name}" for n, name in enumerate(truth.classes))
    reading, tracked = truth.scan.reading, track(predicted, len(predicted))
    plain = [masks.summarise(paths, truth.scan.how(at), indices=True) for at, paths in enumerate(tracked)]

    def by_colour() -> list[masks.Summary]:
        return [masks.summarise(paths, truth.scan.how(at), indices=False) for at, paths in enumerate(predicted)]

    if not (indices := palettes.by_index(plain, class_names.codes(truth.scan.settings))):
        plain = by_colour()
    values, as_true, as_labels = _values(plain), None, None
    if isinstance(reading, Reading) and not reading.class_files:
        by_index = indices and reading.indices
        same = plain if by_index == indices else by_colour()
        if all(_known(one.values, reading).all() for one in same):
            as_true = Rule(by_index, reading.decode)
    if values[0] >= 0 and values[-1] < classes:
        as_labels = Rule(indices, lambda codes: codes.astype(np.uint8))
    elif classes == 2 and set(values.tolist()) <= {0, 255}:
        as_labels = Rule(indices, lambda codes: (codes > 0).astype(np.uint8))
    alike = as_true and as_true.indices == indices
    if as_true and as_labels and alike and (as_true.decode(values) != as_labels.decode(values)).any():
        raise DataError(
            f"{plain[0].path}: predicted masks hold {first_few(map(show, values))}, which may be values of the true "
            f"masks, or {numbered}: save them with values that are only one of these, such as colours"
        )
    if found := as_true or as_labels:
        return found
    known = functools.partial(_known, reading=reading) if isinstance(reading, Reading) else np.zeros_like
    odd = next((one for one in plain if not (known(one.values) | (one.values < classes)).all()), plain[0])
    raise DataError(
        f"{odd.path}: holds {first_few(map(show, odd.values))}, which are not the classes of the test set: save all "
        f"predicted masks with the values of its true masks, or as {numbered}"
    )


def read(truth: Truth, number: int, paths: Files, given: Rule) -> np.ndarray:
    """Return the predicted labels (n, H, W) uint8 of the pair `number`, whose predicted mask is `paths`."""
    return given.decode(masks.read(paths, truth.scan.how(number), indices=given.indices))


def _known(values: np.ndarray, reading: Reading) -> np.ndarray:
    """Return which codes stand for a class in the true masks."""
    if reading.kind == "any":
        return ~np.isin(values, [] if reading.ignore is None else [reading.ignore])
    if reading.values[-1] >= COLOUR:
        values = as_colours(values)
    of_classes: Sequence[int] = [value for value in reading.values if value != reading.ignore]
    if reading.kind == "labels":
        of_classes = range(len(reading.classes))
    elif reading.kind == "binary":
        of_classes = (0, greys.white(reading.values))
    return np.isin(values, list(of_classes))


def _values(summaries: Sequence[Summary]) -> np.ndarray:
    return np.unique(np.concatenate([one.values for one in summaries]))
