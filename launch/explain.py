"""What trained networks look at in an image: python -m launch.explain --run=WORKDIR/runs/MODEL/repeatR-foldF --image=ID

Writes Grad-CAM at each concatenation of the decoder, a row a run (give --run several times: plain beside sharp), and of
each sharp network its encoder's maps before and after the sharp blocks, with their spectrum; PNG and SVG.
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

from datasets.folder import images
from launch.console import ending, paths, runtime
from sharp_unet_jax.data import pixels
from sharp_unet_jax.data.resize import resize_image
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import explain, saliency, trained
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.report import records, style
from sharp_unet_jax.storage.atomic import replacing


def run(arguments: Sequence[str]) -> None:
    """The whole command. Raises InputError, DataError or OSError for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m launch.explain", description=__doc__, allow_abbrev=False)
    parser.add_argument("--run", type=paths.path, action="append", required=True, help="the folder of a finished run")
    parser.add_argument(
        "--image", type=os.path.expanduser, required=True, help="an image's file, or its id in the runs' data set"
    )
    parser.add_argument("--class", dest="label", help="a class by its name (default: the first after the background)")
    parser.add_argument(
        "--region",
        default="prediction",
        help="prediction: where the run predicts the class (default); image: all of it; TOP,LEFT,HEIGHT,WIDTH: a box, "
        "in pixels of the size of training",
    )
    parser.add_argument("--output", type=paths.path, default=Path("explained"), help="folder (default: explained)")
    known = parser.parse_args(arguments)
    runtime.configure()
    runs = [trained.load(path) for path in known.run]
    for other in runs[1:]:
        for (field, one), another in zip(_shared(runs[0]).items(), _shared(other).values(), strict=True):
            if one != another:
                raise InputError(
                    f"{runs[0].name} and {other.name} differ in {field}, {one} and {another}: compare apart"
                )
    label = _label(runs[0].classes, known.label)
    image, mask = _image(known.run[0], runs[0], known.image)
    region = _region(known.region, image.shape[:2])
    rows = [
        saliency.Row(each.model, explain.predicted(each, image) == label, explain.gradcam(each, image, label, region))
        for each in runs
    ]
    stem = Path(known.image).stem if Path(known.image).is_file() else known.image.replace("/", "-")
    truth = None if mask is None else mask == label
    with matplotlib.rc_context(cast(Any, style.RC)):
        figures = {f"gradcam-{stem}": saliency.gradcam(image, truth, region, runs[0].classes[label], rows)}
        for each in runs:
            pairs = explain.skips(each, image)
            if all(np.array_equal(*pair) for pair in pairs):
                continue  # plain
            spectra = [(explain.spectrum(pair.before), explain.spectrum(pair.after)) for pair in pairs]
            name = f"sharp-{each.name.replace('/', '-')}-{stem}"
            figures[name] = saliency.sharp_block(
                each.name, [p.before for p in pairs], [p.after for p in pairs], spectra
            )
        for name, figure in figures.items():
            _save(figure, known.output, name)
    print(f"{', '.join(figures)}, PNG and SVG, are in {known.output}")


def _shared(run: Trained) -> dict[str, Any]:
    """What runs must agree in to see the same picture and answer the same question."""
    data = run.config.data
    fields = {"classes": run.classes, "channels": run.channels, "window": run.window}
    return {**fields, "size": data.size, "fit": data.fit}


def _label(classes: tuple[str, ...], name: str | None) -> int:
    if name is None:
        return 1
    if name not in classes:
        raise InputError(f"--class={name}: there is no such class; the runs know {', '.join(classes)}")
    return classes.index(name)


def _image(path: Path, run: Trained, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The image at the size of training, and its mask where it is one of the data set."""
    if Path(name).is_file():
        stored = images.pixels(Path(name))
        try:
            image = pixels.as_trained(stored[..., None] if stored.ndim == 2 else stored, run.channels, run.window)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        return resize_image(image, run.config.data.size, run.config.data.fit), None
    sweep = records.load(path.absolute().parents[2])
    if sweep.prepared is None:
        raise InputError(f"--image={name}: there is no such file, and the images of {run.dataset} are not at hand")
    prepared, masks, row_of = sweep.prepared
    if name not in row_of:
        known = ", ".join(sweep.test_ids(run.name)[:3])
        raise InputError(
            f"--image={name}: there is no such file, nor id in {run.dataset}; test images are {known}, ..."
        )
    return np.asarray(prepared[row_of[name]]), np.asarray(masks[row_of[name]])


def _region(text: str, size: tuple[int, int]) -> np.ndarray | None:
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


def _save(figure: Figure, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, metadata in (("png", None), ("svg", {"Date": None})):
        with replacing(folder / f"{name}.{kind}") as temporary:
            figure.savefig(temporary, format=kind, dpi=200, metadata=metadata, facecolor="white")


if __name__ == "__main__":
    with ending.in_one_line():
        run(sys.argv[1:])
