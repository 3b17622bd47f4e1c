"""Masks of your own images: python -m launch.predict --run=WORKDIR_OR_RUN INPUT [INPUT ...] OUTPUT

INPUT is a file, a folder or a glob: PNG, JPG, BMP, TIF of one page or several, NIfTI, DICOM files or series. OUTPUT, a
folder, gets masks/ in each image's own size and format, areas.csv and what else is asked for. How images are read,
resized and thresholded is what the run was trained and scored with. Given a workdir, the probabilities of all its
finished runs of a model are averaged. Give the same command again to go on: what is there already is skipped. A file
that cannot be read stops nothing and is listed at the end. Turns noted in a photo's EXIF data are not applied, as in
training: a mask lies on the pixels as they are stored. Exit code 0: all done; 1: something failed, or the input is
wrong; 130 after Ctrl-C.
"""

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
from rich.console import Console

from datasets import formats
from datasets.files import DataError
from launch import masks
from launch.console import ending, paths, runtime
from launch.console.progress import track
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference.trained import Trained, load_all
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.storage.atomic import write_json


def parse(arguments: Sequence[str]) -> masks.Command:
    """The command line; InputError for what is not understood."""
    parser = argparse.ArgumentParser(prog="python -m launch.predict", description=__doc__, allow_abbrev=False)
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="file, folder (with all below it) or glob")
    parser.add_argument("output", metavar="OUTPUT", type=paths.path, help="folder")
    parser.add_argument("--run", type=paths.path, required=True, help="WORKDIR, or WORKDIR/runs/MODEL/repeatR-foldF")
    parser.add_argument("--model", default="", help="which, if the workdir has several")
    parser.add_argument("--probabilities", action="store_true", help="write them too, in probabilities/")
    parser.add_argument("--overlays", action="store_true", help="write pictures with the masks drawn in, in overlays/")
    parser.add_argument("--flips", action="store_true", help="average over mirrored images (4 times the work)")
    turns = "4 times the work; with --flips 8 times, not 16"
    parser.add_argument("--rotations", action="store_true", help=f"average over quarter turns ({turns})")
    tiling = "cut images into tiles instead of resizing them: for very large ones, or runs trained at native size"
    parser.add_argument("--tile", metavar="H,W", help=tiling)
    known = parser.parse_args(arguments)
    try:
        tile = tuple(int(side) for side in known.tile.split(",")) if known.tile else None
    except ValueError:
        tile = ()
    if tile is not None and (len(tile) != 2 or min(tile) < 1):
        raise InputError(f"--tile={known.tile}: give a height and a width in pixels, such as --tile=512,512")
    options = {"flips": known.flips, "rotations": known.rotations, "tile": tile}
    extras = tuple(name for name in ("probabilities", "overlays") if getattr(known, name))
    return masks.Command(known.run, known.model, known.inputs, known.output, options, extras)


def run(arguments: Sequence[str], console: Console) -> int:
    """The whole command; returns its exit code. Raises InputError or OSError for what the user can mend."""
    command = parse(arguments)
    _check_output(command)
    failed: list[str] = []
    inputs = formats.find(command.inputs, failed)
    devices = runtime.configure()
    members = load_all(command.run, command.model)
    _begin(command, members, inputs)
    todo = [one for one in inputs if not all(path.exists() for path in masks.paths(command, one))]
    masks.tidy(command, inputs)
    some = f"{len(members)} runs of {members[0].model}" if len(members) > 1 else members[0].name
    console.print(
        f"{len(inputs)} inputs, {len(inputs) - len(todo)} of them done before; by {some}, trained on "
        f"{members[0].dataset} at {'x'.join(map(str, members[0].config.data.size))} (height x width)"
    )
    began, pictures = time.monotonic(), 0
    try:
        with contextlib.closing(masks.work(command, members, todo, devices)) as outcomes:
            for one, outcome in track(console, "predicting")(outcomes, len(todo)):
                if isinstance(outcome, Exception):
                    failed.append(_line(one, outcome))
                else:
                    pictures += outcome
    finally:
        masks.tidy(command, inputs)
    seconds = time.monotonic() - began
    if pictures:
        console.print(f"{pictures} images in {seconds:.1f} s ({pictures / seconds:.1f} images/s), see {command.output}")
    for line in failed:
        console.print(f"failed: {line}")
    return 1 if failed else 0


def _check_output(command: masks.Command) -> None:
    """Refuses an output whose masks could be taken for the user's own, or lie among the images."""
    output = command.output
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file: name a folder for the masks")
    if any(Path(text).resolve() == output.resolve() for text in command.inputs):
        raise InputError(f"{output} is the input as well as the output: name another folder for the masks")
    ours = [output / name for name in ("masks", "areas.csv", *command.extras)]
    if not (output / "prediction.json").exists() and (there := [path for path in ours if path.exists()]):
        raise InputError(f"{there[0]} was not made by this command: name another folder for the masks")


def _begin(command: masks.Command, members: Sequence[Trained], inputs: Sequence[formats.Input]) -> None:
    """Writes prediction.json, or checks that what is there is by the same runs and options, and of the same files."""
    output = command.output
    now = {
        "classes": list(members[0].classes),
        "threshold": members[0].config.threshold,
        "runs": {member.name: checkpoint.digest(member.weights) for member in members},
        **command.options,
    }
    now = json.loads(json.dumps(now))
    path = output / "prediction.json"
    try:
        before = json.loads(path.read_text()) if path.exists() else now
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): name another folder, or delete this one") from error
    for field in now:
        if before.get(field) != now[field]:
            raise InputError(f"{output} holds masks made with other {field}: name another folder, or delete this one")
    sources = before.get("inputs", {})  # files made by earlier versions have none
    for one in inputs:
        source = str(one.paths[0]) if len(one.paths) == 1 else f"{one.paths[0].parent} ({len(one.paths)} files)"
        there = sources.setdefault(one.name, source)
        if there != source:
            raise InputError(f"{output} holds {one.name} of {there}, and now it is {source}: name another folder")
    write_json(path, {**now, "inputs": sources})


def _line(one: formats.Input, error: Exception) -> str:
    """What went wrong with an input, naming its file once."""
    text = " ".join(str(error).split()) or type(error).__name__
    where = str(one.paths[0] if len(one.paths) == 1 else one.paths[0].parent)
    return text if where in text else f"{where}: {text}"


def main() -> None:
    """Runs the command; what the user can mend ends in one line and exit code 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr is: a file's name need not be UTF-8
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, soft_wrap=True)
    try:
        sys.exit(run(sys.argv[1:], console))
    except (InputError, DataError, OSError) as error:
        message, code = f"error: {' '.join(str(error).split())}", 1
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        message, code = "error: the device is out of memory: give --tile=H,W with a smaller height and width", 1
    except KeyboardInterrupt:
        message, code = "interrupted: give the same command again to go on", ending.INTERRUPTED
    print(message, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
