"""A finished run as a file for others: python -m launch.export --run=WORKDIR_OR_RUN --format=onnx --output=FILE

stablehlo (for JAX only, on CPU, CUDA and TPU) and onnx (for onnxruntime) take uint8 images of any size and number and
return masks and probabilities: resizing, scaling and the threshold are inside. Of runs on crops they take tiles as
large as the crops; the model card has the loop over the tiles of an image. safetensors holds the weights of one run.
If the workdir has a choice.json, by launch.choose, the threshold is that of its rule, and the card has the rest of it.
With a workdir, the probabilities of all its finished runs of a model, or of several models (--model=unet,sharp_unet, or
--model=chosen), are averaged. FILE.md, a model card, is written beside it.

hub (for the Hugging Face hub) writes a folder: README.md, the model card; config.json; model.safetensors, the weights
of all runs. load("FOLDER") in Python and --run=FOLDER predict from it as from the workdir. It names no folder of the
machine, no image and no patient. The command that uploads it is printed; load("hf://OWNER/NAME") then reads it
anywhere. Exit code 0: done; 1: the input is wrong.
"""

import logging
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import datasets
from launch.console import arguments as command_line
from launch.console import ending, paths, runtime
from launch.prediction import options
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import export, hub_card, loading, model_card, shared
from sharp_unet_jax.inference.trained import Trained, described
from sharp_unet_jax.storage.atomic import check_writable, clear_dead, replacing, replacing_folder, write_text
from sharp_unet_jax.weights import hub

HUB = "hub"  # the format that is a folder


def run(arguments: Sequence[str], console: Console) -> None:
    """Run the command. Raises InputError or OSError for what the user can fix."""
    parser = command_line.parser("launch.export", __doc__)
    parser.add_argument("--run", type=options.run, required=True, help=options.RUN)
    parser.add_argument("--model", default="", help=options.MODEL)
    parser.add_argument("--plain", action="store_true", help=options.PLAIN)
    parser.add_argument("--format", choices=(*model_card.USES, HUB), required=True)
    parser.add_argument("--output", type=paths.path, required=True, help="the file; with --format=hub the folder")
    repo = "with --format=hub: the model's name on the hub, for the code in its card and for the upload"
    parser.add_argument("--repo", metavar="OWNER/NAME", default="", help=repo)
    known = command_line.parse(parser, arguments)
    if known.repo and (known.format != HUB or not re.fullmatch(hub.REPOSITORY, known.repo)):
        raise InputError(f"--repo={known.repo}: give OWNER/NAME, and only with --format=hub")
    _check_output(known.output, known.format)
    export.check(known.format)
    runtime.configure()
    runs = loading.load_all(known.run, known.model, plain=known.plain)
    mean = f", the mean of {described(runs)}" if len(runs) > 1 else ""
    rule = f"; {said}" if (said := options.chosen(runs[0], known.run, known.plain)) else ""
    if known.format == HUB:
        size = _write_folder(known.output, runs, known.repo)
        console.print(f"{known.output}: {size / 1e6:.1f} MB{mean}{rule}; see {shared.CARD}", soft_wrap=True)
        upload = shlex.join(["hf", "upload", known.repo or "OWNER/NAME", str(known.output)])
        console.print(f"look at the card, then share it: hf auth login && {upload}", soft_wrap=True)
    else:
        size, card = _write_file(known.output, runs, known.format, known.run)
        console.print(f"{known.output}: {size / 1e6:.1f} MB{mean}{rule}; see {card.name}", soft_wrap=True)


def _write_file(output: Path, runs: Sequence[Trained], file_format: str, given: Path | str) -> tuple[int, Path]:
    """Write the file and its card; return the file's bytes and the card. `given` is --run. Raises InputError."""
    if file_format == "safetensors" and len(runs) > 1:
        named = f"give one, such as --run={given}/runs/{runs[0].name}"
        one = "export one from its workdir" if options.is_shared(given) else named
        raise InputError(f"safetensors hold one run, and {given} has {len(runs)}: {one}")
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it warns of dimensions that are left open on purpose
    convert = {
        "stablehlo": lambda: export.to_stablehlo(runs),
        "onnx": lambda: export.to_onnx(runs),
        "safetensors": lambda: export.to_safetensors(runs[0]),
    }[file_format]
    card = output.with_name(f"{output.name}.md")
    text = model_card.write(runs, file_format, output.name, _terms(runs[0].dataset))
    clear_dead(output.parent)
    with replacing(output) as temporary:
        file = convert()
        temporary.write_bytes(file)
        write_text(card, text)
    return len(file), card


def _check_output(output: Path, file_format: str) -> None:
    """Raise InputError for a place that cannot be written, or that holds what this command did not write."""
    if file_format != HUB and output.is_dir():
        raise InputError(f"--output={output} is a folder: name a file")
    if file_format == HUB and output.exists():
        if not output.is_dir():
            raise InputError(f"--output={output} is a file: name a folder")
        ours = (*shared.FILES, shared.CARD)
        if other := sorted(path.name for path in output.iterdir() if path.name not in ours):
            raise InputError(f"--output={output} holds {other[0]}, not written by this command: name another folder")
    check_writable(output.parent)


def _write_folder(output: Path, runs: Sequence[Trained], repository: str) -> int:
    """Write the folder of a shared model, in place of one that is there; return its bytes."""
    card = hub_card.write(runs, repository, _terms(runs[0].dataset))
    clear_dead(output.absolute().parent)
    with replacing_folder(output) as temporary:
        shared.write(temporary, runs, card)
        return sum(path.stat().st_size for path in temporary.iterdir())


def _terms(dataset: str) -> str:
    """Return the section on terms of the data set's README; "" for a set without one, such as the user's own."""
    page = Path(datasets.__file__).parent / dataset.partition("/")[0] / "README.md"
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    found = re.search(r"^## (?:Licence and terms|Terms)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def main() -> None:
    """Run the command line's command."""
    with ending.in_one_line():
        run(sys.argv[1:], Console(highlight=False, markup=False))


if __name__ == "__main__":
    main()
