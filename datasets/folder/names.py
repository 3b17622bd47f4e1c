"""Names of files: how they compare, and how they are shown."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

# Tools append these to an image's name to name its mask: "a.jpg" and "a_mask.png", "a-seg.png", "a_labels.tif".
ENDING = re.compile(r"[ _.-](masks?|seg|segmentation|labels?|labelmap|gt|groundtruth|ground_truth|annotation)$")


class Named(NamedTuple):
    """One image or mask: a file, or several with one name."""

    folders: tuple[str, ...]  # that it lies in, below the folder that was listed
    stem: str  # its name without suffix
    files: tuple[Path, ...]
    place: int = 0  # of a mask: the index of its class, where each class is a file of its own

    @property
    def name(self) -> str:
        """The name of its first file, for messages, with the folders that it lies in."""
        return "/".join((*self.folders, self.files[0].name))


def composed(name: str) -> str:
    """Return a name with its accents encoded in one way: macOS writes an accented letter as two characters."""
    return unicodedata.normalize("NFC", name)


def plain(name: str) -> str:
    """Return a name as it is compared: upper and lower case do not matter, nor how accents are encoded."""
    return composed(name).casefold()


def stripped(name: str, prefix: str, suffix: str) -> str | None:
    """Return a plain name without `prefix` and `suffix`; None if it does not have them."""
    prefix, suffix = plain(prefix), plain(suffix)
    if not (name.startswith(prefix) and name.endswith(suffix) and len(name) >= len(prefix) + len(suffix)):
        return None
    return name[len(prefix) : len(name) - len(suffix)]


def is_text(name: str) -> bool:
    """Say whether a name is one line of text: no control characters, nor bytes that are not UTF-8."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)


def first_few(names: Iterable[object]) -> str:
    """Return the first four names, and how many more there are, for a message."""
    shown = [str(name) for name in names]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
