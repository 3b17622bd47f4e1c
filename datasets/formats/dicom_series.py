"""DICOM files put together as the series that they belong to."""

import contextlib
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from datasets.formats.dicom_file import load

SUFFIXES = (".dcm", ".dicom", ".ima")


def series(paths: Iterable[Path], top: Path) -> list[tuple[str, tuple[Path, ...]]]:
    """Return the series that `paths` belong to: a name below the folder `top`, and the files.

    A series of one file has the file's name, a series of several files their folder's. Series that share a folder are
    named by their UID. Each orientation of a series, as in a localizer, is a series of its own. A file that cannot be
    read is one too; `read` then says why. Files whose headers name no picture are left out: a DICOMDIR, a report, a
    dose, a segmentation.
    """
    found: dict[tuple[Path, str, str, str], list[Path]] = {}
    for path in sorted(paths):
        uid, orientation, kind = _header(path)
        if not kind.endswith("Storage") or "Image" in kind:  # the private kind of a manufacturer is a number
            found.setdefault((path.parent, uid, "" if uid else path.name, orientation), []).append(path)
    large = [(folder, uid) for (folder, uid, _, _), several in found.items() if len(several) > 1]
    folders = [folder for folder, _ in large]
    named = []
    for (folder, uid, _, _), several in found.items():
        below, first = folder.relative_to(top), several[0]
        if len(several) == 1 or large.count((folder, uid)) > 1:
            name = below / first.name.removesuffix(first.suffix if _known(first) else "")
        elif folders.count(folder) > 1:
            name = below / file_name(uid)
        else:
            name = below if below != Path() else Path(folder.name)
        named.append((name.as_posix(), tuple(several)))
    return named


def file_name(uid: str) -> str:
    """Return the name of a file for a UID. One with other characters than a UID may have could be a path elsewhere.

    Its digest keeps it apart from others that are alike but for such characters.
    """
    if re.fullmatch(r"[0-9]+(\.[0-9]+)*", uid) and len(uid) <= 64:
        return uid
    digest = hashlib.sha256(uid.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{re.sub('[^A-Za-z0-9]+', '_', uid)[:40]}-{digest}"


def _header(path: Path) -> tuple[str, str, str]:
    """Return series UID, orientation and kind of object ("CT Image Storage"), each "" where the file does not say."""
    with contextlib.suppress(Exception):
        tags = ["SeriesInstanceUID", "ImageOrientationPatient"]
        header = load(path, stop_before_pixels=True, specific_tags=tags)
        kind = header.file_meta.get("MediaStorageSOPClassUID")
        with np.errstate(all="ignore"):  # of numbers near the largest float
            orientation = np.round(np.array(header.get("ImageOrientationPatient") or [], float), 4) + 0.0
        return str(header.get("SeriesInstanceUID", "")), str(orientation), kind.name if kind else ""
    return "", "", ""


def _known(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES
