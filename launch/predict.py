"""Masks of your own images: python -m launch.predict --run=WORKDIR_OR_RUN INPUT [INPUT ...] OUTPUT

INPUT is a file, a folder or a glob: PNG, JPG, BMP, GIF, WebP, TIF, NIfTI, DICOM files or series. OUTPUT is a folder: it
gets masks/, with each mask in its image's own size and format, areas.csv, and what else you ask for.

Images are read, resized or cut into tiles, and thresholded as they were when the run was trained and scored. If it was
trained on files that are channels (data.channel_files), such files are one image. Values that lie outside those of the
training are noted. The rotation in a photo's EXIF data is not applied, as in training: the mask fits the pixels as they
are stored.

With a workdir, the probabilities of all its finished runs of a model, or of several models (--model=unet,sharp_unet),
are averaged, and areas.csv says how much the runs disagree. If the workdir has a choice.json, by launch.choose, masks
follow the rule that was chosen there.

Give the same command again to go on: inputs whose files and rows in areas.csv are there, and that were not changed
since, are skipped. A file that cannot be read stops nothing; it is listed at the end. Exit code 0: all is done; 1: an
input failed, or the command is wrong; 130: Ctrl-C.
"""

import contextlib
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from datasets import formats
from datasets.folder.names import first_few
from datasets.formats import search
from launch.console import arguments as command_line
from launch.console import ending, paths, runtime
from launch.console.progress import track
from launch.prediction import areas, options, output, pipeline
from launch.prediction.output import Output
from sharp_unet_jax.data.resize import resolution
from sharp_unet_jax.errors import InputError, is_out_of_memory
from sharp_unet_jax.inference import loading
from sharp_unet_jax.inference.trained import described
from sharp_unet_jax.storage.atomic import check_writable


class Command(NamedTuple):
    """The request of the user."""

    run: Path | str  # a workdir, a run's folder, a shared model's or its address
    model: str  # several have commas between them; "" where the workdir has only one
    inputs: list[str]  # files, folders and globs
    output: Output
    options: dict[str, Any]  # of predict.predict
    plain: bool  # masks by the threshold of the config, whatever choice.json says


def parse(arguments: Sequence[str]) -> Command:
    """Parse the command line. Raises InputError for wrong values."""
    parser = command_line.parser("launch.predict", __doc__)
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="file, folder (with all below it) or glob")
    parser.add_argument("output", metavar="OUTPUT", type=paths.path, help="folder")
    parser.add_argument("--run", type=options.run, required=True, help=options.RUN)
    parser.add_argument("--model", default="", help=options.MODEL)
    parser.add_argument("--probabilities", action="store_true", help="also write probabilities/")
    parser.add_argument("--overlays", action="store_true", help="also write overlays/: images with the masks drawn in")
    disagreement = (
        "of a workdir's runs: also write disagreement/, maps of how much they disagree, and disagreement_overlays/"
    )
    parser.add_argument("--disagreement", action="store_true", help=disagreement)
    options.add(parser)
    known = command_line.parse(parser, arguments)
    extras = tuple(name for name in ("probabilities", "overlays", "disagreement") if getattr(known, name))
    extras += ("disagreement_overlays",) if known.disagreement else ()
    to = Output(known.output, extras)
    return Command(known.run, known.model, known.inputs, to, options.of(known), known.plain)


