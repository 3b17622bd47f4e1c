"""Scores of a test set: python -m launch.evaluate --run=WORKDIR_OR_RUN --images=IMAGES --masks=MASKS

Predicts images that no run was trained on, and compares them with their true masks at the files' own resolution: all
overlaps, HD95 and ASSD, by image, by class and by group, with 95 % intervals. With a workdir, the probabilities of all
its finished runs of a model, or of several models (--model=unet,sharp_unet), are averaged, and the page says whether
images that the runs disagree on have worse masks. With --predictions=FOLDER, masks that any program wrote are scored
instead of a run's. Images are read, predicted and turned into masks as by launch.predict, true masks are read as by
launch.cv with --config=folder.py.

--output gets evaluation.html, per_image.csv, scores.json and, of a run, masks/. By default it is
WORKDIR/evaluation-NAME-MODEL-OPTIONS; evaluation-NAME-OPTIONS in this folder for a shared model; and evaluation in this
folder with --predictions. Give the same command again and the folder is replaced as a whole; scores of other files need
an --output of their own. Exit code 0: all is scored; 1: a file cannot be read or paired, or the command is wrong; 130:
Ctrl-C. Nothing is written unless all is scored.
"""

import argparse
import contextlib
import shlex
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import jax
import numpy as np
from rich.console import Console

import sharp_unet_jax
from datasets.errors import DataError
from datasets.folder import volumes
from datasets.folder.settings import Settings
from datasets.formats import search
from launch.console import arguments as command_line
from launch.console import ending, paths, runtime
from launch.console.progress import track
from launch.evaluation import other_masks, truth
from launch.evaluation.truth import Truth
from launch.prediction import options, output, pipeline
from launch.prediction.output import Output
from sharp_unet_jax.data.resize import resolution
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import loading
from sharp_unet_jax.inference.trained import Trained, described
from sharp_unet_jax.metrics import Empty
from sharp_unet_jax.report import evaluated, evaluation_page
from sharp_unet_jax.report.evaluated import Case, Scored
from sharp_unet_jax.report.provenance import EMPTY, OWN
from sharp_unet_jax.storage import spreadsheet
from sharp_unet_jax.storage.atomic import check_writable, clear_dead, replacing_folder, write_json, write_text
from sharp_unet_jax.storage.layout import run_of
from sharp_unet_jax.storage.reading import read_json

WRITTEN = ("evaluation.html", "per_image.csv", "scores.json", "masks")
MARK = "scores.json"


class Mark(TypedDict):
    """The field of scores.json that names its sources, by option; an earlier version had none."""

    sources: NotRequired[dict[str, str]]


class Item(NamedTuple):
    """An image, or a slice of a volume, scored."""

    case: Case
    pair: int  # its place in the test set
    at: int  # place of the slice in it
    labels: bytes  # predicted, (H, W) uint8, compressed


