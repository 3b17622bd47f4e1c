"""Many runs: which there are, what each leaves in the workdir, and going on where a sweep was cut off.

config.json                        the resolved config
folds.json                         the data set's digest, and the ids of every fold
weights.json                       the digest of what each model's runs start from, if they do not start from scratch
scores.csv  per_image.parquet      collected from the records
runs/<model>/repeat<R>-fold<F>/
    metrics.jsonl                  an epoch a line
    per_image.parquet              counts of every test image and class
    checkpoint/                    the reported weights
    resume/                        while the run goes on, its last two states
    record.json                    written last: a run with it is done
    timing.json                    seconds; the other files are the same bytes whenever the run is made again
"""

import contextlib
import csv
import dataclasses
import difflib
import hashlib
import io
import json
import shutil
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from sharp_unet_jax import checkpoint, lock, losses, metrics, models, ops, programs, train
from sharp_unet_jax.atomic import replacing, to_json, write_json, write_text
from sharp_unet_jax.config import MAY_CHANGE, Config, check_types
from sharp_unet_jax.data import folds
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError

SCORES = ("dataset", "model", "protocol", "repeat", "fold", "jaccard", "dice", "best_epoch", "epochs")
Splits = dict[tuple[int, int], folds.Split]


class Run(NamedTuple):
    """One training."""

    repeat: int
    fold: int
    model: str

    @property
    def name(self) -> str:
        """As in the workdir: "unet/repeat0-fold0"."""
        return f"{self.model}/repeat{self.repeat}-fold{self.fold}"


class Started(NamedTuple):
    """A run begins; `number` counts from 1 to `total`."""

    run: Run
    number: int
    total: int
    train_images: int


class EpochEnded(NamedTuple):
    """An epoch of the run last started ended."""

    run: Run
    epoch: train.Epoch


class Warned(NamedTuple):
    """Something the user should know, and need not mend."""

    text: str


class Ended(NamedTuple):
    """A run is over; `record["status"]` is "finished" or "failed"."""

    run: Run
    record: dict[str, Any]


Event = Started | EpochEnded | Warned | Ended


class Stopped(Exception):  # noqa: N818
    """The sweep was asked to stop; the state of its run is saved."""


def check(config: Config, devices: int) -> None:
    """Refuses a config that cannot run, before any work is done: InputError names the field."""
    check_types(config)
    for name in config.models:
        models.check(name)
    if not config.models or len(set(config.models)) < len(config.models):
        raise InputError(f"models: name at least one, and each once; got {', '.join(config.models) or 'none'}")
    try:
        losses.get(config.loss)
    except ValueError as error:
        raise InputError(f"loss: {error}") from error
    if config.skip_kernel not in ops.KERNELS:
        near = difflib.get_close_matches(config.skip_kernel, ops.KERNELS, n=1, cutoff=0)
        raise InputError(f"skip_kernel: no kernel {config.skip_kernel!r}; did you mean {near[0]!r}?")
    least = {
        "frozen_epochs": 0,
        "retries": 0,
        "checkpoint_minutes": 0,
        "accumulate": 1,
        "repeats": 1,
        "folds": 2,
        "batch_size": 1,
        "epochs": 1,
        "patience": 1,
        "plateau_patience": 1,
    }
    for field, low in least.items():
        if getattr(config, field) < low:
            raise InputError(f"{field}: must be at least {low}, got {getattr(config, field)}")
    for field in ("threshold", "inner_validation", "plateau_factor"):
        if not 0 < getattr(config, field) < 1:
            raise InputError(f"{field}: must be between 0 and 1, got {getattr(config, field)}")
    for field in ("learning_rate", "encoder_learning_rate_factor"):
        if not 0 < getattr(config, field) < np.inf:
            raise InputError(f"{field}: must be above 0, got {getattr(config, field)}")
    if isinstance(config.loss, Mapping) and not np.isfinite(list(config.loss.values())).all():
        raise InputError(f"loss: every weight must be a number, got {config.loss}")
    if min(config.data.size) < 16:
        raise InputError(f"data.size: height and width must be at least 16 pixels, got {config.data.size}")
    if config.max_runs is not None and config.max_runs < 1:
        raise InputError(f"max_runs: must be at least 1, got {config.max_runs}")
    if not 1 <= config.devices_per_run <= devices:
        raise InputError(f"devices_per_run: {config.devices_per_run} asked for, {devices} here")


def plan(config: Config, shard: tuple[int, int] = (0, 1)) -> list[Run]:
    """The runs of a sweep, in the order they are made: all models on a fold before the next fold.

    Shard (i, n) is every n-th of them, from the i-th on.
    """
    cells = [(r, f, m) for r in range(config.repeats) for f in range(config.folds) for m in config.models]
    return [Run(*cell) for cell in cells[: config.max_runs][shard[0] :: shard[1]]]


def split(config: Config, dataset: Dataset) -> Splits:
    """Training, validation and test indices of every repeat and fold; InputError where there are too few images."""
    try:
        return folds.plan(
            dataset.ids,
            dataset.groups,
            folds=config.folds,
            repeats=config.repeats,
            grouped=config.grouped,
            protocol=config.protocol,
            validation=config.inner_validation,
            seed=config.seed,
        )
    except ValueError as error:
        raise InputError(f"{dataset.name}: {error}") from error


def seed(config: Config, run: Run) -> int:
    """Of a run's weights and data order. It leaves out the model: twins start alike and see the same batches."""
    text = f"{config.seed}/repeat{run.repeat}-fold{run.fold}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


def open_workdir(workdir: Path, config: Config, dataset: Dataset, splits: Splits, weights: dict[str, str]) -> None:
    """Writes what describes the sweep, or checks that what is there describes this one; InputError if it does not.

    `weights` are the digests of pretrained weights by model.
    """
    resolved = json.loads(json.dumps(dataclasses.asdict(config)))
    if (workdir / "config.json").exists():
        before, now = _flat(_read(workdir / "config.json")), _flat(resolved)
        for field in sorted(before.keys() | now.keys()):
            if before.get(field) != now.get(field) and field not in MAY_CHANGE:
                raise InputError(
                    f"{workdir} holds a sweep with {field}={before.get(field)!r}, not {now.get(field)!r}: "
                    "name another --workdir, or give the config it was started with"
                )
        if (workdir / "folds.json").exists() and _read(workdir / "folds.json")["sha256"] != dataset.sha256:
            raise InputError(
                f"{workdir} holds a sweep on other images or masks of {dataset.name}: name another --workdir"
            )
        for model, digest in _weights(workdir).items():
            if weights.get(model, digest) != digest:
                raise InputError(
                    f"{workdir} holds a sweep whose {model} started from other weights: name another --workdir"
                )
    write_json(workdir / "config.json", resolved)
    write_json(workdir / "folds.json", _folds(config, dataset, splits))
    if weights:
        write_json(workdir / "weights.json", _weights(workdir) | weights)


def go(
    config: Config,
    dataset: Dataset,
    workdir: Path,
    devices: Sequence[jax.Device],
    *,
    shard: tuple[int, int] = (0, 1),
    only: str | None = None,
    stop: threading.Event | None = None,
) -> Generator[Event, None, None]:
    """Makes every run of the plan's shard that has no finished record yet, one after another; a failed one again.

    `only` makes the run of that name alone.

    A run that was cut off goes on from its last saved state. Once `stop` is set the state is saved at the end of the
    epoch, and Stopped raised. InputError where another process works on these runs.
    """
    splits = split(config, dataset)
    weights = {model: start for model in config.models if (start := programs.pretrained(config, model, dataset))}
    digests = {model: start.sha256 for model, start in weights.items()}
    strange = workdir.exists() and any(not path.name.startswith(".") for path in workdir.iterdir())
    if strange and not (workdir / "config.json").exists():
        raise InputError(f"{workdir} is not empty and holds no sweep: name another --workdir")
    with lock.held(workdir, shard):
        open_workdir(workdir, config, dataset, splits, digests)
        runs = [run for run in plan(config, shard) if only in (None, run.name)]
        yield from _go(config, dataset, workdir, devices, splits, weights, runs, stop or threading.Event())


def _go(
    config: Config,
    dataset: Dataset,
    workdir: Path,
    devices: Sequence[jax.Device],
    splits: Splits,
    weights: dict[str, models.pretrained.Weights],
    runs: list[Run],
    stop: threading.Event,
) -> Iterator[Event]:
    pairs = programs.put(dataset, devices)
    built: dict[str, programs.Program] = {}
    for number, run in enumerate(runs, 1):
        if (record := read_record(workdir, run)) and record["status"] == "finished":
            shutil.rmtree(workdir / "runs" / run.name / "resume", ignore_errors=True)  # cut off before it could
            continue
        if run.model not in built:
            built[run.model] = programs.build(config, run.model, dataset, pairs, devices, weights.get(run.model))
        cell = splits[run.repeat, run.fold]
        for attempt in range(1 + config.retries):
            yield Started(run, number, len(runs), len(cell.train))
            made = yield from _make(config, dataset, workdir, run, cell, built[run.model], stop)
            if made["status"] == "finished":
                break
            if attempt < config.retries:
                yield Warned(f"{run.name}: {made['reason']}; once more, with the same seed")
        yield Ended(run, made)


