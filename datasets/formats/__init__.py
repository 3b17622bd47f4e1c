"""What `launch.predict` reads and writes: inputs found on disk, and a module a family of formats.

Each family has SUFFIXES, `read(paths)`, which gives a `Stack`, and `write_masks`, `write_probabilities` and
`write_overlays` for what was predicted on it, to files of the suffixes MASK, PROBABILITIES and OVERLAYS.
"""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from datasets.files import natural
from datasets.formats import dicom, nifti, picture, tif
from sharp_unet_jax.errors import InputError

FAMILIES: tuple[ModuleType, ...] = (picture, tif, nifti, dicom)
KNOWN = f"{', '.join(suffix for family in FAMILIES for suffix in family.SUFFIXES)}, and DICOM without a suffix"
MADE = ("masks", "probabilities", "overlays")  # folders that `launch.predict` makes beside its prediction.json


class Input(NamedTuple):
    """One picture or volume on disk, and where what comes of it goes below the output folder, without a suffix."""

    name: str
    paths: tuple[Path, ...]  # absolute; several: the slices of a DICOM series
    family: ModuleType


def find(given: Sequence[str], faults: list[str] | None = None) -> list[Input]:
    """The inputs that files, folders (with all below them) and globs name, in natural order.

    What `launch.predict` has made is none of them. A file that is named and of no known format is added to `faults`;
    without such a list, or where there is no other file, it is an InputError, as are finding nothing and two inputs
    that would have one name.
    """
    paths: list[Path] = []
    for text in given:
        named = [text] if os.path.exists(text) else sorted(glob.glob(text, recursive=True))
        if not named:
            raise InputError(f"{text}: there is no such file or folder")
        paths += [Path(os.path.abspath(path)) for path in named]  # else names would depend on how the paths are given
    files = [path for path in paths if not path.is_dir()]
    for folder in (path for path in paths if path.is_dir()):
        files += [path for path in folder.rglob("*") if path.is_file() and _counts(path.relative_to(folder))]
    families = {path: _family(path) for path in dict.fromkeys(files) if not _made(path)}
    found = [path for path, family in families.items() if family]
    strange = [path for path in dict.fromkeys(paths) if path in families and families[path] is None]
    unknown = [f"{path}: is of no format known here ({KNOWN})" for path in strange]
    if unknown and (faults is None or not found):
        raise InputError(unknown[0])
    if not found:
        raise InputError(f"{' '.join(given)}: holds no images ({KNOWN})")
    if faults is not None:
        faults += unknown
    top = paths[0] if len(paths) == 1 and paths[0].is_dir() else Path(os.path.commonpath([p.parent for p in found]))
    inputs = [Input(name, several, dicom) for name, several in dicom.series(_of(families, dicom), top)]
    for path in found:
        if (family := families[path]) and family is not dicom:
            inputs.append(Input(_stem(path, family, top), (path,), family))
    if not inputs:
        raise InputError(f"{' '.join(given)}: holds DICOM files, but none with pictures")
    by_name: dict[str, Input] = {}
    for one in sorted(inputs, key=lambda one: natural(one.name)):
        if (other := by_name.setdefault(one.name, one)) is not one:
            both = f"{other.paths[0]} and {one.paths[0]}"
            raise InputError(f"{both} would both become {one.name}: rename one, or name an output for each")
    return list(by_name.values())


def _counts(relative: Path) -> bool:
    return not any(part.startswith(".") for part in relative.parts)


def _made(path: Path) -> bool:
    return any(folder.name in MADE and (folder.parent / "prediction.json").exists() for folder in path.parents)


def _family(path: Path) -> ModuleType | None:
    for family in FAMILIES:
        if path.name.lower().endswith(family.SUFFIXES):
            return family
    return dicom if not path.suffix[1:].isalpha() and dicom.is_dicom(path) else None


def _of(families: dict[Path, ModuleType | None], family: ModuleType) -> Iterable[Path]:
    return [path for path, one in families.items() if one is family]


def _stem(path: Path, family: ModuleType, top: Path) -> str:
    suffix = next(one for one in family.SUFFIXES if path.name.lower().endswith(one))
    return path.relative_to(top).as_posix()[: -len(suffix)]
