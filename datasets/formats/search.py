"""The inputs that files, folders and globs name: pictures, volumes and DICOM series on disk."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from datasets import files, formats
from datasets.files import natural
from datasets.formats import FAMILIES, channel_files, dicom, picture, tif
from sharp_unet_jax.errors import InputError

KNOWN = f"{', '.join(suffix for family in FAMILIES for suffix in family.SUFFIXES)}, and DICOM without a suffix"
PREDICTION = "prediction.json"  # marks an output folder of `launch.predict`, which has these folders of files:
OUTPUTS = ("masks", "probabilities", "overlays", "disagreement", "disagreement_overlays")


class Input(NamedTuple):
    """One picture or volume on disk."""

    name: str  # of its files below the output folder, without a suffix
    paths: tuple[Path, ...]  # absolute; several are the slices of a DICOM series, or the channels of an image
    family: ModuleType  # one of FAMILIES, that of its files below the output folder
    note: str = ""  # why that is not the family of its own files

    @property
    def where(self) -> str:
        """The file, the first of several channels, or the folder of a DICOM series."""
        alone = len(self.paths) == 1 or formats.are_channels(self.paths)
        return str(self.paths[0] if alone else self.paths[0].parent)


def find(
    given: Sequence[str], faults: list[str] | None = None, *, endings: tuple[str, ...] = (), channels: int = 1
) -> list[Input]:
    """Return the inputs that files, folders (with all below them) and globs name, in natural order.

    Files that `launch.predict` wrote are skipped. A file that is named and of no known format, or that is a pipe or a
    device, whose reading may never end, is added to `faults`. So are an image that is a link to nothing and a folder
    that cannot be read.

    Args:
        given: files, folders and globs.
        faults: gets a line for each file that is skipped, and for each image that lacks a channel.
        endings: of the names of files that are channels, in their order; several files are then one input.
        channels: of the images that the run was trained on. If they are neither grey nor RGB, and there are no
            `endings`, nnU-Net's _0000, _0001, ... are recognised where all names have them, and as many as `channels`.

    Raises:
        InputError: where nothing is found, where two inputs would have the same name, and for a fault if `faults` is
            None or there is no other file.
    """
    paths = _named(given)
    found = [path for path in paths if not path.is_dir()]
    unread: list[str] = []
    for folder in (path for path in paths if path.is_dir()):
        found += [path for path in files.below(folder, unread) if path.is_file() or _leads_nowhere(path)]
    families = {path: formats.family(path) for path in dict.fromkeys(found) if not is_output(path)}
    known = {path: family for path, family in families.items() if family}
    named = set(paths)
    unknown = [path for path in families if path not in known and (path in named or _leads_nowhere(path))]
    messages = [*dict.fromkeys(unread), *(f"{path}: {_why(path)}" for path in unknown)]
    if messages and (faults is None or not known):
        raise InputError(messages[0])
    if not known:
        raise InputError(f"{' '.join(given)}: holds no images ({KNOWN})")
    if faults is not None:
        faults += messages
    top = paths[0] if len(paths) == 1 and paths[0].is_dir() else Path(os.path.commonpath([p.parent for p in known]))
    series = dicom.series((path for path, family in known.items() if family is dicom), top)
    inputs = [_of_series(name, several) for name, several in series]
    single = [Input(_stem(path, one, top), (path,), one) for path, one in known.items() if one is not dicom]
    if endings := endings or _numbered(single, channels):
        single = _joined(single, endings, faults)
    inputs += single
    if not inputs:
        raise InputError(f"{' '.join(given)}: holds DICOM files, but none with pictures")
    return _by_name(inputs)


def of_files(name: str, paths: tuple[Path, ...]) -> Input:
    """Return the input `name` of the files of one image: one file, one per channel, or those of a DICOM series."""
    family = formats.family(paths[0]) or picture
    return _of_series(name, paths) if family is dicom else Input(name, paths, family)


def is_output(path: Path) -> bool:
    """Say whether `launch.predict` wrote a file."""
    return any(folder.name in OUTPUTS and (folder.parent / PREDICTION).exists() for folder in path.parents)


def _numbered(single: Sequence[Input], channels: int) -> tuple[str, ...]:
    """Return nnU-Net's endings where files have them, as many as `channels`. Grey and RGB may be frames of a video."""
    endings = channel_files.numbered(one.name for one in single)
    return endings if len(endings) == channels and channels not in (1, 3) else ()


def _joined(single: Sequence[Input], endings: tuple[str, ...], faults: list[str] | None) -> list[Input]:
    """Return an input for each image whose channels are `single` files; InputError for a fault, if all are."""
    wrong: list[str] = []
    named = sorted(((one.name, one.paths[0]) for one in single), key=lambda each: natural(each[0]))
    files_of = channel_files.split(named, endings, wrong)
    if wrong and (faults is None or not files_of):
        raise InputError(wrong[0])
    if faults is not None:
        faults += wrong
    family_of = {one.paths[0]: one.family for one in single}
    return [Input(name, paths, family_of[paths[0]]) for name, paths in files_of.items()]


def _of_series(name: str, paths: tuple[Path, ...]) -> Input:
    """Return a DICOM series, whose mask is no DICOM SEG where its headers lack what one needs."""
    why, pictures = dicom.without_seg(paths)
    if not why:
        return Input(name, paths, dicom)
    family = tif if pictures > 1 else picture
    note = f"masks are {family.MASK} files, since no DICOM SEG can refer to these pictures ({why.rstrip('.')})"
    return Input(name, paths, family, note)


def _named(given: Sequence[str]) -> list[Path]:
    """Return the files and folders that paths and globs name. Absolute: names of inputs must not depend on the cwd."""
    paths: list[Path] = []
    for text in given:
        named = [text] if os.path.exists(text) else sorted(glob.glob(text, recursive=True))
        if not named:
            raise InputError(f"{text}: there is no such file or folder")
        paths += [Path(os.path.abspath(path)) for path in named]
    return paths


def _leads_nowhere(path: Path) -> bool:
    """Say whether this is a link with the name of an image, and the file that it leads to is not there."""
    return path.is_symlink() and not path.exists() and any(path.name.lower().endswith(one.SUFFIXES) for one in FAMILIES)


def _why(path: Path) -> str:
    if path.is_file():
        return f"is of no format known here ({KNOWN})"
    if path.is_symlink() and not path.exists():
        return "is a link to a file that is not there; bring the file back, or remove the link"
    return "is no file but a pipe or a device; remove it"


def _stem(path: Path, family: ModuleType, top: Path) -> str:
    suffix = next(one for one in family.SUFFIXES if path.name.lower().endswith(one))
    return path.relative_to(top).as_posix()[: -len(suffix)]


def _by_name(inputs: Sequence[Input]) -> list[Input]:
    """Return the inputs in natural order. Raises InputError where two have the same name."""
    by_name: dict[str, Input] = {}
    for one in sorted(inputs, key=lambda one: natural(one.name)):
        if (other := by_name.setdefault(one.name, one)) is not one:
            both = f"{other.paths[0]} and {one.paths[0]}"
            raise InputError(f"{both} would both become {one.name}: rename one, or name an output for each")
    return list(by_name.values())