def run(arguments: Sequence[str], console: Console) -> int:
    """Run the command and return its exit code. Raises InputError or OSError for what the user can fix."""
    command = parse(arguments)
    output.check(command.output, command.inputs)
    check_writable(command.output.folder)
    failed: list[str] = []
    devices = runtime.configure()
    members = loading.load_all(command.run, command.model, plain=command.plain)
    if len(members) == 1 and "disagreement" in command.output.extras:
        raise InputError(
            f"--disagreement is between runs, and {members[0].name} is one: give a workdir, or leave it out"
        )
    endings = members[0].config.data.channel_files
    inputs = search.find(command.inputs, failed, endings=endings, channels=members[0].slice_channels)
    output.begin(command.output, members, inputs, command.options)
    changed = {one.name for one in inputs if output.is_older(command.output, one)}
    done = areas.sort(command.output, inputs, members[0].classes, changed=changed)
    noted: dict[str, list[str]] = {}
    for one in inputs:
        if one.note:
            noted.setdefault(one.note, []).append(one.where)
    todo = [one for one in inputs if one.name not in done]
    joined = {f" of {len(one.paths)} files, one per channel" for one in inputs if formats.are_channels(one.paths)}
    said = options.chosen(members[0], command.run, command.plain)
    data, rule = members[0].config.data, f"; {said}" if said else ""
    how = (
        f", on crops of {{}} (height x width) at {resolution(data)}"
        if data.fit == "crop"
        else " at {} (height x width)"
    )
    runs = described(members)
    console.print(
        f"{len(inputs)} inputs{''.join(joined)}, {len(inputs) - len(todo)} of them done before; by {runs}, trained on "
        f"{members[0].dataset}{how.format('x'.join(map(str, data.size)))}{rule}"
    )
    for note, names in noted.items():
        console.print(ending.printable(f"note: {first_few(names)}: {note}"))
    began, written, unspaced = time.monotonic(), dict[search.Input, int](), list[str]()
    outside, empty = list[str](), list[str]()  # of the range of the training; with nothing but background
    outcomes = pipeline.predict_files(members, todo, command.output, devices, command.options)
    try:
        with contextlib.closing(outcomes):
            for one, outcome in track(console, "predicting")(outcomes, len(todo)):
                if isinstance(outcome, Exception):
                    failed.append(_line(one, outcome))
                else:
                    written[one] = outcome.pictures
                    unspaced += [] if outcome.spaced else [one.where]
                    empty += [one.where] if outcome.empty else []
                    if outcome.note:
                        outside.append(one.where)
                        console.print(ending.printable(f"note: {one.where}: {outcome.note}"))
    finally:  # after Ctrl-C, or where the memory ends, too
        done = areas.sort(command.output, inputs, members[0].classes)
        lost = [one.where for one in written if one.name not in done]  # another command writes to the folder
        failed += [f"{where}: its files or rows are gone again; give the same command again" for where in lost]
        if written:
            pictures, seconds = sum(written.values()), time.monotonic() - began
            speed = f"{pictures} images in {seconds:.1f} s ({pictures / seconds:.1f} images/s)"
            console.print(f"{speed}, see {command.output.folder}")
        if unspaced:
            why = "their pixel spacing is not finite and above 0, or differs between slices"
            console.print(ending.printable(f"note: no mm2 in {output.AREAS} for {first_few(unspaced)}: {why}"))
        if outside:
            several = f"{len(outside)} of {len(written)} inputs"
            console.print(
                ending.printable(
                    f"note: {several} do not hold values as the run was trained on: {first_few(outside)}; look at "
                    "their masks before you use them"
                )
            )
        if empty:
            which = f"all {len(written)} inputs" if len(empty) == len(written) else first_few(empty)
            console.print(ending.printable(f"note: nothing but background was found in {which}"))
        for line in failed:
            console.print(f"failed: {ending.printable(line)}")
    return 1 if failed else 0


def _line(one: search.Input, error: Exception) -> str:
    """Say what went wrong with an input, in a line that names its file once."""
    text = " ".join(str(error).split()) or type(error).__name__
    if is_out_of_memory(error):
        text = "there is too little memory to read it or to write its mask; free memory, or save it in parts"
    where = " ".join(one.where.split())
    return text if where in text else f"{where}: {text}"


def main() -> None:
    """Run the command and exit with its code."""
    with ending.in_one_line("give the same command again to go on"):
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # as stderr is: a file's name need not be UTF-8
        width = None if sys.stdout.isatty() else 160
        sys.exit(run(sys.argv[1:], Console(width=width, highlight=False, markup=False, soft_wrap=True)))


if __name__ == "__main__":
    main()
