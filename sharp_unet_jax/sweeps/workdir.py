"""What a sweep leaves on disk, and what is read back from there. Trains nothing.

config.json                        the resolved config
folds.json                         the data set's digest, and the ids of every fold
data.json                          where the images and masks lie at their training size, for the report's pictures
weights.json                       the digest of what each model's runs start from, if they do not start from scratch
environment.json                   the commands, and the versions and devices they ran with; written by launch.cv
scores.csv  per_image.parquet      collected from the records
runs/<model>/repeat<R>-fold<F>/
    metrics.jsonl                  an epoch a line
    per_image.parquet              counts of every test image and class
    predictions.npz                probabilities (n, H, W, outputs) of the test images in 255ths, in the order above
    checkpoint/                    the reported weights
    resume/                        while the run goes on, its last two states
    record.json                    written last: a run with it is done
    timing.json                    seconds; the others are the same bytes whenever the run is made again,
                                   but for Orbax's own files around the weights in checkpoint/
"""

import csv
import dataclasses
import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sharp_unet_jax import metrics
from sharp_unet_jax.config import MAY_CHANGE, Config, check_types, config_of
from sharp_unet_jax.data import folds
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import AGAIN, InputError
from sharp_unet_jax.storage import checkpoint, lock
from sharp_unet_jax.storage.atomic import clear, replacing, replacing_folder, write_json, write_text
from sharp_unet_jax.storage.layout import Run, run_folder
from sharp_unet_jax.sweeps import plan
from sharp_unet_jax.sweeps.plan import Splits
from sharp_unet_jax.training import train

FIRST = ("dataset", "model", "protocol", "repeat", "fold", "jaccard", "dice", "best_epoch", "epochs")
SCORES = (*FIRST, *(name for name in metrics.OVERLAPS if name not in FIRST))  # the columns of scores.csv


def begin(workdir: Path, config: Config, dataset: Dataset, splits: Splits, weights: dict[str, str]) -> None:
    """Writes what describes the sweep, or checks that what is there describes this one; InputError if it does not.

    `weights` are the digests of pretrained weights by model.
    """
    check(workdir, config, dataset, splits, weights)
    write_json(workdir / "config.json", dataclasses.asdict(config))
    write_json(workdir / "folds.json", _folds(config, dataset, splits))
    if dataset.folder:
        write_json(workdir / "data.json", {"prepared": str(dataset.folder.absolute())})
    if weights:
        write_json(workdir / "weights.json", _weights(workdir) | weights)


def check(workdir: Path, config: Config, dataset: Dataset, splits: Splits, weights: dict[str, str]) -> None:
    """InputError, naming what differs, where `workdir` holds another sweep than this one."""
    if (workdir / "config.json").exists():
        for field, before, now in _differences(read_config(workdir), config):
            raise InputError(
                f"{workdir} holds a sweep with {field}={before!r}, not {now!r}: "
                "name another --workdir, or give the config it was started with"
            )
        if (workdir / "folds.json").exists():
            _check_folds(workdir, read_folds(workdir), _folds(config, dataset, splits))
        elif any(workdir.glob("runs/*/*/re*")):  # record.json, resume: of which data, nothing tells
            raise InputError(f"{workdir} has lost its folds.json: bring it back from a copy, or name another --workdir")
        for model, digest in _weights(workdir).items():
            if weights.get(model, digest) != digest:
                raise InputError(
                    f"{workdir} holds a sweep whose {model} started from other weights: name another --workdir"
                )


def described(config: Config, dataset: Dataset, splits: Splits) -> dict[str, Any]:
    """All that processes must have in common to make one sweep together: fields of the config, digests of the data."""
    places = ("data.manual_dir", "data.data_dir", "data.images", "data.masks", "data.groups")
    fields = {name: value for name, value in _flat(dataclasses.asdict(config)).items() if name not in places}
    division = json.dumps(_folds(config, dataset, splits)).encode()
    return fields | {"images and masks": dataset.sha256, "folds": hashlib.sha256(division).hexdigest()}