def run(arguments: Sequence[str], console: Console) -> None:
    """Run the command. Raises InputError, DataError or OSError for what the user can fix."""
    known = _parse(arguments)
    members, how = list[Trained](), options.of(known)
    devices = runtime.configure() if known.run else []
    if known.run:
        members = loading.load_all(known.run, known.model, plain=known.plain)
    given = {name: text for name in truth.FIELDS if (text := getattr(known, name)) is not None}
    first = members[0] if members else None
    how_read = truth.settings_of(given, first)
    folder = known.output or options.named(_default(known, members, truth.name_of(how_read)), known)
    _check(folder, how_read, known.predictions)
    sources = {name: str(path.resolve()) for name, path in _sources(how_read, known.predictions).items()}
    if not known.output:
        _check_replaced(folder, sources)
    test = truth.read(how_read, first)
    members = [truth.reading_as(how_read, member) for member in members]
    console.print(test.scan.describe())
    if first and (rule := options.chosen(first, known.run, known.plain)):
        console.print(rule)
    _check_apart(folder, (path for pair in test.scan.pairs for path in (pair.image[0], pair.mask[0])))
    empty: Empty = first.config.empty if first else known.empty or "one"
    facts = _facts(test, members, known.predictions, empty, how)
    clear_dead(folder.absolute().parent)
    with replacing_folder(folder) as temporary:
        if members:
            items = list(_predicted(members, test, temporary, devices, how, console))
        else:
            items = list(_read(test, known.predictions, console))
        items = [one for one in items if one.case.counts[:, 1].any()]  # slices that are not annotated say nothing
        scored = Scored([one.case for one in items], test.classes, empty, "mm" if test.in_mm else "px")
        record = {"test_set": test.name, **evaluated.scores(scored), "what": facts, "sources": sources}
        record["weights_sha256"] = {one.name: one.record["weights_sha256"] for one in members}
        if first:
            record |= {"options": how, "rule": first.rule._asdict()}
        command = shlex.join(["python", "-m", "launch.evaluate", *arguments])
        write_json(temporary / MARK, {**record, "command": command, "version": sharp_unet_jax.__version__})
        write_text(temporary / "per_image.csv", spreadsheet.csv(evaluated.per_image(scored)))
        page = evaluation_page.render(f"Test set {test.name}", scored, _shown(test, items, scored), facts, command)
        write_text(temporary / "evaluation.html", page)
    headline, labels = next(iter(scored.scopes.items()))
    for name, one in scored.estimates(labels).items():
        value = (
            f"{evaluated.plain(one)} {scored.unit}" if name in evaluated.DISTANCES else f"{evaluated.percent(one)} %"
        )
        console.print(f"{headline}, {name}: {value}, n = {one.n}")
    console.print(f"see {folder / 'evaluation.html'}")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. Raises InputError for options that exclude each other."""
    parser = command_line.parser("launch.evaluate", __doc__)
    parser.add_argument("--run", type=options.run, help=options.RUN)
    parser.add_argument("--model", default="", help=options.MODEL)
    folder = "a folder of predicted masks to score instead of a run's, named as the images or as their true masks"
    parser.add_argument("--predictions", type=paths.path, metavar="FOLDER", help=folder)
    for name, text in truth.FIELDS.items():
        parser.add_argument(f"--{name}", help=text)
    empty = "with --predictions: the score of a class in neither mask (default: one)"
    parser.add_argument("--empty", choices=tuple(EMPTY), help=empty)
    parser.add_argument("--output", type=paths.path, metavar="FOLDER", help="folder for the scores")
    options.add(parser)
    known = command_line.parse(parser, arguments)
    if bool(known.run) == bool(known.predictions):
        raise InputError("give one of --run=WORKDIR_OR_RUN, to predict, and --predictions=FOLDER of masks to score")
    if known.run and known.empty:
        raise InputError("--empty: a run has a rule of its own for empty masks, and is scored by it; leave it out")
    if wrong := [name for name in ("model", *options.NAMES) if getattr(known, name) and not known.run]:
        raise InputError(f"--{wrong[0]}: is for --run; leave it out")
    return known


def _default(known: argparse.Namespace, members: Sequence[Trained], test: str) -> Path:
    """Return the folder for the scores.

    It is in the workdir, with the model or the run in its name where that was chosen; of a shared model, here.
    """
    if not members:
        return Path("evaluation")
    name = f"evaluation-{test}"
    if options.is_shared(known.run):  # it stays as it is
        return Path(name)
    if found := run_of(known.run.absolute()):
        return found[0] / f"{name}-{members[0].name.replace('/', '-')}"
    return Path(known.run / "-".join((name, *loading.names(known.model))))


def _check(folder: Path, given: Settings, predictions: Path | None) -> None:
    """Refuse, before images are read, a folder of predictions that is none, and an output folder that cannot be used.

    It is replaced, so files that this command did not write are refused. Raises InputError.
    """
    if predictions and not predictions.is_dir():
        raise InputError(f"--predictions={predictions} is no folder: name that of the masks to score")
    _check_apart(folder, _sources(given, predictions).values())
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: name a folder as --output")
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    other = [name for name in names if MARK not in names or name not in WRITTEN]
    if other:
        raise InputError(f"{folder} holds {other[0]}, not written by this command: name another folder as --output")
    check_writable(folder.absolute().parent)  # the new folder is written beside the old one


def _sources(given: Settings, predictions: Path | None) -> dict[str, Path]:
    """Return the paths that a command reads, by its options."""
    named = {"images": given.images, "masks": given.masks, "table": given.table, "predictions": predictions}
    return {name: path for name, path in named.items() if path}


def _check_replaced(folder: Path, sources: dict[str, str]) -> None:
    """Refuse to replace, in a folder that the user did not name, the scores of other files. Raises InputError."""
    path = folder / MARK
    before = read_json(path, Mark, remedy="delete the folder") if path.exists() else {}
    known = before.get("sources", sources)
    if other := [path for name, path in known.items() if path != sources.get(name)]:
        raise InputError(f"{folder} holds the scores of {other[0]}: name another folder as --output")


def _check_apart(folder: Path, sources: Iterable[Path]) -> None:
    """Refuse an output folder, which is replaced, in which a source lies. Raises InputError."""
    real = folder.resolve()
    if inside := [path for path in sources if path.resolve().is_relative_to(real)]:
        raise InputError(f"{inside[0]} lies in {folder}, which this command replaces: name another folder as --output")


def _facts(
    test: Truth, members: Sequence[Trained], predictions: Path | None, empty: Empty, how: dict[str, Any]
) -> dict[str, str]:
    """Return what is scored, and by which rules, in words."""
    facts = {"test set": test.scan.describe().rstrip(".")}
    groups, images = len(set(test.group_of)), len(test.scan.names)
    facts["groups"] = f"{groups}, of {images} images" if groups < images else "none: each image is one of its own"
    facts["classes"] = ", ".join(test.classes)
    if members:
        first, data = members[0], members[0].config.data
        facts["predicted by"] = f"{'the mean probability of ' * (len(members) > 1)}{described(members)}"
        facts["runs"] = ", ".join(one.name for one in members)
        at = "x".join(map(str, data.size))
        crops = f"crops of {at} (height x width) at {resolution(data)}"
        facts["trained on"] = f"{first.dataset}, " + (crops if data.fit == "crop" else f"images resized to {at}")
        facts |= options.facts(first, how)
    else:
        facts["predicted by"] = f"another program: the masks in {predictions}"
    facts["scored at"] = OWN
    facts["empty masks"] = f"a class in neither truth nor prediction {EMPTY[empty]}"
    return facts


def _predicted(
    members: Sequence[Trained],
    test: Truth,
    folder: Path,
    devices: Sequence[jax.Device],
    how: dict[str, Any],
    console: Console,
) -> Iterator[Item]:
    """Predict all images, write their masks to `folder`/masks, and yield what is scored."""
    out, number_of = Output(folder), {pair.id: number for number, pair in enumerate(test.scan.pairs)}
    inputs = [search.of_files(pair.id, pair.image) for pair in test.scan.pairs]

    def score(predicted: pipeline.Predicted) -> tuple[list[Item], str]:
        one, stack, _, note = predicted.opened
        (path,) = output.paths(out, one)
        items = _scored(test, number_of[one.name], predicted.labels, one.where, predicted.disagreement)
        path.parent.mkdir(parents=True, exist_ok=True)
        one.family.write_masks(path, predicted.labels, stack, test.classes)
        return items, note

    outcomes = pipeline.predict_files(members, inputs, out, devices, how, score)
    with contextlib.closing(outcomes):
        for one, outcome in track(console, "predicting")(outcomes, len(inputs)):
            if isinstance(outcome, (DataError, InputError)) and one.where not in str(outcome):
                raise InputError(f"{one.where}: {outcome}") from outcome
            if isinstance(outcome, Exception):
                raise outcome
            items, note = outcome
            if note:
                console.print(f"note: {one.where}: {note}")
            yield from items


def _read(test: Truth, folder: Path, console: Console) -> Iterator[Item]:
    """Read predicted masks from `folder` and yield what is scored."""
    predicted = other_masks.pair(test, folder)
    rule = other_masks.rule(test, predicted, track(console, "reading"))

    def score(number: int) -> list[Item]:
        paths = predicted[number]
        return _scored(test, number, other_masks.read(test, number, paths, rule), str(paths[0]))

    pool = ThreadPoolExecutor(pipeline.THREADS)
    try:
        for items in track(console, "scoring")(pool.map(score, range(len(predicted))), len(predicted)):
            yield from items
    finally:  # after Ctrl-C too
        pool.shutdown(cancel_futures=True)


def _scored(
    test: Truth, number: int, predicted: np.ndarray, where: str, disagreement: Sequence[tuple[float, ...]] = ()
) -> list[Item]:
    """Score the predicted labels (n, H, W) of a pair; for `disagreement` see `pipeline.Predicted`.

    Raises DataError where they have another size than the truth.
    """
    true, pair = test.labels(number), test.scan.pairs[number]
    if predicted.shape != true.shape:
        ours, theirs = (f"{w}x{h}{volumes.times(n)}" for n, h, w in (predicted.shape, true.shape))
        raise DataError(
            f"{where} has {ours} predicted pixels but {pair.mask[0]} is {theirs} (width x height); they must be equal"
        )
    spacing, group, classes = test.spacing(number), test.group_of[number], len(test.classes)
    items = []
    for index, name in enumerate(test.ids(number)):
        own = disagreement[index] if disagreement else ()
        one = evaluated.case(name, group, true[index], predicted[index], classes, spacing, own)
        items.append(Item(one, number, index, zlib.compress(predicted[index].tobytes(), 1)))
    return items


def _shown(test: Truth, items: Sequence[Item], scored: Scored) -> list[evaluation_page.Shown]:
    """Read the images of the page again."""
    jaccard = scored.by_image(next(iter(scored.scopes.values())))["jaccard"]
    shown = []
    for why, at in evaluated.chosen(scored).items():
        one = items[at]
        images, true = test.scan.read(one.pair)
        labels = np.frombuffer(zlib.decompress(one.labels), np.uint8).reshape(true[one.at].shape)
        picture = images[one.at], true[one.at], labels
        shown.append(evaluation_page.Shown(why, one.case.id, float(jaccard[at]), *picture))
    return shown


if __name__ == "__main__":
    with ending.in_one_line():
        terminal = None if sys.stdout.isatty() else 160
        run(sys.argv[1:], Console(width=terminal, highlight=False, markup=False, soft_wrap=True))
