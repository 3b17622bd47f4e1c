"""Options that say which runs predict and how, and what they do in words."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch.console import paths
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import shared
from sharp_unet_jax.inference.trained import Trained
from sharp_unet_jax.storage.layout import CHOICE
from sharp_unet_jax.weights import hub

RUN = "WORKDIR, WORKDIR/runs/MODEL/repeatR-foldF, the folder of a shared model, or hf://OWNER/NAME on the hub"
MODEL = "the model, if the workdir has several; or several: unet,sharp_unet; or chosen, by launch.choose"
PLAIN = "masks only by the threshold of the config, without the rule of launch.choose"
NAMES = ("flips", "rotations", "tile", "plain")


def run(text: str) -> Path | str:
    """Return the argument of --run: a path, or the address of a shared model. Raises OSError for other addresses."""
    return text if hub.is_address(text) else paths.path(text)


def is_shared(run: Path | str) -> bool:
    """Say whether the argument of --run names a shared model."""
    return not isinstance(run, Path) or shared.is_in(run)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    parser.add_argument("--flips", action="store_true", help="average over mirrored images (4 times the work)")
    rotations = "average over quarter turns (4 times the work; with --flips 8 times, not 16)"
    parser.add_argument("--rotations", action="store_true", help=rotations)
    tile = (
        "cut images into tiles of this size (default: that of the crops for a run trained on crops; none for a run "
        "trained on whole images: it saw them resized, so objects in tiles have a size that it does not know)"
    )
    parser.add_argument("--tile", metavar="H,W", help=tile)
    parser.add_argument("--plain", action="store_true", help=PLAIN)


def of(known: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `predict.predict` on a parsed command line. Raises InputError for a tile that is none."""
    return {"flips": known.flips, "rotations": known.rotations, "tile": _tile(known.tile)}


def named(folder: Path, known: argparse.Namespace) -> Path:
    """Return `folder` with the options that are given at the end of its name: FOLDER-flips-tile512x512."""
    given = [name for name in ("flips", "rotations", "plain") if getattr(known, name)]
    tile = _tile(known.tile)
    given += [f"tile{tile[0]}x{tile[1]}"] if tile else []
    return folder.with_name("-".join((folder.name, *given)))


def facts(run: Trained, how: Mapping[str, Any]) -> dict[str, str]:
    """Return what `how`, the result of `of`, and the rule of masks do, in words by what they are called."""
    found = {}
    averaged = {"flips": "mirrored images", "rotations": "quarter turns"}
    if over := [text for name, text in averaged.items() if how[name]]:
        found["averaged over"] = " and ".join(over)
    if how["tile"]:
        found["tiles"] = f"{'x'.join(map(str, how['tile']))} (height x width)"
    one = run.num_classes == 1
    found["decision"] = "foreground where the probability is " * one + run.rule.words(one)
    if run.rule.smallest:
        found["decision"] += " (pixels at the resolution of training)"
    if run.chosen:
        found["decision"] += "; chosen on inner validation images by launch.choose"
    return found


def chosen(run: Trained, given: Path | str, plain: bool) -> str:
    """Say that masks follow a chosen rule, and which one, or that choice.json has none; "" where it is not read.

    Args:
        run: the first that predicts.
        given: the argument of --run.
        plain: the chosen rule is left out.
    """
    if run.chosen:
        return f"masks by the rule of launch.choose: {run.rule.words(run.num_classes == 1)}"
    if not plain and (Path(given) / CHOICE).exists():
        return f"masks by the threshold of the config: {CHOICE} has no rule for the mean of these models"
    return ""


def _tile(text: str | None) -> tuple[int, int] | None:
    if not text:
        return None
    sides = text.split(",")
    if len(sides) != 2 or not all(re.fullmatch(r"\s*0*[1-9][0-9]{0,14}\s*", side) for side in sides):
        raise InputError(f"--tile={text}: give a height and a width in pixels, such as --tile=512,512")
    return int(sides[0]), int(sides[1])
