"""The choice of a sweep, choice.json: taken on inner validation images, then scored on test images.

Each fold chooses on its own inner validation images alone, and its choice is scored on its test images: that is the
gain that is reported. The choice that predicts from then on is taken on the inner validation images of all folds.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sharp_unet_jax import decision
from sharp_unet_jax.choosing import gains, images, networks, rules
from sharp_unet_jax.choosing.images import Part, Pool, Predict
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import statistics
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.storage import contents
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps import plan

Follow = Callable[[str], Callable[[Iterable[Any], int], Iterable[Any]]]
"""`follow(what)(items, total)` yields the items and may show how many there were, as `what`."""

Cells = dict[tuple[int, int], dict[str, Run]]  # by repeat and fold, then by network: finished runs


class Decided(NamedTuple):
    """Networks whose mean predicts, and the rule of their masks."""

    networks: tuple[str, ...]
    rule: decision.Rule


class Taken(NamedTuple):
    """A choice, before it is scored on test images."""

    all: Decided  # of all folds together
    validation: contents.Gain
    folds: dict[tuple[int, int], Decided]  # of each fold alone
    without: dict[tuple[int, int], Decided]  # what each fold is compared with


class _Scene(NamedTuple):
    sweep: Sweep
    config: Config
    dataset: Dataset
    predict: Predict
    follow: Follow


def check(sweep: Sweep, config: Config) -> None:
    """Refuse a sweep without images to choose on. Raises InputError."""
    if config.protocol != "nested":
        raise InputError(
            f"{sweep.workdir} has protocol={config.protocol}, whose validation images are the test images: nothing can "
            "be chosen on them; train a sweep with --config.protocol=nested"
        )
    if not sweep.finished:
        raise InputError(f"{sweep.workdir} has no finished run yet: wait for one")


def choose(
    sweep: Sweep,
    config: Config,
    dataset: Dataset,
    predict: Predict,
    follow: Follow = lambda _: lambda items, _: items,
) -> contents.Choice:
    """Return the choice of a sweep, from its finished runs.

    Test images are read when all choices are taken, for the field `test` alone.

    Args:
        sweep: its records.
        config: its settings, with protocol="nested".
        dataset: its images and masks.
        predict: gives the probabilities of images by a run, see `images.predictor`.
        follow: may show the progress.

    Raises:
        InputError: for a sweep of another protocol, or without a finished run.
    """
    check(sweep, config)
    scene = _Scene(sweep, config, dataset, predict, follow)
    finished = [run for run in plan.every(config) if run.name in sweep.finished]
    cells: Cells = {}
    for run in finished:
        cells.setdefault((run.repeat, run.fold), {})[run.model] = run
    parts = _validation(scene, cells)
    names = list(dict.fromkeys(run.model for run in finished))
    taken = {(name,): _of_network(scene, parts, name) for name in follow("choosing rules")(names, len(names))}
    shared = {cell: part for cell, part in parts.items() if len(part.probabilities) == len(names)}
    if len(names) > 1 and shared:
        taken[tuple(names)] = _of_networks(scene, shared, {name: taken[name,] for name in names})
    chosen = _tested(scene, cells, taken)
    return {
        "weights_sha256": {run.name: sweep.finished[run.name]["weights_sha256"] for run in finished},
        "models": {name: chosen[name,] for name in names},
        "ensemble": chosen.get(tuple(names)) if len(names) > 1 else None,
    }


def _validation(scene: _Scene, cells: Cells) -> dict[tuple[int, int], Part]:
    """Predict the inner validation images of every run."""
    runs = [run for of_networks in cells.values() for run in of_networks.values()]
    packed = {}
    for run in scene.follow("predicting inner validation images")(runs, len(runs)):
        packed[run] = _predicted(scene, run, _rows(scene, run, "validation"))
    return {
        cell: Part(
            scene.dataset,
            scene.config,
            _rows(scene, next(iter(of_networks.values())), "validation"),
            {name: packed[run] for name, run in of_networks.items()},
        )
        for cell, of_networks in cells.items()
    }


def _predicted(scene: _Scene, run: Run, rows: np.ndarray) -> list[images.Packed]:
    found = scene.predict(run, rows)
    return [images.pack(np.rint(255 * probabilities).astype(np.uint8)) for probabilities in found]


def _rows(scene: _Scene, run: Run, part: str) -> np.ndarray:
    """Return the rows of a run's "validation" or "test" images in the data set."""
    row = {image: index for index, image in enumerate(scene.dataset.ids)}
    cell = scene.sweep.cell(run.repeat, run.fold)
    return np.array([row[image] for image in (cell["validation"] if part == "validation" else cell["test"])], np.int64)


