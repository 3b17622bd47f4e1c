"""A sweep's files, and its packed results: the figures of the runs, or a refusal."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import safetensors.numpy

from launch import cv, export, merge
from sharp_unet_jax.inference import loading
from sharp_unet_jax.sweeps import pack
from tests.conftest import squares
from tests.fuzz import commands, inputs
from tests.fuzz.harness import Act, Kind, equal

WORDS = ("config.json", "environment.json", "data.json")  # files of words, which the report's page shows


def report(box: Path) -> dict[str, str]:
    return commands.report(box / "w", output=box / "out")


def same_tables(figures, original, box: Path, target: Path) -> str:
    """Compare the tables and, where no words for it were changed, the page.

    Without the prepared images, or a run's predictions, tables are left out or shorter. Without a record, a run is not
    finished.
    """
    if target.name == "record.json" and not target.exists():
        return ""
    pictures = target.name == "data.json" or "prepared" in target.parts
    if pictures or (target.name == "predictions.npz" and not target.exists()):
        return _no_other_lines(figures, original)
    if target.name in WORDS:  # config.json gives the rows' order too
        figures, original = (
            {name: sorted(text.splitlines()) for name, text in each.items()} for each in (figures, original)
        )
        figures, original = ({**each, "page": ""} for each in (figures, original))
    return equal(figures, original, box, target)


def _no_other_lines(figures: dict[str, str], original: dict[str, str]) -> str:
    for name, text in figures.items():
        lines = {line for line in text.splitlines() if not line.startswith("#")}
        if name not in ("page", "audit.csv") and not lines <= set(original[name].splitlines()):
            return f"other figures: {name}"
    return ""


def packed(box: Path) -> dict[str, str]:
    """Pack a workdir, and report on that."""
    pack.pack(box / "out" / "packed", box / "w")
    return commands.report(box / "out" / "packed", output=box / "out" / "report")


def train(box: Path) -> dict[str, str]:
    """Give the sweep's command again."""
    with commands.squares_as_data(box):
        code, output = commands.command(cv.main, f"--config={box / 'c.py'}", f"--workdir={box / 'w'}")
    assert code == 0, output
    return {**_scores(box / "w"), **commands.tables(box / "w" / "report")}


def trained_again(figures, original, box: Path, target: Path) -> str:
    """Compare all but the page, which shows seconds and commands."""
    if target.name == "record.json":  # the run is trained again
        target = box / "w" / "runs"
    return same_tables({**figures, "page": ""}, {**original, "page": ""}, box, target)


def _scores(workdir: Path) -> dict[str, str]:
    runs = sorted(workdir.glob("runs/*/*/record.json"))
    digests = {str(path.parent): json.loads(path.read_text())["weights_sha256"] for path in runs}
    table = pd.read_parquet(workdir / "per_image.parquet").to_csv()
    return {"scores.csv": (workdir / "scores.csv").read_text(), "per_image.parquet": table, **digests}


def predict(box: Path) -> dict[str, bytes]:
    """Average the predictions of a model's runs."""
    runs = loading.load_all(box / "w", "unet")
    images = squares().images[:2]
    return {run.name: b"".join(each.tobytes() for each in run.predict(images)) for run in runs}


def card(box: Path) -> dict[str, Any]:
    """Export the weights of a run, with their card."""
    file = box / "out" / "x.safetensors"
    run = box / "w" / "runs" / "unet" / "repeat0-fold0"
    commands.in_one_line(
        lambda a: export.run(a, export.Console()), f"--run={run}", "--format=safetensors", f"--output={file}"
    )
    tensors = safetensors.numpy.load_file(file)  # the order of names in the file changes
    return {
        "file": {name: tensors[name].tobytes() for name in sorted(tensors)},
        "card": file.with_name("x.safetensors.md").read_bytes(),
    }


# Said of a config.json with more epochs: all runs are capped, and would go on.
NONE = ("no run is finished", "no finished run", "is not finished")

SWEEP = Kind(
    "sweep",
    inputs.sweep,
    ("w/*.json", "w/runs/*/*/*", "w/runs/*/*/*", "w/runs/*/*/checkpoint/**/*", "prepared/*"),
    (
        Act(report, judge=same_tables, names=NONE),
        Act(report, judge=same_tables, names=NONE),
        Act(packed, judge=same_tables, names=NONE),
        Act(train, ("w",), judge=trained_again, names=("holds a sweep", "holds no sweep")),
        Act(predict, names=NONE),
        Act(card, names=NONE),
    ),
    share=3,
)


def shards(box: Path) -> None:
    """Put the runs of one network into box/a, those of the other into box/b."""
    inputs.sweep(box)
    for name, other in (("a", "unet"), ("b", "sharp_unet")):
        shutil.copytree(box / "w", box / name)
        shutil.rmtree(box / name / "runs" / other)
    shutil.rmtree(box / "w")


def merged(box: Path) -> dict[str, str]:
    with commands.without_drawing():
        commands.in_one_line(merge.run, box / "out" / "m", box / "a", box / "b")
    return {**_without(box, _scores(box / "out" / "m")), **commands.tables(box / "out" / "m" / "report")}


def _without(box: Path, scores: dict[str, str]) -> dict[str, str]:
    return {name.removeprefix(str(box)): value for name, value in scores.items()}


SHARDS = Kind(
    "shards",
    shards,
    ("a/*.json", "b/*.json", "a/runs/*/*/*"),
    (Act(merged, judge=same_tables, names=("is of another sweep", "both hold", "capped by")),),
)


def results(box: Path) -> None:
    """Put packed results into box/p."""
    inputs.sweep(box)
    pack.pack(box / "p", box / "w")
    shutil.rmtree(box / "w")


def report_of_packed(box: Path) -> dict[str, str]:
    return commands.report(box / "p", output=box / "out")


PACKED = Kind("packed", results, ("p/*",), (Act(report_of_packed, judge=same_tables),))


def go_on(box: Path) -> dict[str, str]:
    """Train a sweep to its end from the state of its first run."""
    with commands.squares_as_data(box):
        code, output = commands.command(
            cv.main, f"--config={box / 'c.py'}", f"--workdir={box / 'w'}", "--config.max_runs=1"
        )
    assert code == 0, output
    return _scores(box / "w")


RESUMED = Kind(
    "resumed",
    inputs.interrupted,
    ("w/*.json", "w/runs/*/*/*", "w/runs/*/*/resume/*"),
    (Act(go_on, ("w",), names=("holds a sweep", "holds no sweep")),),
    share=0.3,
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SWEEP, SHARDS, PACKED, RESUMED], ids=lambda kind: kind.name)
def test_workdir(fuzz, kind):
    fuzz(kind)
