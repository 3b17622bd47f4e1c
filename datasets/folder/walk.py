"""The files of a folder: those directly in it or, where it holds none, those in the folders below; or of a pattern."""

import glob
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from datasets import files, formats
from datasets.errors import DataError
from datasets.folder.names import Named, first_few, is_text, plain
from datasets.formats import dicom


def top(folder: Path) -> Path:
    """Return the folder itself, or that around all files of a pattern such as `data/*/image/*.bmp`: `data`."""
    return next(path for path in folder.parents if path.exists()) if is_pattern(folder) else folder


def is_pattern(folder: Path) -> bool:
    """Say whether this is no folder but a pattern of paths, with `*`, `?` or `[`."""
    return glob.has_magic(str(folder)) and not folder.exists()


def listing(folder: Path) -> list[Path]:
    """Return the pictures directly in a folder or, where there are none, all below it, in natural order.

    A pattern stands for the pictures whose paths it fits. Raises DataError where there are none.
    """
    if is_pattern(folder):
        around = top(folder)  # its name may look like a pattern, too
        fitting = {
            around / path for path in glob.glob(str(folder.relative_to(around)), root_dir=around, recursive=True)
        }
        if fitting and all(path.is_dir() for path in fitting):
            raise DataError(f"{folder}: fits only folders; a pattern is one of files, such as {folder}/*.png")
        found = [path for path in fitting if path.is_file() and _is_picture(path)]
    elif folder.is_dir():
        found = [path for path in folder.iterdir() if files.is_shown(path.name) and _is_picture(path)]
        found = found or [path for path in files.below(folder) if _is_picture(path)]
    else:
        raise no_folder(folder)
    if not found:
        raise DataError(f"{folder}: holds no images ({' '.join(formats.SUFFIXES)})")
    return sorted(found, key=lambda path: (files.natural(str(path).removesuffix(path.suffix)), path.name))


def no_folder(path: Path) -> DataError:
    """Return the error that a path is no folder but a file, or that nothing is there."""
    if not path.is_file():
        return DataError(f"{path}: no such folder; check the path")
    if _is_picture(path):
        pattern = f"a pattern of files such as {path.parent}/*{path.suffix}"
        return DataError(f"{path}: is a file, not a folder; name its folder, {pattern}, or pairs in a table")
    kinds = "masks are pictures in a folder, a COCO file or LabelMe files (.json)"
    return DataError(f"{path}: is a file that is not read; {kinds}: export it as one of these")


def named(
    folder: Path, paths: Sequence[Path], *, series: bool, every: bool = False, keep: Iterable[str] = ()
) -> list[Named]:
    """Return the names of pictures below `folder`.

    Args:
        folder: their top.
        paths: the pictures. Names that are no text are left out.
        series: the files of a DICOM series have one name. DICOM files that are no pictures, such as reports, are left
            out.
        every: these have a name, too.
        keep: folders whose names matter; the outer folders that all pictures lie in are otherwise left out.
    """
    paths = [path for path in paths if is_text(str(path)) or is_text(str(path.relative_to(folder)))]
    if not paths:
        return []
    shared = Path(os.path.commonpath([path.parent for path in paths])).relative_to(folder).parts
    kept = set(map(plain, keep))
    top = folder.joinpath(*itertools.takewhile(lambda name: plain(name) not in kept, shared))
    scans = {path for path in paths if path.is_file() and formats.family(path) is dicom} if series else set()
    found = []
    for name, several in dicom.series(scans, top):
        below = PurePosixPath(name)
        found.append(Named(below.parent.parts, below.name, several))
    left = (scans - {path for one in found for path in one.files}) if every else set()
    single = [path for path in paths if path not in scans or path in left]
    found += [Named(path.parent.relative_to(top).parts, formats.stem(path), (path,)) for path in single]
    return sorted(found, key=lambda one: (files.natural("/".join((*one.folders, one.stem))), one.name))


def no_text(folder: Path, paths: Sequence[Path]) -> list[str]:
    """Return a fault for each name below `folder` that is no text."""
    wrong = {
        (folder.joinpath(*parts[:index]), part)
        for parts in (path.relative_to(folder).parts for path in paths if not is_text(str(path)))
        for index, part in enumerate(parts)
        if not is_text(part)
    }
    return [f"{parent}: the name {name!a} is not UTF-8, or no text; rename the file" for parent, name in sorted(wrong)]


def notes(folder: Path, others: Iterable[Path]) -> list[str]:
    """Return what is in a folder that is not read, but for `others`, which are read as well; [] of a pattern."""
    if is_pattern(folder):
        return []
    pictures = listing(folder)
    direct, read = any(path.parent == folder for path in pictures), {*pictures, *others}
    found = []
    around = [path for path in folder.iterdir() if files.is_shown(path.name)] if direct else list(files.below(folder))
    unread = sorted(path.relative_to(folder).as_posix() for path in around if path.is_file() and path not in read)
    if unread:
        found.append(f"{folder}: {first_few(unread)} are of no format that is read, and are skipped")
    below = sum(path not in read and _is_picture(path) for path in files.below(folder, found)) if direct else 0
    if below:
        found.append(f"{folder}: {below} pictures in its subfolders are not read")
    return found


def _is_picture(path: Path) -> bool:
    return not path.is_dir() and (path.name.lower().endswith(formats.SUFFIXES) or formats.family(path) is not None)
