"""The choice of a sweep, choice.json: taken on inner validation images, then scored on test images.

Each fold chooses only on its own inner validation images, and its choice is scored on its test images: that is the
gain that is reported. The choice that predicts from then on is taken on the inner validation images of all folds.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from sharp_unet_jax.choosing import gains, validated
from sharp_unet_jax.choosing.images import Source
from sharp_unet_jax.choosing.scores import Part
from sharp_unet_jax.choosing.validated import Cell, Decided, Taken
from sharp_unet_jax.config import Config
from sharp_unet_jax.decision import Rule
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import statistics
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.storage import contents, description
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps import plan

Follow = Callable[[str], Callable[[Iterable[Any], int], Iterable[Any]]]
"""`follow(what)(items, total)` yields the items and may show how many there were, as `what`."""

Cells = dict[Cell, dict[str, Run]]  # the finished runs of a fold, by network


def check(sweep: Sweep, config: Config) -> None:
    """Refuse a sweep without images to choose on. Raises InputError."""
    description.check_unpacked(sweep)
    if config.protocol != "nested":
        raise InputError(
            f"{sweep.workdir} has protocol={config.protocol}, whose validation images are the test images, so nothing "
            "can be chosen on them: train a sweep with --config.protocol=nested"
        )
    if not sweep.finished:
        raise InputError(f"{sweep.workdir} has no finished run yet: wait for one")


def choose(source: Source, follow: Follow = lambda _: lambda items, _: items) -> contents.Choice:
    """Return the choice of a sweep that `check` allows, from its finished runs.

    Test images are read when all choices are taken, and only for the field `test`. `follow` may show the progress.
    """
    finished = [run for run in plan.every(source.config) if run.name in source.sweep.finished]
    names = list(dict.fromkeys(run.model for run in finished))
    cells: Cells = {}
    for run in finished:
        cells.setdefault((run.repeat, run.fold), {})[run.model] = run
    taken = _taken(source, names, cells, _validation(source, finished, cells, follow), follow)
    chosen = _tested(source, cells, taken, follow)
    return {
        "weights_sha256": {run.name: source.sweep.finished[run.name]["weights_sha256"] for run in finished},
        "models": {name: chosen[name] for name in names},
        "ensemble": chosen.get(""),
    }


def _validation(source: Source, finished: list[Run], cells: Cells, follow: Follow) -> dict[Cell, Part]:
    """Return the inner validation images of each fold with the probabilities by its finished runs."""
    every = follow("predicting inner validation images")(finished, len(finished))
    found = {run: source.of_validation(run) for run in every}
    return {
        cell: Part(
            source.dataset,
            source.config,
            source.validation(next(iter(runs.values()))),
            {name: found[run] for name, run in runs.items()},
        )
        for cell, runs in cells.items()
    }


def _taken(
    source: Source, names: list[str], cells: Cells, parts: Mapping[Cell, Part], follow: Follow
) -> dict[str, Taken]:
    """Return the choice of each network by its name, and under "" that of several if they have a fold in common."""
    plain, taken = Rule(source.config.threshold), {}
    for name in follow("choosing")(names, len(names)):
        own = {cell: part for cell, part in parts.items() if name in cells[cell]}
        taken[name] = validated.of_network(name, own, plain)
    shared = {cell: part for cell, part in parts.items() if len(cells[cell]) == len(names)}
    return taken | ({"": validated.of_networks(taken, shared, plain)} if len(names) > 1 and shared else {})


def _tested(source: Source, cells: Cells, taken: Mapping[str, Taken], follow: Follow) -> dict[str, contents.Chosen]:
    """Return the choices as choice.json has them, with what those of the folds gain on the folds' test images."""
    after: dict[str, list[np.ndarray]] = {name: [] for name in taken}
    without: dict[str, list[np.ndarray]] = {name: [] for name in taken}
    tests: dict[str, list[list[str]]] = {name: [] for name in taken}
    for cell, runs in follow("scoring test images")(cells.items(), len(cells)):
        rows = source.test(next(iter(runs.values())))
        part = Part(source.dataset, source.config, rows, {name: source.of_test(run) for name, run in runs.items()})
        for name, each in taken.items():
            if cell in each.folds:
                for scores, decided in ((after, each.folds[cell]), (without, each.without[cell])):
                    scores[name].append(part.scores(decided.networks, [decided.rule])[0])
                tests[name].append([source.dataset.ids[row] for row in rows])
    ratio = statistics.test_ratio(source.sweep)
    group_of = dict(zip(source.dataset.ids, source.dataset.groups, strict=True))
    chosen: dict[str, contents.Chosen] = {}
    for name, each in taken.items():
        drawn = len({group_of[image] for images in tests[name] for image in images})
        chosen[name] = {
            **_written(each.of_all),
            "validation": each.gain,
            "folds": {f"repeat{repeat}-fold{fold}": _written(one) for (repeat, fold), one in each.folds.items()},
            "test": gains.over_runs(after[name], without[name], tests[name], drawn, ratio),
        }
    return chosen


def _written(decided: Decided) -> contents.ChosenFold:
    rule = decided.rule
    return {
        "networks": list(decided.networks),
        "rule": {"threshold": rule.threshold, "fill": rule.fill, "smallest": rule.smallest, "largest": rule.largest},
    }