def _of_network(scene: _Scene, parts: dict[tuple[int, int], Part], name: str) -> Taken:
    """Return the choice of the rule of one network."""
    own = {cell: part for cell, part in parts.items() if name in part.probabilities}
    plain = Decided((name,), decision.Rule(scene.config.threshold))
    folds = {cell: Decided((name,), _rule(scene, Pool([part]), (name,))) for cell, part in own.items()}
    pool = Pool(list(own.values()))
    of_all = Decided((name,), _rule(scene, pool, (name,)))
    return Taken(of_all, _gain(pool, of_all, plain), folds, dict.fromkeys(own, plain))


def _of_networks(scene: _Scene, parts: dict[tuple[int, int], Part], alone: dict[str, Taken]) -> Taken:
    """Return the choice of the networks to average and of the rule of their mean.

    It is compared with the best network, by the rule that this network has chosen.
    """
    plain, names = decision.Rule(scene.config.threshold), list(alone)

    def search(pool: Pool, rule_of: Callable[[str], decision.Rule]) -> tuple[Decided, Decided]:
        def scores(of: tuple[str, ...]) -> np.ndarray:
            return pool.scores(of, [plain])[0]

        first = networks.best(names, scores)
        best = Decided((first,), rule_of(first))
        found = networks.search(names, scores, pool.groups)
        return (best if len(found) == 1 else Decided(found, _rule(scene, pool, found))), best

    folds, without = {}, {}
    for cell, part in scene.follow("choosing networks")(parts.items(), len(parts)):
        folds[cell], without[cell] = search(Pool([part]), lambda name, cell=cell: alone[name].folds[cell].rule)
    pool = Pool(list(parts.values()))
    of_all, best = search(pool, lambda name: alone[name].all.rule)
    return Taken(of_all, _gain(pool, of_all, best), folds, without)


def _rule(scene: _Scene, pool: Pool, of: tuple[str, ...]) -> decision.Rule:
    """Return the rule that the images of a pool choose for the mean of networks."""
    return rules.search(
        decision.Rule(scene.config.threshold),
        rules.ladder(pool.masks),
        scene.dataset.num_classes == 1,
        lambda candidates: pool.scores(of, candidates),
        pool.groups,
    )


def _gain(pool: Pool, decided: Decided, without: Decided) -> contents.Gain:
    (after,), (before,) = (pool.scores(each.networks, [each.rule]) for each in (decided, without))
    return gains.over_images(after, before, pool.groups, len(pool.parts))


def _tested(
    scene: _Scene, cells: Cells, taken: dict[tuple[str, ...], Taken]
) -> dict[tuple[str, ...], contents.Chosen]:
    """Return the choices with what they gain on the test images of each fold."""
    after, before, tests = ({key: [] for key in taken} for _ in range(3))
    for cell, of_networks in scene.follow("scoring test images")(cells.items(), len(cells)):
        rows = _rows(scene, next(iter(of_networks.values())), "test")
        part = Part(
            scene.dataset, scene.config, rows, {name: _of_test(scene, run, rows) for name, run in of_networks.items()}
        )
        for key, each in taken.items():
            if cell in each.folds:
                for scores, decided in ((after, each.folds[cell]), (before, each.without[cell])):
                    scores[key].append(part.scores(decided.networks, [decided.rule])[0])
                tests[key].append(rows)
    ratio = statistics.test_ratio(scene.sweep)
    return {
        key: {
            **_written(each.all),
            "validation": each.validation,
            "folds": {f"repeat{cell[0]}-fold{cell[1]}": _written(decided) for cell, decided in each.folds.items()},
            "test": gains.over_runs(after[key], before[key], *_drawn(scene, tests[key]), ratio),
        }
        for key, each in taken.items()
    }


def _of_test(scene: _Scene, run: Run, rows: np.ndarray) -> list[images.Packed]:
    """Return the probabilities of a run's test images: those that it kept, else predicted again."""
    kept = scene.sweep.predictions(run.name)
    return _predicted(scene, run, rows) if kept is None else [images.pack(each) for each in kept]


def _drawn(scene: _Scene, tests: Sequence[np.ndarray]) -> tuple[list[list[str]], int]:
    """Return the group of each test image of each run, and the number of different images."""
    groups = [[scene.dataset.groups[row] for row in rows] for rows in tests]
    return groups, len(np.unique(np.concatenate(tests)))


def _written(decided: Decided) -> Any:
    """Return a choice as choice.json has it."""
    return {"networks": list(decided.networks), "rule": dict(decided.rule._asdict())}
