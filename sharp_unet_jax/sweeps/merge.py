"""Bring the finished runs of several workdirs, parts of one sweep, into one workdir."""

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from sharp_unet_jax.config import Config
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import description, lock, run_files
from sharp_unet_jax.storage.atomic import clear_dead, replacing_folder, write_json
from sharp_unet_jax.storage.contents import Folds
from sharp_unet_jax.storage.description import Description
from sharp_unet_jax.storage.layout import CONFIG, DATA, FOLDS, WEIGHTS, Run, run_folder
from sharp_unet_jax.sweeps import plan, workdir

SAME = ("weights_sha256", "jaccard", "dice", "best_epoch", "scoring")  # of a run that two workdirs hold


def merge(target: Path, sources: Sequence[Path]) -> int:
    """Copy the finished runs of `sources`, and what describes the sweep, into the workdir `target`, and collect them.

    The models and repeats of all parts are put together; `epochs` is the largest. Returns the number of copied runs.

    Raises InputError, before anything is written, if the parts are not of one sweep, if two of them hold the same run
    with different weights or scores, or if one of them holds a run that goes on to the largest `epochs`.
    """
    workdir.check_folder(target)
    parts = [*([target] if (target / CONFIG).exists() else []), *sources]
    configs = [workdir.read_config(part) for part in parts]
    folds = _folds(parts, configs)
    weights = _weights(parts)
    config = dataclasses.replace(
        configs[0],
        models=tuple(dict.fromkeys(model for config in configs for model in config.models)),
        repeats=max(config.repeats for config in configs),
        epochs=max(config.epochs for config in configs),
        max_runs=None,
    )
    holders = dict(_holders(list(map(description.read, parts)), config))
    prepared = _prepared(parts)
    copied = {run: part for run, part in holders.items() if part != target}
    with lock.held(target, (0, 1)):
        for place in (target, *target.glob("runs/*")):
            clear_dead(place)
        write_json(target / CONFIG, dataclasses.asdict(config))
        write_json(target / FOLDS, folds)
        if weights:
            write_json(target / WEIGHTS, weights)
        if prepared:
            write_json(target / DATA, {"prepared": str(prepared)})
        for run, part in copied.items():
            with replacing_folder(run_folder(target, run)) as temporary:
                shutil.copytree(run_folder(part, run), temporary, dirs_exist_ok=True)
        workdir.collect(target, config)
    return len(copied)


def _folds(parts: Sequence[Path], configs: Sequence[Config]) -> Folds:
    """Return folds.json of the part with most repeats. Raises InputError if the parts are not of one sweep."""
    folds = [workdir.read_folds(part) for part in parts]
    longest = max(range(len(parts)), key=lambda index: configs[index].repeats)
    for part, config, found in zip(parts, configs, folds, strict=True):
        for field, first, here in workdir.differences(configs[0], config):
            raise InputError(f"{part} is of another sweep: it has {field}={here!r}, {parts[0]} has {first!r}")
        try:
            workdir.check_folds(parts[longest], folds[longest], found)
        except InputError as error:
            raise InputError(f"{part} is of another sweep: {error}") from error
    return folds[longest]


def _weights(parts: Sequence[Path]) -> dict[str, str]:
    """Return the digests of pretrained weights by model. Raises InputError if two parts differ."""
    weights: dict[str, str] = {}
    for part in parts:
        for model, digest in workdir.read_weights(part).items():
            if weights.setdefault(model, digest) != digest:
                raise InputError(f"{part} is of another sweep: its {model} started from other weights")
    return weights


def _prepared(parts: Sequence[Path]) -> Path | None:
    """Return the first folder of prepared images that is on this machine, else the first, None without any."""
    known = [folder for part in parts if (folder := description.read_prepared(part))]
    return next((folder for folder in known if folder.is_dir()), known[0] if known else None)


def _holders(parts: Sequence[Description], config: Config) -> Iterator[tuple[Run, Path]]:
    """Yield every finished run and the first part that holds it.

    Raises InputError if two parts hold it and differ, if it goes on in the merged sweep, or if files are damaged.
    """
    for run in plan.every(config):
        finished = [(part.workdir, record) for part in parts if (record := _read(part, run))]
        if not finished:
            continue
        for part, record in finished:
            if run_files.goes_on(record, config.epochs):
                raise InputError(
                    f"{part} holds {run.name} capped by epochs={record['epochs']}, but another part has "
                    f"epochs={config.epochs}: give the command of {part} again with --config.epochs={config.epochs}"
                )
        first, record = finished[0]
        for part, other in finished[1:]:
            if different := [key for key in SAME if record[key] != other[key]]:
                what = "weights" if "weights_sha256" in different else "scores"
                raise InputError(f"{first} and {part} both hold {run.name}, with other {what}: delete one")
        yield run, first


def _read(part: Description, run: Run) -> run_files.Record | None:
    """Return the record of a finished run, whose files are read too: damaged ones must not be copied."""
    if run.repeat >= part.config["repeats"]:  # its folds.json does not say which images they are
        return None
    record = run_files.read_record(part, run)
    if not record or record["status"] != "finished":
        return None
    run_files.read_per_image(part, record)
    run_files.read_epochs(part, run, record)
    run_files.read_predictions(part, record)
    return record
