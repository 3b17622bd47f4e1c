"""Images that `launch.predict` reads, and the output folder that it goes on with."""

import csv
import hashlib
import io
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

from launch import predict as launch_predict
from launch.prediction.output import AREAS
from tests.fuzz import commands, inputs
from tests.fuzz.harness import Act, Kind

RUN = "w/runs/sharp_unet/repeat0-fold0"


def predict(box: Path) -> dict:
    """Predict everything in box/in into box/out; return the code, the lines of failed inputs and what was written."""
    code, output = commands.command(
        launch_predict.main, f"--run={box / RUN}", "--overlays", "--probabilities", box / "in", box / "out"
    )
    failed = [line.removeprefix("failed: ") for line in output.splitlines() if line.startswith("failed: ")]
    with open(box / "out" / "areas.csv", newline="", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    files = {str(path.relative_to(box / "out")): path for path in (box / "out").rglob("*") if path.is_file()}
    return {
        "code": code,
        "failed": failed,
        "rows": rows,
        "files": {name: _digest(path) for name, path in files.items() if path.suffix not in (".json", ".csv")},
        "masks": {name: _foreground(path) for name, path in files.items() if name.startswith("masks/")},
    }


def _digest(path: Path) -> str:
    """Return the digest of a file's pixels: a DICOM SEG has new identifiers every time."""
    content = pydicom.dcmread(path).PixelData if path.suffix == ".dcm" else path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _foreground(path: Path) -> int:
    """Return the number of foreground pixels of a mask."""
    if path.suffix == ".dcm":
        with np.errstate(all="ignore"):
            return int(np.count_nonzero(pydicom.dcmread(path).pixel_array))
    if path.name.endswith(".nii.gz"):
        return int(np.count_nonzero(np.asanyarray(nibabel.load(path).dataobj)))
    if path.suffix == ".tif":
        return int(np.count_nonzero(tifffile.imread(path)))
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return int(np.count_nonzero(np.asarray(image)))


def judge(figures, original, box: Path, target: Path) -> str:
    """Every other input is predicted as before; the changed one too, or it is named; areas are those of the masks."""
    changed = _name(target, box)
    if figures["code"] != (1 if figures["failed"] else 0):
        return f"code {figures['code']} with {len(figures['failed'])} failed"
    if len(figures["failed"]) > 1:
        return "several lines for one file"
    if any(len(line) > 500 for line in figures["failed"]):
        return "a long line"
    for line in figures["failed"]:
        if target.name not in line and target.parent.name not in line:
            return f"a line without the file: {line[:100]}"
    for name, digest in original["files"].items():
        if not _is_of(name, changed) and figures["files"].get(name) != digest:
            return f"another file was predicted otherwise: {Path(name).parts[0]}"
    loose = [name for name in figures["masks"] if name not in original["masks"]]
    if (
        not figures["failed"]
        and target.is_file()
        and not loose
        and not any(_is_of(name, changed) for name in figures["masks"])
    ):
        return "neither a mask nor a line"
    areas: dict[str, int] = {}
    for row in figures["rows"]:
        name, count, mm2 = row["input"], int(row["pixels"]), row["mm2"]
        areas[name] = areas.get(name, 0) + count
        if not 0 <= float(row["share"]) <= 1:
            return f"a share of {row['share']}"
        if mm2 and not (0 <= float(mm2) < 1e9 and (float(mm2) > 0) == (count > 0)):
            return f"an impossible area: {mm2} mm2"
    masks = {_stem(name): count for name, count in figures["masks"].items()}
    if masks != areas:
        return "areas are not those of the masks"
    return ""


def _stem(name: str) -> str:
    """Return the input's name of a file in the output."""
    name = name.partition("/")[2]
    suffix = next(one for one in (".nii.gz", ".png", ".tif", ".dcm") if name.endswith(one))
    return name.removesuffix(suffix)


def _name(target: Path, box: Path) -> str:
    """Return the name of the changed input: a DICOM series has its folder's."""
    below = target.relative_to(box / "in")
    return str(below.parent) if target.suffix == ".dcm" else below.name.partition(".")[0]


def _is_of(name: str, changed: str) -> bool:
    return _stem(name) == changed or _stem(name).startswith(f"{changed}/")


def pictures(box: Path) -> None:
    inputs.sweep(box)
    inputs.pictures(box / "in")


def volumes(box: Path) -> None:
    inputs.sweep(box)
    inputs.volumes(box / "in")


def series(box: Path) -> None:
    inputs.sweep(box)
    inputs.series(box / "in")


ACTS = (Act(predict, judge=judge, names=("both", "alone")),)
PICTURES = Kind("pictures", pictures, ("in/*",), ACTS)
VOLUMES = Kind("volumes", volumes, ("in/*",), ACTS)
SERIES = Kind("series", series, ("in/*/*",), ACTS)


def begun(box: Path) -> None:
    """Predict everything once; the masks are there."""
    pictures(box)
    predict(box)


def whole(figures, original, box: Path, target: Path) -> str:
    """Going on gives what was there before the change, or a refusal; numbers edited in areas.csv are the user's."""
    for field in ("code", "failed", "masks"):
        if figures[field] != original[field]:
            return f"other {field} in the end"
    if len(figures["rows"]) != len(original["rows"]):
        return "rows are missing"
    edited = target.name == AREAS
    return "" if edited or figures["rows"] == original["rows"] else "rows have other numbers"


OUTPUT = Kind(
    "output",
    begun,
    ("out/*.json", "out/*.csv"),
    (Act(predict, judge=whole, names=("predicted with other", "name another folder")),),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [PICTURES, VOLUMES, SERIES, OUTPUT], ids=lambda kind: kind.name)
def test_predict(fuzz, kind):
    fuzz(kind)
