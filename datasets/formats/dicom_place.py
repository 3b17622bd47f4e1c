"""The place of DICOM pictures in the patient: the order of slices, the sides of a pixel, and the grid."""

import contextlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from nibabel import aff2axcodes

from datasets.files import natural
from datasets.formats import dicom_file
from datasets.formats.stack import Spacing

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM counts to the left and to the back


class _Row(NamedTuple):
    """Places of slices one after the other, in mm to the left, to the back and up."""

    across: np.ndarray  # (3,) direction from column to column
    down: np.ndarray  # (3,) direction from row to row
    positions: np.ndarray  # (n, 3) of the slices
    step: np.ndarray  # (3,) from slice to slice, on average; of a single one, the direction that it faces


def in_order(files: list[Any]) -> list[Any]:
    """Sort slices along their normal, axial ones from the feet to the head; without positions, by their numbers."""
    if len(files) > 1 and all("ImagePositionPatient" in file and "ImageOrientationPatient" in file for file in files):
        orientation = np.array(files[0].ImageOrientationPatient, float)
        with np.errstate(all="ignore"):  # of numbers near the largest float
            normal = np.cross(orientation[:3], orientation[3:])
            return sorted(files, key=lambda file: float(normal @ np.array(file.ImagePositionPatient, float)))
    return sorted(files, key=lambda file: int(file.get("InstanceNumber") or 0))


def as_numbered(files: Sequence[Any]) -> bool:
    """Say whether ordered files are in the order of their numbers, and of their names where these are the same."""

    def number(file: Any) -> tuple[int, list[str | int]]:
        with contextlib.suppress(ValueError, TypeError):  # damaged numbers make no picture unreadable
            return int(file.get("InstanceNumber") or 0), natural(str(file.filename))
        return 0, natural(str(file.filename))

    return all(one is other for one, other in zip(files, sorted(files, key=number), strict=True))


def spacing(files: Sequence[Any]) -> Spacing | None:
    """Return `Stack.spacing`; None for a projection, whose spacing is the detector's. It is NaN where files differ."""
    known = [sides for file in files if (sides := _spacing(file))]
    if len(known) < len(files):
        return None
    return known[0] if np.allclose(known, known[0], rtol=1e-3, atol=0) else (math.nan, math.nan)


def grid(files: Sequence[Any]) -> np.ndarray | None:
    """Return `Header.grid` of ordered files; None where they do not say it, or their slices lie in no even row."""
    sides, row = _spacing(files[0]), _row(files)
    if sides is None or row is None:
        return None
    positions, step = row.positions, row.step
    even = positions[0] + np.arange(len(positions))[:, None] * step
    if not np.allclose(positions, even, rtol=0, atol=0.1 * np.linalg.norm(step)):
        return None
    step = step if len(positions) > 1 else step * max(sides)
    affine = np.column_stack([row.across * sides[1], row.down * sides[0], step, positions[0]])
    return TO_RAS @ np.vstack([affine, [0, 0, 0, 1]])


def axes(files: Sequence[Any]) -> str:
    """Return `Header.axes` of ordered files; "" where they do not say it."""
    if (row := _row(files)) is None:
        return ""
    normal = np.cross(row.across, row.down)
    directions = np.column_stack([row.across, row.down, normal * np.sign(normal @ row.step)])
    if not np.allclose(np.linalg.norm(directions, axis=0), 1, atol=0.01):
        return ""
    return "".join(aff2axcodes(TO_RAS @ np.vstack([np.column_stack([directions, [0, 0, 0]]), [0, 0, 0, 1]])))


def _row(files: Sequence[Any]) -> _Row | None:
    """Return where the slices of ordered files lie; None where one of them does not say it, or all lie at one place."""
    places = [place for file in files for place in _places(file)]
    if len(places) < sum(map(dicom_file.frames, files)):
        return None
    if any(len(position) != 3 or len(orientation) != 6 for position, orientation in places):
        return None
    positions, (across, down) = np.array([position for position, _ in places]), np.reshape(places[0][1], (2, 3))
    step = (positions[-1] - positions[0]) / (len(positions) - 1) if len(positions) > 1 else np.cross(across, down)
    return _Row(across, down, positions, step) if step.any() else None


def _places(file: Any) -> list[tuple[list[float], list[float]]]:
    """Return position and orientation of each frame, [] where the file does not say."""
    if "PerFrameFunctionalGroupsSequence" not in file:
        return [(_numbers(file, "ImagePositionPatient"), _numbers(file, "ImageOrientationPatient"))]
    shared = [*file.get("SharedFunctionalGroupsSequence", [])]
    names = ("PlanePosition", "PlaneOrientation"), ("ImagePositionPatient", "ImageOrientationPatient")
    places = []
    for frame in file.PerFrameFunctionalGroupsSequence:
        position, orientation = (
            next((_numbers(g[f"{kind}Sequence"][0], name) for g in (frame, *shared) if f"{kind}Sequence" in g), [])
            for kind, name in zip(*names, strict=True)
        )
        places.append((position, orientation))
    return places


def _numbers(file: Any, name: str) -> list[float]:
    return [float(value) for value in file.get(name) or []]


def _spacing(file: Any) -> Spacing | None:
    """Return the height and width of a pixel in mm; None where the file does not say, NaN for what is no number."""
    try:
        spacing = file.get("PixelSpacing")
        if spacing is None and "SharedFunctionalGroupsSequence" in file:
            measures = file.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence")
            spacing = measures[0].get("PixelSpacing") if measures else None
        if spacing is None or spacing == "":
            return None
        height, width = map(float, spacing)
    except (ValueError, TypeError, IndexError):
        return math.nan, math.nan
    return height, width