def _check_folds(workdir: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    """InputError, naming what changed, where two folds.json are of other data sets or divide one otherwise."""
    if old["sha256"] != new["sha256"]:
        before, now = old["group_of"], new["group_of"]
        ids = {
            "gone": before.keys() - now.keys(),
            "new": now.keys() - before.keys(),
            "in another group": {id_ for id_ in before.keys() & now.keys() if before[id_] != now[id_]},
        }
        changed = [f"{len(some)} {what} (such as {min(some)})" for what, some in ids.items() if some]
        if old["classes"] != list(new["classes"]):
            changed.append(f"classes {', '.join(new['classes'])} instead of {', '.join(old['classes'])}")
        raise InputError(
            f"{workdir} holds a sweep on other images or masks of {new['dataset']}: "
            f"{'; '.join(changed) or 'the same ids with other pixels'}: name another --workdir"
        )
    cells = {(cell["repeat"], cell["fold"]): cell for cell in old["folds"]}
    for cell in new["folds"]:
        if cells.get(place := (cell["repeat"], cell["fold"]), cell) != cell:
            raise InputError(
                f"{workdir} holds a sweep with other images in repeat {place[0]}, fold {place[1]}: "
                "another version drew them: name another --workdir"
            )


def check_own(workdir: Path) -> None:
    """Refuses a folder with somebody else's files in it."""
    strange = workdir.exists() and any(not path.name.startswith(".") for path in workdir.iterdir())
    if strange and not (workdir / "config.json").exists():
        raise InputError(f"{workdir} is not empty and holds no sweep: name another --workdir")


def begin_run(workdir: Path, run: Run) -> Path:
    """The folder of a run that is to be made: of what an earlier attempt left it holds the saved states alone."""
    own = run_folder(workdir, run)
    own.mkdir(parents=True, exist_ok=True)
    (own / "record.json").unlink(missing_ok=True)
    checkpoint.remove(own / "checkpoint")
    clear(own)
    return own


def read_record(workdir: Path, run: Run) -> dict[str, Any] | None:
    """The record of a run, or None while it has none."""
    try:
        record = json.loads((run_folder(workdir, run) / "record.json").read_text())
        if not (isinstance(record, dict) and "status" in record):
            raise ValueError("it has no status")
        return record
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InputError(f"the record of {run.name} in {workdir} is damaged ({error}): delete its folder") from error


def collect(workdir: Path, config: Config) -> None:
    """Writes scores.csv and per_image.parquet from the records of the config's finished runs.

    `max_runs` limits what is made, not what is collected. The same runs give the same bytes.
    """
    with lock.brief(workdir):  # of two shards that end together, the last to write has seen all records
        records = [read_record(workdir, run) for run in plan.every(config)]
        finished = [record for record in records if record and record["status"] == "finished"]
        finished.sort(key=lambda record: [record[key] for key in SCORES[:5]])
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(SCORES)
        for record in finished:
            # None: nothing to score under empty="nan"; the cell stays empty.
            scores = {key: f"{record[key]:.6f}" for key in metrics.OVERLAPS if record[key] is not None}
            writer.writerow([scores.get(key) if key in metrics.OVERLAPS else record[key] for key in SCORES])
        write_text(workdir / "scores.csv", text.getvalue())
        if finished:
            frames = [_read_scores(workdir, record["run"]) for record in finished]
            with replacing(workdir / "per_image.parquet") as temporary:
                pd.concat(frames, ignore_index=True).to_parquet(temporary)


def read_config(workdir: Path) -> Config:
    """The config of the sweep in `workdir`; InputError where there is none, or one that this version cannot read."""
    path = workdir / "config.json"
    if not path.exists():
        raise InputError(f"{workdir} holds no sweep: there is no config.json")
    tree = _read(path)
    try:
        config = config_of(tree)
        check_types(config)
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is of another version of this project, or none of its files ({error})") from error
    return config


def read_folds(workdir: Path) -> dict[str, Any]:
    """folds.json of the sweep in `workdir`; InputError where there is none."""
    if not (workdir / "folds.json").exists():
        raise InputError(f"{workdir} holds no sweep: there is no folds.json")
    return _read(workdir / "folds.json", "dataset", "sha256", "group_of", "classes", "folds")


def merge(workdir: Path, sources: Sequence[Path]) -> int:
    """Brings the finished runs of the workdirs `sources`, parts of one sweep, into `workdir`, and collects them.

    Models and repeats are those of all. Returns how many runs came. InputError, before anything is written, where the
    sources are not of one sweep, or hold the same run with other weights or scores.
    """
    check_own(workdir)
    several = [*([workdir] if (workdir / "config.json").exists() else []), *sources]
    configs = [read_config(source) for source in several]
    folds_of = [read_folds(source) for source in several]
    repeats = [config.repeats for config in configs]
    widest = int(np.argmax(repeats))
    weights: dict[str, str] = {}
    for source, config, found in zip(several, configs, folds_of, strict=True):
        for field, first, here in _differences(configs[0], config):
            raise InputError(f"{source} is of another sweep: it has {field}={here!r}, {several[0]} has {first!r}")
        try:
            _check_folds(several[widest], folds_of[widest], found)
        except InputError as error:
            raise InputError(f"{source} is of another sweep: {error}") from error
        for model, digest in _weights(source).items():
            if weights.setdefault(model, digest) != digest:
                raise InputError(f"{source} is of another sweep: its {model} started from other weights")
    all_models = tuple(dict.fromkeys(model for config in configs for model in config.models))
    config = dataclasses.replace(configs[0], models=all_models, repeats=max(repeats), max_runs=None)
    holders: dict[Run, Path] = {}
    results: dict[Run, list[Any]] = {}
    for run in plan.every(config):
        for source in several:
            if not (record := read_record(source, run)) or record["status"] != "finished":
                continue
            result = [record.get(key) for key in ("weights_sha256", "jaccard", "dice", "best_epoch", "scoring")]
            first = results.setdefault(run, result)
            holders.setdefault(run, source)
            if first != result:
                what = "weights" if first[0] != result[0] else "scores"
                raise InputError(f"{holders[run]} and {source} both hold {run.name}, with other {what}: delete one")
    for run, source in holders.items():
        _read_scores(source, run.name)  # a damaged one is to be known before anything is copied
    with lock.held(workdir, (0, 1)):
        write_json(workdir / "config.json", dataclasses.asdict(config))
        write_json(workdir / "folds.json", folds_of[widest])
        if weights:
            write_json(workdir / "weights.json", weights)
        known = [_read(source / "data.json") for source in several if (source / "data.json").exists()]
        here = [data for data in known if Path(data["prepared"]).is_dir()]
        if known:
            write_json(workdir / "data.json", (here or known)[0])
        came = {run: source for run, source in holders.items() if source != workdir}
        for run, source in came.items():
            with replacing_folder(run_folder(workdir, run)) as temporary:
                shutil.copytree(run_folder(source, run), temporary, dirs_exist_ok=True)
        collect(workdir, config)
    return len(came)


def finish(
    workdir: Path,
    config: Config,
    dataset: Dataset,
    run: Run,
    cell: folds.Split,
    result: train.Result | train.DivergedError,
    predictions: np.ndarray | None,
    timing: dict[str, Any],
) -> dict[str, Any]:
    """Writes all that a run leaves, its record last, and deletes what it would have gone on from; the record."""
    own = run_folder(workdir, run)
    record: dict[str, Any] = {
        "status": "finished",
        "run": run.name,
        "dataset": dataset.name,
        "model": run.model,
        "protocol": config.protocol,
        "repeat": run.repeat,
        "fold": run.fold,
        "seed": plan.seed(config, run),
        "channels": dataset.images.shape[-1],
        "images": {"train": len(cell.train), "validation": len(cell.validation), "test": len(cell.test)},
        "scoring": {"size": config.data.size, "threshold": config.threshold, "empty": config.empty},
    }
    if isinstance(result, train.DivergedError):
        record |= {"status": "failed", "epoch": result.epoch, "reason": str(result)}
    else:
        with replacing(own / "per_image.parquet") as temporary:
            _per_image(run, dataset, cell, result.counts, config).to_parquet(temporary)
        if predictions is not None:
            with replacing(own / "predictions.npz") as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, probabilities=predictions)
        weights = {"params": result.params, "stats": result.stats}
        checkpoint.save(own / "checkpoint", weights)
        write_json(own / "timing.json", timing)
        record |= _scores(result)
        score = metrics.score(result.counts, empty=config.empty, binary=dataset.num_classes == 1)
        record["scoring"] |= {"images": score.images, "dropped": score.dropped}
        record["weights_sha256"] = checkpoint.digest(weights)
    write_json(own / "record.json", record)
    shutil.rmtree(own / "resume", ignore_errors=True)
    return record


