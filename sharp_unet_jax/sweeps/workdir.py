"""The files of a sweep, apart from those of its runs: written, checked and read back. See `storage.layout`."""

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sharp_unet_jax import metrics, stopping
from sharp_unet_jax.config import MAY_CHANGE, PLACES, Config, check_types, config_of
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import AGAIN, FROM_A_COPY, InputError
from sharp_unet_jax.storage import description, lock, resume, run_files, spreadsheet
from sharp_unet_jax.storage.atomic import replacing, write_json, write_text
from sharp_unet_jax.storage.contents import Cell, Folds
from sharp_unet_jax.storage.description import flat
from sharp_unet_jax.storage.layout import CONFIG, DATA, FOLDS, PER_IMAGE, RECORD, RESUME, SCORES, WEIGHTS
from sharp_unet_jax.storage.reading import read_json
from sharp_unet_jax.sweeps import plan
from sharp_unet_jax.sweeps.plan import Splits

RUN_COLUMNS = ("dataset", "model", "protocol", "repeat", "fold")  # name a run in scores.csv and order its rows
_FIRST = (*RUN_COLUMNS, "jaccard", "dice", "best_epoch", "epochs")
SCORE_COLUMNS = (*_FIRST, *(name for name in metrics.OVERLAPS if name not in _FIRST))


def begin(workdir: Path, config: Config, dataset: Dataset, splits: Splits, weights: Mapping[str, str]) -> None:
    """Write the files that describe a sweep; `weights` are the digests of pretrained weights by model.

    Raises InputError if `workdir` holds another sweep.
    """
    check(workdir, config, dataset, splits, weights)
    write_json(workdir / CONFIG, dataclasses.asdict(config))
    write_json(workdir / FOLDS, folds_of(dataset, splits))
    if dataset.folder:
        write_json(workdir / DATA, {"prepared": str(dataset.folder.absolute())})
    if weights:
        write_json(workdir / WEIGHTS, {**read_weights(workdir), **weights})


def check(workdir: Path, config: Config, dataset: Dataset, splits: Splits, weights: Mapping[str, str]) -> None:
    """Refuse a workdir that holds another sweep. Raises InputError, which names the difference."""
    if not (workdir / CONFIG).exists():
        return
    check_config(workdir, config)
    if (workdir / FOLDS).exists():
        check_folds(workdir, read_folds(workdir), folds_of(dataset, splits))
    for model, digest in read_weights(workdir).items():
        if weights.get(model, digest) != digest:
            raise InputError(
                f"{workdir} holds a sweep whose {model} started from other weights: name another --workdir"
            )


def check_config(workdir: Path, config: Config) -> None:
    """Refuse a workdir that holds a sweep of another config, which takes no images to see.

    Raises InputError, which names the difference.
    """
    if not (workdir / CONFIG).exists():
        return
    before = read_config(workdir)
    for field, old, new in differences(before, config):
        why = f", and with schedule={config.schedule} every epoch depends on it" if field == "epochs" else ""
        raise InputError(
            f"{workdir} holds a sweep with {field}={old!r}, not {new!r}{why}: "
            "name another --workdir, or give the config it was started with"
        )
    if config.epochs < before.epochs:
        _check_fewer_epochs(workdir, config.epochs)
    # Beside record.json or resume, no other file tells which images they are of.
    if not (workdir / FOLDS).exists() and any(workdir.glob("runs/*/*/re*")):
        raise InputError(f"{workdir} has lost its {FOLDS}: {FROM_A_COPY}")


def _check_fewer_epochs(workdir: Path, epochs: int) -> None:
    """Refuse `epochs` if a run of the workdir has more, finished or saved. Raises InputError, which names the run."""
    for folder in sorted(workdir.glob("runs/*/*")):
        path, known = folder / RECORD, resume.epochs(folder / RESUME)
        if path.exists():
            record = run_files.intact(read_json(path, dict[str, Any], remedy=AGAIN), path, remedy=AGAIN)
            known.append(record.get("epochs", 0))  # a failed run has none
        if (most := max(known, default=0)) > epochs:
            raise InputError(
                f"{workdir} holds {folder.parent.name}/{folder.name} with {most} epochs: "
                f"give epochs={most} or more, not {epochs}, or name another --workdir"
            )


def check_folder(workdir: Path) -> None:
    """Refuse a folder that holds files and no sweep. Raises InputError."""
    strange = workdir.exists() and any(not path.name.startswith(".") for path in workdir.iterdir())
    if strange and not (workdir / CONFIG).exists():
        raise InputError(f"{workdir} is not empty and holds no sweep: name another --workdir")


def check_folds(workdir: Path, old: Folds, new: Folds) -> None:
    """Refuse two folds.json of different data sets, or with different images in a fold; `old` is that of `workdir`.

    Raises InputError, which names the difference. One of the two may have more repeats.
    """
    if old["sha256"] != new["sha256"]:
        old_groups, new_groups = old["group_of"], new["group_of"]
        common = old_groups.keys() & new_groups.keys()
        ids = {
            "gone": old_groups.keys() - new_groups.keys(),
            "new": new_groups.keys() - old_groups.keys(),
            "in another group": {image for image in common if old_groups[image] != new_groups[image]},
        }
        changed = [f"{len(images)} {what} (such as {min(images)})" for what, images in ids.items() if images]
        if old["classes"] != list(new["classes"]):
            changed.append(f"classes {', '.join(new['classes'])} instead of {', '.join(old['classes'])}")
        raise InputError(
            f"{workdir} holds a sweep on other images or masks of {new['dataset']}: "
            f"{'; '.join(changed) or 'the same ids with other pixels'}: name another --workdir"
        )
    if old["window"] != new["window"]:
        raise InputError(
            f"{workdir} holds a sweep with the window {old['window']}, not {new['window']}: name another --workdir"
        )
    known = {(cell["repeat"], cell["fold"]): cell for cell in old["folds"]}
    for cell in new["folds"]:
        repeat, fold = cell["repeat"], cell["fold"]
        if known.get((repeat, fold), cell) != cell:
            raise InputError(
                f"{workdir} holds a sweep with other images in repeat {repeat}, fold {fold}: "
                "another split or another version drew them: name another --workdir"
            )


