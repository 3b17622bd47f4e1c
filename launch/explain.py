"""Saliency of trained networks in an image: python -m launch.explain --run=WORKDIR_OR_RUN --image=ID_OR_FILE

Draws Grad-CAM at each skip connection of the decoder, a row per run: give --run several times to compare runs. With a
workdir, each of its models has a row: the first finished run that tests the image, or else its first finished run. For
each sharp network it also draws the encoder's maps before and after the sharp blocks, with their spectra. PNG and SVG.
An image is seen as in training: resized, or by runs on crops one crop of it, at the resolution of training.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from datasets import formats
from launch.console import arguments as command_line
from launch.console import ending, image, paths, runs, runtime
from sharp_unet_jax.data import crops, neighbours
from sharp_unet_jax.data.resize import resolution
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import explain, loading, saliency, shared
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.report import style
from sharp_unet_jax.storage.atomic import check_writable, replacing

DPI = 200  # of the PNG files
WHERE = "WORKDIR, or WORKDIR/runs/MODEL/repeatR-foldF"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = command_line.parser("launch.explain", __doc__)
    parser.add_argument("--run", type=paths.path, action="append", required=True, help=WHERE)
    parser.add_argument("--model", default="", help="of a workdir: a model, or several with commas (default: all)")
    name = "an image file, or the id of an image in the runs' data set"
    parser.add_argument("--image", type=os.path.expanduser, required=True, help=name)
    parser.add_argument("--class", dest="label", help="name of the class (default: the first after the background)")
    region = (
        "prediction: where the run predicts the class (default); image: all of it; TOP,LEFT,HEIGHT,WIDTH: a box in "
        "pixels at the size of training, or of the crop"
    )
    at = (
        "centre of the crop that runs on crops explain, in pixels at the resolution of training (default: the middle "
        "of the class in the mask if there is one, else of the image)"
    )
    parser.add_argument("--at", metavar="ROW,COLUMN", help=at)
    parser.add_argument("--region", default="prediction", help=region)
    parser.add_argument("--output", type=paths.path, default=Path("explained"), help="folder (default: explained)")
    return command_line.parse(parser, arguments)


def run(arguments: Sequence[str]) -> None:
    """Run the command. Raises InputError, DataError or OSError for what the user can fix."""
    known = parse(arguments)
    check_writable(known.output)
    runtime.configure()
    models = loading.names(known.model)
    if of_many := [path for path in known.run if shared.is_in(path)]:
        raise InputError(f"--run={of_many[0]} is a shared model: give the workdir or a run that it was made of")
    folders = [folder.absolute() for path in known.run for folder in runs.to_explain(path, models, known.image)]
    # Gradients are of pixels as the network decides, before any rule of masks.
    members = [loading.load_run(folder, plain=True) for folder in folders]
    _check_alike(members)
    label = _label(members[0].classes, known.label)
    picture, mask = image.load(folders[0], members[0], known.image)
    stem = formats.stem(Path(known.image)) if Path(known.image).is_file() else known.image.replace("/", "-")
    data, truth = members[0].config.data, None if mask is None else mask == label
    whole = ""
    if data.fit == "crop":
        size = picture.shape[:2]
        top, left = crops.corner(_centre(known.at, size, truth), data.size, size)
        where = slice(top, top + data.size[0]), slice(left, left + data.size[1])  # a smaller image ends before
        picture, truth = picture[where], None if truth is None else truth[where]
        whole = f" of {size[0]}x{size[1]} at {resolution(data)}, rows from {top}, columns from {left}"
        stem += f"-at-{top}-{left}" if known.at else ""
    elif known.at:
        raise InputError(f"--at={known.at}: {members[0].name} was trained on whole images, not on crops; leave it out")
    region = _region(known.region, picture.shape[:2])
    with matplotlib.rc_context(cast(Any, style.RC)):
        rows = [
            saliency.Row(title, explain.predicted(one, picture) == label, explain.gradcam(one, picture, label, region))
            for title, one in zip(_titles([one.model for one in members], members, folders), members, strict=True)
        ]
        drawn = neighbours.own(picture, data.context)
        figures = {f"gradcam-{stem}": saliency.gradcam(drawn, truth, region, members[0].classes[label], rows)}
        for title, one in zip(_titles([one.name for one in members], members, folders), members, strict=True):
            if (figure := _sharp_block(one, picture)) is not None:
                figures[f"sharp-{title.strip('/').replace('/', '-')}-{stem}"] = figure
        for name, figure in figures.items():
            _save(figure, known.output, name)
    height, width = picture.shape[:2]
    print(f"explained: {height}x{width} pixels{whole}")
    print(f"{', '.join(figures)}, PNG and SVG, are in {known.output}")


def _titles(shortest: list[str], runs: Sequence[Trained], folders: Sequence[Path]) -> list[str]:
    """Return the first of these that tells the runs apart: the shortest, their names, also with their workdirs."""
    names = [run.name for run in runs]
    within = [f"{folder.parents[2].name}/{name}" for folder, name in zip(folders, names, strict=True)]
    several = (shortest, names, within, [str(folder) for folder in folders])
    return next((titles for titles in several if len(set(titles)) == len(titles)), names)


def _check_alike(runs: Sequence[Trained]) -> None:
    """Refuse runs that would see different pictures, or answer different questions. Raises InputError."""
    first, *others = runs
    for other in others:
        for (field, one), another in zip(_seen(first).items(), _seen(other).values(), strict=True):
            if one != another:
                raise InputError(f"{first.name} and {other.name} differ in {field}, {one} and {another}: compare apart")


def _seen(run: Trained) -> dict[str, Any]:
    data = run.config.data
    fields = {"classes": run.classes, "channels": run.channels, "window": run.window}
    return {**fields, "size": data.size, "fit": data.fit, "scale": data.scale, "spacing": data.spacing}


def _label(classes: tuple[str, ...], name: str | None) -> int:
    if name is None:
        return 1
    if name not in classes:
        raise InputError(f"--class={name}: there is no such class; the runs know {', '.join(classes)}")
    return classes.index(name)


def _centre(text: str | None, size: tuple[int, ...], truth: np.ndarray | None) -> tuple[int, int]:
    """Return the row and column around which a crop is explained. Raises InputError for a `text` that names none."""
    height, width = size
    if text is None:
        if truth is None or not truth.any():
            return height // 2, width // 2
        rows, columns = np.nonzero(truth)
        return int(rows.mean()), int(columns.mean())
    try:
        row, column = (int(part) for part in text.split(","))
    except ValueError:
        row = column = -1
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(f"--at={text}: give ROW,COLUMN within {height}x{width} pixels, counted from 0")
    return row, column


def _region(text: str, size: tuple[int, int]) -> np.ndarray | None:
    """Return the region as a mask (H, W) bool; None for what the run predicts. Raises InputError."""
    if text == "prediction":
        return None
    region = np.zeros(size, bool)
    if text == "image":
        return ~region
    try:
        top, left, height, width = (int(part) for part in text.split(","))
    except ValueError:
        top = left = height = width = -1
    if min(top, left) < 0 or min(height, width) < 1 or top + height > size[0] or left + width > size[1]:
        raise InputError(
            f"--region={text}: give prediction, image, or TOP,LEFT,HEIGHT,WIDTH within {size[0]}x{size[1]} pixels"
        )
    region[top : top + height, left : left + width] = True
    return region


def _sharp_block(run: Trained, picture: np.ndarray) -> Figure | None:
    """Draw each encoder map before and after its skip connection; None for a plain network, where both are equal."""
    pairs: list[explain.Skip] = []
    for pair in explain.skips(run, picture):
        if not any(np.array_equal(pair.before, drawn.before) for drawn in pairs):  # UNet++ joins a map several times
            pairs.append(pair)
    if all(np.array_equal(*pair) for pair in pairs):
        return None
    spectra = [(explain.spectrum(pair.before), explain.spectrum(pair.after)) for pair in pairs]
    return saliency.sharp_block(run.name, [pair.before for pair in pairs], [pair.after for pair in pairs], spectra)


def _save(figure: Figure, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, metadata in (("png", None), ("svg", {"Date": None})):
        with replacing(folder / f"{name}.{kind}") as temporary:
            figure.savefig(temporary, format=kind, dpi=DPI, metadata=metadata, facecolor="white")


if __name__ == "__main__":
    with ending.in_one_line():
        run(sys.argv[1:])
