"""File formats, one module per format: images are read here for training and for prediction, and predictions written.

A module has SUFFIXES, `header(paths, how)` and `read(paths, how)`, which return a `Header` and a `Stack`, and
`write_masks`, `write_probabilities`, `write_map` and `write_overlays`, whose files have the suffixes MASK,
PROBABILITIES, MAP and OVERLAYS.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from datasets.formats import channel_files, dicom, nifti, picture, tif
from datasets.formats.stack import PLAIN, Header, How, Stack

FAMILIES: tuple[ModuleType, ...] = (picture, tif, nifti, dicom)
SUFFIXES: tuple[str, ...] = tuple(suffix for family in FAMILIES for suffix in family.SUFFIXES)


def family(path: Path) -> ModuleType | None:
    """Return the format of a file by its name, or by its content where DICOM has no suffix; None for an unknown one."""
    if not path.is_file():
        return None
    for one in FAMILIES:
        if path.name.lower().endswith(one.SUFFIXES):
            return one
    return dicom if not path.suffix[1:].isalpha() and dicom.is_dicom(path) else None


def stem(path: Path) -> str:
    """Return a file's name without its suffix, which may be ".nii.gz"; a UID and a folder's name have none."""
    unknown = path.suffix if path.suffix[1:].isalpha() and not path.is_dir() else ""
    suffix = next((one for one in SUFFIXES if path.name.lower().endswith(one)), unknown)
    return path.name[: len(path.name) - len(suffix)]


def header(paths: Sequence[Path], how: How = PLAIN) -> Header:
    """Return the header of an image: one file, one per channel, or the files of a DICOM series. Raises DataError."""
    if are_channels(paths):
        return channel_files.header([header((path,), how) for path in paths], paths)
    return (family(paths[0]) or picture).header(paths, how)


def read(paths: Sequence[Path], how: How = PLAIN) -> Stack:
    """Return the pictures of an image: one file, one per channel, or the files of a DICOM series. Raises DataError."""
    if are_channels(paths):
        one = how._replace(channels=None)  # each file is one of the run's channels
        header(paths, one)  # refuses volumes that lie apart
        return channel_files.joined([read((path,), one) for path in paths], paths)
    return (family(paths[0]) or picture).read(paths, how)


def are_channels(paths: Sequence[Path]) -> bool:
    """Say, by the name of the first, whether files are the channels of an image: those of a DICOM series are slices."""
    return len(paths) > 1 and paths[0].name.lower().endswith(tuple(set(SUFFIXES) - set(dicom.SUFFIXES)))