def _scores(result: train.Result) -> dict[str, Any]:
    """The reported score, and for comparison that of the epoch that looked best on the test fold, and of the last."""

    def at(row: dict[str, float]) -> dict[str, float]:
        return {"epoch": row["epoch"]} | {name: row[f"test_{name}"] for name in metrics.OVERLAPS}

    reported = at(result.rows[result.best_epoch - 1])
    return {
        **{name: reported[name] for name in metrics.OVERLAPS},
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
        }
        | {name: values.ravel() for name, values in metrics.overlaps(counts, empty=config.empty).items()}
    )


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
        "group_of": dict(zip(dataset.ids, dataset.groups, strict=True)),
        "classes": dataset.classes,
        "window": dataset.window,
        "protocol": config.protocol,
        "grouped": config.grouped,
        "folds": cells,
    }


def _weights(workdir: Path) -> dict[str, str]:
    path = workdir / "weights.json"
    return _read(path) if path.exists() else {}


def _read_scores(workdir: Path, name: str) -> pd.DataFrame:
    """per_image.parquet of a run."""
    path = workdir / "runs" / name / "per_image.parquet"
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own are ValueErrors
        reason = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
        raise InputError(f"{path} is {reason}: {AGAIN}") from error


def _read(path: Path, *keys: str) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text())
        if lost := [key for key in keys if key not in tree]:
            raise ValueError(f"it has no {', '.join(lost)}")
        return tree
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({error}): bring it back from a copy, or name another --workdir"
        ) from error


def _differences(before: Config, now: Config) -> Iterator[tuple[str, Any, Any]]:
    """The fields in which two configs are not of one sweep, and their values."""
    old, new = (_flat(dataclasses.asdict(config)) for config in (before, now))
    for field in sorted(old):
        if old[field] != new[field] and field not in MAY_CHANGE:
            yield field, old[field], new[field]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if key in ("data", "augment"):
            flat |= _flat(value, f"{key}.")
        else:
            flat[prefix + key] = value
    return flat
