"""Names of classes and the values that they carry, as the user gives them: `tumor`, `tumor=#c80000`, `tumor=128`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from datasets.errors import DataError
from datasets.folder.masks import BLACK, COLOUR, TRANSPARENT
from datasets.folder.names import is_text
from datasets.folder.settings import Settings

VALUE = re.compile(r"#[0-9a-fA-F]{6}|[0-9]{1,5}|transparent")


class UndecidedError(DataError):
    """Masks that could mean two things."""

    def __init__(self, message: str, otherwise: str = "", **settings: str | tuple[str, ...]):
        """Add to the message the `settings` that decide, fields of `Settings`, and what would decide otherwise."""
        options = (f"--config.data.{name}={v if isinstance(v, str) else ','.join(v)}" for name, v in settings.items())
        super().__init__(f"{message}: {' '.join(options)}{otherwise and f'; {otherwise}'}")
        self.settings = settings


class Names(NamedTuple):
    """Names of classes, background first."""

    names: tuple[str, ...]  # each once, in the order of its first appearance; () where none are given
    label_of: dict[int, int]  # the label of each code; {} where names carry no values


def parse(given: Settings) -> Names:
    """Return the names in `given.classes`. A name that is given with several values has all of them.

    Raises DataError for names that are no text, or that are given twice without values, and for wrong values.
    """
    pairs = [(text.rpartition("=") if "=" in text else (text, "", None))[::2] for text in given.classes]
    names = tuple(dict.fromkeys(name.strip() for name, _ in pairs))
    for name in names:
        if not name or not is_text(name):
            raise DataError(f"data.classes names {name!a}, which is no line of text; rename it")
    without = [name for name, value in pairs if value is None]
    if len(without) == len(pairs) > len(names):
        raise DataError(f"data.classes names a class twice ({', '.join(given.classes)}); give each its own name")
    if 0 < len(without) < len(pairs) and given.labels != "any" and not given.class_files:
        raise DataError(f"data.classes gives {without[0]!r} no value: write {without[0]}=128, since others have one")
    if len(names) == 1 and not without:
        raise DataError(f"data.classes names only {names[0]!r}; name the background first, and a class")
    label_of: dict[int, int] = {}
    for name, value in pairs:
        one = None if value is None else code(value.strip(), f"data.classes={name}={value}")
        if one in label_of:
            raise DataError(f"data.classes gives {show(one)} to {names[label_of[one]]!r} and to {name!r}; give it once")
        if one is not None:
            label_of[one] = names.index(name.strip())
    return Names(names, label_of)


def codes(given: Settings) -> list[int]:
    """Return the codes in the settings, as far as they are any."""
    values = [given.ignore, *(text.rpartition("=")[2].strip() for text in given.classes if "=" in text)]
    return [code(value, "") for value in values if VALUE.fullmatch(value)]


def ignored(given: Settings) -> int | None:
    """Return the code of the pixels that are not annotated; None where the user names none. Raises DataError."""
    return code(given.ignore, "data.ignore") if given.ignore else None


def code(text: str, field: str) -> int:
    """Return the code of a value: a number, a colour #rrggbb, or "transparent". Raises DataError."""
    if not VALUE.fullmatch(text):
        raise DataError(f"{field}: {text!r} is no value of a mask; give a number such as 128, or a colour as #rrggbb")
    return TRANSPARENT if text == "transparent" else COLOUR + int(text[1:], 16) if text[0] == "#" else int(text)


def show(code: int) -> str:
    """Return a grey value as a number, a colour as #rrggbb."""
    return "transparent" if code == TRANSPARENT else f"#{code - COLOUR:06x}" if code >= COLOUR else str(code)


def shares(pixels: Mapping[int, int], total: int | None = None) -> str:
    """Return up to four codes with their share of the pixels, and how many more there are, for a message."""
    total = total or sum(pixels.values())
    shown = [f"{show(one)} ({100 * number / total:.2g} %)" for one, number in list(pixels.items())[:4]]
    return ", ".join(shown) + (f" and {len(pixels) - 4} more" if len(pixels) > 4 else "")


def proposed(codes: Sequence[int], names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return names with these codes, background first: the user's, where there are as many."""
    if len(names) != len(codes):
        names = "background", *(("foreground",) if len(codes) == 2 else (f"class{n}" for n in range(1, len(codes))))
    return tuple(f"{name}={show(one)}" for name, one in zip(names, codes, strict=True))


def defaults(codes: Iterable[int]) -> tuple[str, ...]:
    """Return a name for each of these codes, the background's first: the colour of a colour."""
    values = list(codes)
    return tuple(
        show(value) if value > BLACK or (value == BLACK and label) else default(label, len(values))
        for label, value in enumerate(values)
    )


def default(label: int, count: int) -> str:
    """Return the name of one of `count` classes that the user has not named."""
    return "background" if label == 0 else "foreground" if count == 2 else f"class {label}"