def differences(old: Config, new: Config) -> Iterator[tuple[str, Any, Any]]:
    """Yield the fields, with both values, in which two configs differ and may not, if they are of one sweep."""
    old_fields, new_fields = settings(old), settings(new)
    for field in sorted(old_fields.keys() & new_fields.keys()):  # with another schedule one may lack `epochs`
        if old_fields[field] != new_fields[field]:
            yield field, old_fields[field], new_fields[field]


def settings(config: Config) -> dict[str, Any]:
    """Return the fields that a run depends on, whichever it is, by name, see `description.flat`.

    `epochs` is one of them where all learning rates depend on it. Elsewhere it only caps runs, and may be raised.
    """
    free = {*MAY_CHANGE, "epochs"} if stopping.may_go_on(config.schedule) else {*MAY_CHANGE}
    return {name: value for name, value in flat(dataclasses.asdict(config)).items() if name not in free}


def described(config: Config, dataset: Dataset, splits: Splits) -> dict[str, Any]:
    """Return what processes that share a sweep must have in common: fields of the config, digests of the data."""
    fields = {name: value for name, value in flat(dataclasses.asdict(config)).items() if name not in ("split", *PLACES)}
    division = json.dumps(folds_of(dataset, splits)).encode()
    return fields | {"images and masks": dataset.sha256, "folds": hashlib.sha256(division).hexdigest()}


def folds_of(dataset: Dataset, splits: Splits) -> Folds:
    """Return folds.json. Images that are in neither validation nor test of a fold are its training images."""

    def ids(indices: np.ndarray) -> list[str]:
        return [dataset.ids[index] for index in indices]

    cells: list[Cell] = [
        {"repeat": repeat, "fold": fold, "validation": ids(split.validation), "test": ids(split.test)}
        for (repeat, fold), split in splits.items()
    ]
    return {
        "dataset": dataset.name,
        "sha256": dataset.sha256,
        "images": len(dataset.ids),
        "groups": len(set(dataset.groups)),
        "group_of": dict(zip(dataset.ids, dataset.groups, strict=True)),
        "classes": list(dataset.classes),
        "window": list(dataset.window) if dataset.window else None,
        "clipped": list(dataset.clipped) if dataset.clipped else None,
        "folds": cells,
    }


def collect(workdir: Path, config: Config) -> None:
    """Write scores.csv and per_image.parquet from the finished runs of the config, whatever its `max_runs`.

    The same runs give the same bytes.
    """
    with lock.brief(workdir):  # if two shards end together, the last one to write has seen all records
        sweep = description.read(workdir)
        finished = in_order(run_files.read_record(sweep, run) for run in plan.every(config))
        write_text(workdir / SCORES, scores(finished, sweep.folds["dataset"]))
        if not finished:
            (workdir / PER_IMAGE).unlink(missing_ok=True)
        else:
            frames = [run_files.read_per_image(sweep, record) for record in finished]
            with replacing(workdir / PER_IMAGE) as temporary:
                pd.concat(frames, ignore_index=True).to_parquet(temporary)


def in_order(records: Iterable[run_files.Record | None]) -> list[run_files.Record]:
    """Return the records of finished runs in the order of the rows of scores.csv."""
    finished = [record for record in records if record and record["status"] == "finished"]
    return sorted(finished, key=lambda record: [record[key] for key in RUN_COLUMNS[1:]])


def scores(finished: Iterable[run_files.Record], dataset: str) -> str:
    """Return scores.csv from the records of finished runs, `in_order`.

    `dataset` is the set's name today: that of a folder may have been another one when a run was trained.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SCORE_COLUMNS)
    for record in finished:
        row = record | {"dataset": dataset}
        writer.writerow([_cell(name, row.get(name)) for name in SCORE_COLUMNS])
    return text.getvalue()


def read_config(workdir: Path) -> Config:
    """Return the config of the sweep in `workdir`. Raises InputError if it is missing or of another version."""
    path, tree = workdir / CONFIG, description.read_config(workdir)
    try:
        config = config_of(tree)
        check_types(config)
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is of another version of this project, or none of its files ({error})") from error
    return config


def read_folds(workdir: Path) -> Folds:
    """Return folds.json of the sweep in `workdir`. Raises InputError if it is missing or damaged."""
    return description.read_folds(workdir, description.read_config(workdir))


def read_weights(workdir: Path) -> dict[str, str]:
    """Return the digests of pretrained weights by model; {} if all runs start from scratch."""
    path = workdir / WEIGHTS
    return read_json(path, dict[str, str], remedy=FROM_A_COPY) if path.exists() else {}


def _cell(name: str, value: Any) -> Any:
    """Return a value of scores.csv; an overlap is null, and its cell empty, if empty="nan" left nothing to score."""
    if isinstance(value, str):
        return spreadsheet.cell(value)
    return f"{value:.6f}" if name in metrics.OVERLAPS and value is not None else value
