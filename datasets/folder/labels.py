"""The rule by which the masks of a set are read as labels 0..C-1: decided once for the whole set."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from datasets.errors import DataError
from datasets.folder import class_names, colours, drawn, greys, masks, walk
from datasets.folder.class_names import Names, UndecidedError, show
from datasets.folder.drawn import Drawn
from datasets.folder.masks import BLACK, COLOUR, TRANSPARENT, Summary
from datasets.folder.names import first_few
from datasets.folder.reading import Kind
from datasets.folder.reading import Reading as Reading
from datasets.folder.settings import MAX_CLASSES as MAX_CLASSES
from datasets.folder.settings import Settings
from sharp_unet_jax.metrics import IGNORE


def decide(summaries: Sequence[Summary], given: Settings, *, indices: bool) -> Reading | Drawn:
    """Return the rule by which all masks can be read.

    Args:
        summaries: of all masks.
        given: has the names of the classes, background first; () gives them default names.
        indices: whether the indices of palettes were read.

    Raises:
        DataError: where the masks could mean two things: nothing is guessed. For names that are no text, or not unique.
    """
    named = class_names.parse(given)
    if outlined := [mask.path for mask in summaries if mask.drawn]:
        if pictures := [mask.path for mask in summaries if not mask.drawn]:
            raise DataError(f"{outlined[0]} holds outlines and {pictures[0]} is a picture; give all masks as one kind")
        return drawn.decide(summaries, given)
    ignore = class_names.ignored(given)
    in_colour = any(mask.values[-1] >= COLOUR for mask in summaries)
    summaries = [colours.recoded(mask) for mask in summaries] if in_colour else list(summaries)
    index_of = {colour: index for mask in summaries for index, colour in mask.palette} if indices else {}
    named = Names(named.names, {_stored(one, in_colour, index_of): label for one, label in named.label_of.items()})
    ignore = None if ignore is None else _stored(ignore, in_colour, index_of)
    left = [_without(mask, ignore) for mask in summaries]
    values = np.unique(np.concatenate([mask.values for mask in left]))
    if not len(values):
        raise DataError(f"{summaries[0].path}: data.ignore={given.ignore} leaves no pixel of any mask")
    notes = _notes(summaries, values, named, given, ignore)
    if TRANSPARENT in values and TRANSPARENT not in named.label_of:
        left, values = _transparent_as_background(left, values, named, given)
    jpeg = next((mask.path for mask in left if mask.jpeg and mask.values.any()), None)
    lossy = "WebP" if jpeg and jpeg.suffix.lower() == ".webp" else "JPEG"
    changed = DataError(f"{jpeg}: {lossy} changes labels and colours near edges; save such masks as PNG")
    if jpeg and in_colour:
        raise changed
    if given.class_files:
        reading = _a_file_a_class(left, values, named, given, indices=indices)
    elif given.labels == "any" and not jpeg:
        two = named.names or ("background", "foreground")
        if len(two) != 2:
            raise DataError(f"data.labels=any reads background and foreground, but {greys.named(two)}; name two")
        greys.check_void(left, values, given)
        reading = _any(left, values, named._replace(names=two), indices=indices)
    elif named.label_of:
        reading = _valued(left, values, named, ignore, indices=indices)
    else:
        reading = _unvalued(left, values, named.names, given, indices=indices)
    if jpeg and reading.kind != "binary":
        raise changed
    return replace(reading, ignore=ignore, notes=(*notes, *reading.notes))


def _unvalued(
    summaries: Sequence[Summary], values: np.ndarray, classes: tuple[str, ...], given: Settings, *, indices: bool
) -> Reading:
    """Decide how masks are read whose classes carry no values. Raises DataError."""
    kind: Kind = "values"
    notes: tuple[str, ...] = ()
    if values[-1] >= COLOUR:
        notes = colours.check(summaries, values, classes, indices=indices)
    else:
        kind = greys.kind(summaries, values, classes, given, indices=indices)
    found = tuple(values.tolist())
    if classes and ((kind == "binary" and len(classes) != 2) or (kind == "values" and len(classes) != len(values))):
        where = greys.first_beyond(summaries, values, len(classes))
        held = "black and white" if kind == "binary" else f"{len(values)} values"
        raise DataError(f"{where}: masks hold {held} but {greys.named(classes)}; name one for each, background first")
    if kind == "labels":
        count = max(2, found[-1] + 1)
        classes = classes or tuple(class_names.default(label, count) for label in range(count))
        return Reading(kind, found, classes, indices)
    if kind == "values":
        classes = classes or class_names.defaults(found)
        return Reading(kind, found, classes, indices, tuple(range(len(found))), notes=notes)
    white = sum(int(mask.counts[mask.values > greys.white(values) // 2].sum()) for mask in summaries)
    share = white / sum(int(mask.counts.sum()) for mask in summaries)
    classes = classes or ("background", "foreground")
    swap = ",".join(class_names.proposed((greys.white(values), 0), classes))
    note = f"white, read as {classes[1]}, covers {share:.0%} of all pixels; if black is: --config.data.classes={swap}"
    return Reading(kind, found, classes, indices, (0, 1), notes=(note,) if share > 0.5 else ())


def _valued(
    summaries: Sequence[Summary], values: np.ndarray, named: Names, ignore: int | None, *, indices: bool
) -> Reading:
    """Decide how masks are read whose classes carry values. Raises DataError for a value that no name carries."""
    label_of = named.label_of
    ends = sorted(label_of)
    two = ends == [0, greys.white(values)] and values[-1] < COLOUR
    if two and greys.is_binary(summaries, values, named=True):
        return Reading("binary", tuple(values.tolist()), named.names, indices, (label_of[0], label_of[ends[1]]))
    rest = [value for value in values.tolist() if value not in label_of]
    known = label_of | ({} if ignore is None else {ignore: IGNORE})
    if rest and values[-1] < COLOUR:
        where = greys.holding(summaries, rest)
        raise DataError(f"{where}: masks hold {first_few(map(show, rest))}, which no name in data.classes carries")
    notes = colours.blended(summaries, rest, known) if rest else ()
    found = sorted(value for value in known if value in values or value == ignore)
    return Reading("values", tuple(found), named.names, indices, tuple(known[value] for value in found), notes=notes)


def _any(summaries: Sequence[Summary], values: np.ndarray, named: Names, *, indices: bool) -> Reading:
    """Decide which codes are the background, where any other is foreground. Raises DataError."""
    ground = [one for one, label in named.label_of.items() if label == 0] or [_black(values)]
    if len(values) > 1 and not np.isin(ground, values).any():
        pixels = greys.pixels_of(summaries, values)
        no_ground = " or ".join(map(show, ground))
        found = f"masks hold {class_names.shares(pixels)} and no {no_ground}, which would be background; name it first"
        first = f"{named.names[0]}={show(next(iter(pixels)))}"
        raise UndecidedError(f"{summaries[0].path}: {found}", classes=(first, *named.names[1:]))
    return Reading("any", tuple(sorted(ground)), named.names, indices)


def _a_file_a_class(
    summaries: Sequence[Summary], values: np.ndarray, named: Names, given: Settings, *, indices: bool
) -> Reading:
    """Decide how the files are read that are the mask of one class each. Raises DataError."""
    own = tuple(name.lstrip("_-") for name in given.class_files)
    classes = named.names or ("background", *own)
    if len(classes) != len(given.class_files) + 1:
        number = f"data.class_files has {len(given.class_files)} classes"
        raise DataError(f"{number}, but {greys.named(classes)}; name one more, the background first")
    if classes[1:] != own and sorted(classes[1:]) == sorted(own):
        orders = f"data.class_files={','.join(given.class_files)} and data.classes={','.join(classes)}"
        raise DataError(f"{orders} have different orders; give both in one, the background before them")
    blurred = len(values) > 2 and _black(values) in values and values[-1] < COLOUR
    if named.label_of or given.labels == "any" or not blurred:
        reading = _any(summaries, values, named._replace(names=classes), indices=indices)
    elif greys.is_binary(summaries, values, named=False):
        reading = _unvalued(summaries, values, (), given, indices=indices)
    else:
        found = f"the files of its classes hold {first_few(values)} where each is black and white"
        raise UndecidedError(f"{summaries[0].path}: {found}; read whatever is not black as the class", labels="any")
    overlap = [mask.overlap for mask in summaries if mask.overlap]
    note = f"the classes of {len(overlap)} masks overlap, by {sum(overlap)} pixels; the first in data.class_files wins"
    notes = (*reading.notes, note) if overlap else reading.notes
    top = walk.top(given.masks) if given.masks else None
    return replace(reading, classes=classes, class_files=given.class_files, top=top, notes=notes)


def _black(values: np.ndarray) -> int:
    return BLACK if values[-1] >= COLOUR else 0


def _stored(code: int, in_colour: bool, index_of: dict[int, int]) -> int:
    """Return the code that stands in the masks for one in the settings: a colour may be an index or a grey there."""
    if in_colour:
        return int(masks.as_colours(np.array(code)))
    grey = code & 255
    return index_of.get(code, grey if code == COLOUR + grey * 0x010101 else code)


def _without(mask: Summary, ignore: int | None) -> Summary:
    if ignore is None:
        return mask
    left = mask.values != ignore
    solid, areas = (tuple(code for code in codes if code != ignore) for codes in (mask.solid, mask.areas))
    return replace(mask, values=mask.values[left], counts=mask.counts[left], solid=solid, areas=areas)


def _transparent_as_background(
    summaries: Sequence[Summary], values: np.ndarray, named: Names, given: Settings
) -> tuple[list[Summary], np.ndarray]:
    """Read transparent pixels as the background, black unless it is named. Raises DataError where that is there too."""
    ground = next((one for one, label in named.label_of.items() if label == 0), _black(values))
    if ground in values:
        where = greys.holding(summaries, [TRANSPARENT])
        pixels = greys.pixels_of(summaries, values)
        classes = given.classes if any("=" in name for name in given.classes) else ()
        first = f"{classes[0].rpartition('=')[0] if classes else 'background'}=transparent"
        rest = class_names.proposed([TRANSPARENT, *(one for one in pixels if one != TRANSPARENT)])[1:]
        raise UndecidedError(
            f"{where}: holds transparent pixels where masks hold {show(ground)}; name either background, or both",
            classes=(first, *(classes or rest)),
        )
    read = [replace(mask, values=np.where(mask.values == TRANSPARENT, ground, mask.values)) for mask in summaries]
    return read, np.unique(np.where(values == TRANSPARENT, ground, values))


def _notes(
    summaries: Sequence[Summary], values: np.ndarray, named: Names, given: Settings, ignore: int | None
) -> list[str]:
    notes = []
    if ignore is not None and not any(ignore in mask.values for mask in summaries):
        notes.append(f"no mask holds data.ignore={given.ignore}")
    if TRANSPARENT in values and TRANSPARENT not in named.label_of:
        notes.append("transparent pixels of masks are read as background")
    return notes