def read_record(workdir: Path, run: Run) -> dict[str, Any] | None:
    """The record of a run, or None while it has none."""
    try:
        return json.loads((workdir / "runs" / run.name / "record.json").read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"the record of {run.name} in {workdir} is damaged ({error}): delete its folder") from error


def collect(workdir: Path, config: Config) -> None:
    """Writes scores.csv and per_image.parquet from the records of the config's finished runs.

    `max_runs` limits what is made, not what is collected. The same runs give the same bytes.
    """
    with lock.brief(workdir):  # of two shards that end together, the last to write has seen all records
        _collect(workdir, config)


def _collect(workdir: Path, config: Config) -> None:
    records = [read_record(workdir, run) for run in plan(dataclasses.replace(config, max_runs=None))]
    finished = [record for record in records if record and record["status"] == "finished"]
    finished.sort(key=lambda record: [record[key] for key in SCORES[:5]])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SCORES)
    for record in finished:
        # None: nothing to score under empty="nan"; the cell stays empty.
        scores = {key: f"{record[key]:.6f}" for key in ("jaccard", "dice") if record[key] is not None}
        writer.writerow([scores.get(key) if key in ("jaccard", "dice") else record[key] for key in SCORES])
    write_text(workdir / "scores.csv", text.getvalue())
    if finished:
        frames = [pd.read_parquet(workdir / "runs" / record["run"] / "per_image.parquet") for record in finished]
        with replacing(workdir / "per_image.parquet") as temporary:
            pd.concat(frames, ignore_index=True).to_parquet(temporary)


def _make(
    config: Config,
    dataset: Dataset,
    workdir: Path,
    run: Run,
    cell: folds.Split,
    program: programs.Program,
    stop: threading.Event,
) -> Generator[Event, None, dict[str, Any]]:
    folder = workdir / "runs" / run.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").unlink(missing_ok=True)
    record: dict[str, Any] = {
        "status": "finished",
        "run": run.name,
        "dataset": dataset.name,
        "model": run.model,
        "protocol": config.protocol,
        "repeat": run.repeat,
        "fold": run.fold,
        "seed": seed(config, run),
        "images": {"train": len(cell.train), "validation": len(cell.validation), "test": len(cell.test)},
        "scoring": {"size": config.data.size, "threshold": config.threshold, "empty": config.empty},
    }
    with contextlib.closing(checkpoint.snapshots(folder / "resume")) as snapshots:
        try:
            result, timing = yield from _train(config, run, cell, program, dataset, folder, snapshots, stop)
        except train.DivergedError as error:
            record |= {"status": "failed", "epoch": error.epoch, "reason": str(error)}
    if record["status"] == "finished":
        per_image = _per_image(run, dataset, cell, result.counts, config)
        with replacing(folder / "per_image.parquet") as temporary:
            per_image.to_parquet(temporary)
        checkpoint.save(folder / "checkpoint", {"params": result.params, "stats": result.stats})
        write_json(folder / "timing.json", _made_on(program) | timing)
        record |= _scores(result)
        score = metrics.score(result.counts, empty=config.empty, binary=dataset.num_outputs == 1)
        record["scoring"] |= {"images": score.images, "dropped": score.dropped}
        record["weights_sha256"] = checkpoint.digest({"params": result.params, "stats": result.stats})
    write_json(folder / "record.json", record)
    shutil.rmtree(folder / "resume", ignore_errors=True)
    return record


