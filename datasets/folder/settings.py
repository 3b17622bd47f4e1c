"""The settings of the user's own data: where the files are, and what decides where they could mean two things."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from datasets import files
from datasets.formats.stack import How

MAX_CLASSES = 32  # more values than these are noise, instances, or no masks at all


@dataclass(frozen=True)
class Settings:
    """The fields of `config.Data` that are for the builder "folder", as it takes them; see there for each."""

    images: Path | None = None  # None where a table names the files
    masks: Path | None = None
    table: Path | None = None
    groups: Path | None = None
    image_prefix: str = ""
    image_suffix: str = ""
    mask_prefix: str = ""
    mask_suffix: str = ""
    channel_files: tuple[str, ...] = ()
    class_files: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    labels: str = "classes"
    ignore: str = ""
    pages: str = ""
    axis: str = "axial"
    window: tuple[float, ...] = ()

    @property
    def how(self) -> How:
        """Return how files are read."""
        return How(self.pages, self.axis)


PATHS = ("images", "masks", "table", "groups")


def settings(**values: Any) -> Settings:
    """Return the settings that `values` name; paths may be text, "" and None are the default.

    Raises DataError for an address instead of a path, and TypeError for a value that is no setting.
    """
    given = {name: value for name, value in values.items() if value}
    paths = {name: files.local(value) for name, value in given.items() if name in PATHS}
    lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list | tuple)}
    return Settings(**{**given, **paths, **lists})


NAMES = tuple(each.name for each in fields(Settings))
