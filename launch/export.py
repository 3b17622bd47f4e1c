"""A finished run as a file for others: python -m launch.export --run=WORKDIR_OR_RUN --format=onnx --output=FILE

stablehlo (for JAX alone, on CPU, CUDA and TPU) and onnx (for onnxruntime) take uint8 images of any size and number and
return masks and probabilities: resizing, scaling and the threshold are inside. Of runs on crops they take tiles as
large as the crops; the model card has the loop over the tiles of an image. safetensors holds the weights of one run.
If the workdir has a choice.json, by launch.choose, the threshold is that of its rule, and the card has the rest of it.
With a workdir, the probabilities of all its finished runs of a model, or of several models (--model=unet,sharp_unet, or
--model=chosen), are averaged. FILE.md, a model card, is written beside it. Exit code 0: done; 1: the input is wrong.
"""

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import datasets
from launch.console import arguments as command_line
from launch.console import ending, paths, runtime
from launch.prediction import options
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import export, loading, model_card
from sharp_unet_jax.inference.trained import Trained, described
from sharp_unet_jax.storage.atomic import check_writable, clear_dead, replacing, write_text


def run(arguments: Sequence[str], console: Console) -> None:
    """Run the command. Raises InputError or OSError for what the user can fix."""
    parser = argparse.ArgumentParser(prog="python -m launch.export", description=__doc__, allow_abbrev=False)
    parser.add_argument("--run", type=paths.path, required=True, help="WORKDIR, or WORKDIR/runs/MODEL/repeatR-foldF")
    parser.add_argument("--model", default="", help=options.MODEL)
    parser.add_argument("--plain", action="store_true", help=options.PLAIN)
    parser.add_argument("--format", choices=model_card.USES, required=True)
    parser.add_argument("--output", metavar="FILE", type=paths.path, required=True)
    known = command_line.parse(parser, arguments)
    if known.output.is_dir():
        raise InputError(f"--output={known.output} is a folder: name a file")
    check_writable(known.output.parent)
    export.check(known.format)
    runtime.configure()
    runs = loading.load_all(known.run, known.model, plain=known.plain)
    if known.format == "safetensors" and len(runs) > 1:
        folder = f"{known.run}/runs/{runs[0].name}"
        raise InputError(f"safetensors hold one run, and {known.run} has {len(runs)}: give one, such as --run={folder}")
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it warns of dimensions that are left open on purpose
    convert = {
        "stablehlo": lambda: export.to_stablehlo(runs),
        "onnx": lambda: export.to_onnx(runs),
        "safetensors": lambda: export.to_safetensors(runs[0]),
    }[known.format]
    card, text = known.output.with_name(f"{known.output.name}.md"), _card(runs, known.format, known.output)
    clear_dead(known.output.parent)
    with replacing(known.output) as temporary:
        file = convert()
        temporary.write_bytes(file)
        write_text(card, text)
    mean = f", the mean of {described(runs)}" if len(runs) > 1 else ""
    rule = f"; {said}" if (said := options.chosen(runs[0], known.run, known.plain)) else ""
    console.print(f"{known.output}: {len(file) / 1e6:.1f} MB{mean}{rule}; see {card.name}", soft_wrap=True)


def _card(runs: Sequence[Trained], file_format: str, output: Path) -> str:
    """Return the model card of the runs."""
    return model_card.write(runs, file_format, output.name, [run.record for run in runs], _terms(runs[0].dataset))


def _terms(dataset: str) -> str:
    """Return the section on terms of the data set's README; "" for a set without one, such as the user's own."""
    page = Path(datasets.__file__).parent / dataset.partition("/")[0] / "README.md"
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    found = re.search(r"^## (?:Licence and terms|Terms)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


if __name__ == "__main__":
    with ending.in_one_line():
        run(sys.argv[1:], Console())