def _train(
    config: Config,
    run: Run,
    cell: folds.Split,
    program: programs.Program,
    dataset: Dataset,
    folder: Path,
    snapshots: Any,
    stop: threading.Event,
) -> Generator[Event, None, tuple[train.Result, dict[str, float]]]:
    """Trains a run from its last saved state, or from the start, saving its states and writing metrics.jsonl."""
    fresh = program.init(seed(config, run))
    best = {"params": fresh.params, "stats": fresh.stats, "counts": 0}
    warnings: list[str] = []
    found = checkpoint.last_snap(snapshots, jax.tree.structure((fresh, best)), warnings.append)
    for text in warnings:
        yield Warned(text)
    start, seconds = None, []
    if found:
        (state, best), notes = found
        place = program.pairs.images.sharding
        start = train.Progress(jax.tree.map(jnp.copy, jax.device_put(state, place)), best, **notes["progress"])
        seconds = notes["seconds"]
    fitting = train.fit(program, cell, config, binary=dataset.num_outputs == 1, seed=seed(config, run), start=start)
    saved = time.monotonic()
    with open(folder / "metrics.jsonl", "w", encoding="utf-8") as lines:
        lines.writelines(to_json(row) + "\n" for row in (start.rows if start else []))
        try:
            while True:
                epoch = next(fitting)
                seconds.append((epoch.train_seconds, epoch.eval_seconds))
                lines.write(to_json(epoch.row) + "\n")
                lines.flush()
                yield EpochEnded(run, epoch)
                if stop.is_set() or time.monotonic() - saved >= 60 * config.checkpoint_minutes:
                    saved, progress = time.monotonic(), epoch.progress
                    notes = progress._asdict()
                    arrays = notes.pop("state"), notes.pop("best")
                    checkpoint.snap(snapshots, len(progress.rows), arrays, {"progress": notes, "seconds": seconds})
                if stop.is_set():
                    raise Stopped(run.name)
        except StopIteration as end:
            return end.value, _timing(seconds, len(cell.train))


def _scores(result: train.Result) -> dict[str, Any]:
    """The reported score, and for comparison that of the epoch that looked best on the test fold, and of the last."""

    def at(row: dict[str, float]) -> dict[str, float]:
        return {"epoch": row["epoch"], "jaccard": row["test_jaccard"], "dice": row["test_dice"]}

    reported = at(result.rows[result.best_epoch - 1])
    return {
        "jaccard": reported["jaccard"],
        "dice": reported["dice"],
        "best_epoch": result.best_epoch,
        "epochs": len(result.rows),
        "best_on_test": at(max(result.rows, key=lambda row: np.nan_to_num(row["test_jaccard"], nan=-1))),
        "last": at(result.rows[-1]),
    }


def _per_image(run: Run, dataset: Dataset, cell: folds.Split, counts: np.ndarray, config: Config) -> pd.DataFrame:
    n, classes = counts.shape[:2]
    intersection, truth, predicted = counts.reshape(n * classes, 3).T
    return pd.DataFrame(
        {
            "run": run.name,
            "image_id": np.repeat([dataset.ids[index] for index in cell.test], classes),
            "class": np.tile(dataset.classes, n),
            "intersection": intersection,
            "union": truth + predicted - intersection,
            "truth": truth,
            "predicted": predicted,
            "jaccard": metrics.jaccard_from_counts(intersection, truth, predicted, empty=config.empty),
            "dice": metrics.dice_from_counts(intersection, truth, predicted, empty=config.empty),
        }
    )


def _made_on(program: programs.Program) -> dict[str, Any]:
    devices = program.pairs.images.devices()
    return {"device": next(iter(devices)).device_kind, "devices": len(devices), "jax": jax.__version__}


def _timing(seconds: Sequence[tuple[float, float]], images: int) -> dict[str, float]:
    """Of (training, evaluation) seconds of every epoch."""
    # The first epoch compiles; the others tell the speed.
    rest = seconds[1:] or seconds
    training, evaluation = (sum(column) for column in zip(*seconds, strict=True))
    return {
        "first_epoch_seconds": round(sum(seconds[0]), 3),
        "train_images_per_second": round(images * len(rest) / sum(epoch[0] for epoch in rest), 3),
        "train_seconds": round(training, 3),
        "eval_seconds": round(evaluation, 3),
    }


def _folds(config: Config, dataset: Dataset, splits: Splits) -> dict[str, Any]:
    """Ids of every fold; what is neither validation nor test is trained on."""

    def ids(indices: np.ndarray) -> list[str]:
        return [dataset.ids[index] for index in indices]

    cells = [
        {"repeat": repeat, "fold": fold, "validation": ids(cell.validation), "test": ids(cell.test)}
        for (repeat, fold), cell in splits.items()
    ]
    return {
        "dataset": dataset.name,
        "sha256": dataset.sha256,
        "images": len(dataset.ids),
        "groups": len(set(dataset.groups)),
        "classes": dataset.classes,
        "protocol": config.protocol,
        "grouped": config.grouped,
        "folds": cells,
    }


def _weights(workdir: Path) -> dict[str, str]:
    path = workdir / "weights.json"
    return _read(path) if path.exists() else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): name another --workdir, or delete this one") from error


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if key == "data":
            flat |= _flat(value, "data.")
        else:
            flat[prefix + key] = value
    return flat
