"""One run of a sweep: trained from its last saved state or from the start, and left with its files.

All processes of its device group train it together; the process of the first device, the lead, reads and writes.
"""

import os
import statistics
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sharp_unet_jax import stopping
from sharp_unet_jax.config import Config
from sharp_unet_jax.data import folds
from sharp_unet_jax.data.array_files import Arrays
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.storage import resume
from sharp_unet_jax.storage.atomic import named, to_json
from sharp_unet_jax.storage.layout import CHECKPOINT, METRICS, RECORD, RESUME, Run, run_folder
from sharp_unet_jax.sweeps import plan, record
from sharp_unet_jax.sweeps.device_groups import Group
from sharp_unet_jax.sweeps.events import Ended, EpochEnded, Event, Started, Stopped, Warned
from sharp_unet_jax.training import decisions, distributed, epochs, train


class Sweep(NamedTuple):
    """Data and settings that all runs of a sweep share."""

    config: Config
    dataset: Dataset
    folder: Path
    splits: plan.Splits
    total: int  # runs, as `Started` numbers them
    stop: threading.Event  # set: save the states at the end of the epoch, and stop


Saved = tuple[train.Progress, list[tuple[float, float]]]
"""A run between two epochs, and the seconds of (training, evaluation) of the epochs before."""


def train_run(sweep: Sweep, group: Group, program: epochs.Program, run: Run, number: int) -> Iterator[Event]:
    """Train a run on a device group and yield its events; the lead writes its files.

    A run that diverges is trained again `config.retries` times. Raises Stopped when the sweep is asked to stop.
    """
    config, split, folder = sweep.config, sweep.splits[run.repeat, run.fold], run_folder(sweep.folder, run)
    images = train.images_of_an_epoch(sweep.dataset, config, split.train)
    lead = distributed.processes(group)[0] == jax.process_index()
    saved = yield from _saved(sweep, group, program, run, split, lead)
    if lead:  # only now: a state that is refused costs a finished run none of its files
        record.begin(folder)
    result: train.Result | train.DivergedError
    for retries in reversed(range(1 + config.retries)):
        unit, before = "crops" if config.data.fit == "crop" else "images", len(saved[0].rows) if saved else 0
        yield Started(run, number, sweep.total, images, unit, before)
        try:
            result, timing = yield from _fit(sweep, group, program, run, split, lead, saved)
            break
        except train.DivergedError as error:
            result, timing = error, {}
        if retries:
            saved = None
            if lead:
                resume.keep(folder / RESUME, 0)
            yield Warned(f"{run.name}: {result}; once more, with the same seed")
    predictions = None
    if isinstance(result, train.Result) and (config.predictions or not train.scored_by_epoch(config)):
        began = time.monotonic()
        result, predictions = _predicted(sweep, program, result, split.test)
        timing["predict_seconds"] = round(time.monotonic() - began, 3)
    if lead:
        yield Ended(run, record.finish(folder, config, sweep.dataset, run, split, result, predictions, timing))


def _saved(
    sweep: Sweep, group: Group, program: epochs.Program, run: Run, split: folds.Split, lead: bool
) -> Generator[Event, None, Saved | None]:
    """Return what the run continues from, None if it starts; yield warnings of damaged or missing states."""
    config, folder = sweep.config, run_folder(sweep.folder, run)
    warnings: list[str] = []
    state = resume.load(folder / RESUME, warnings.append) if lead else b""
    finished = (folder / RECORD).exists() and (folder / CHECKPOINT).exists()  # with a smaller `epochs`
    if lead and finished and not state and not warnings:
        warnings.append(f"{run.name} has no saved state to go on from: it is trained again from its start")
    yield from map(Warned, warnings)
    if not (state := distributed.broadcast(state, group)):
        return None
    counts = train.scored_in_an_epoch(sweep.dataset, config, split.test), len(sweep.dataset.classes), 3
    identity, seed = record.identity(sweep.dataset, run, split), plan.seed(config, run)
    try:
        return _restored(state, identity, program, seed, counts)
    except ValueError as error:  # the state is undamaged, but has another identity, or arrays of other shapes
        raise InputError(
            f"{folder / RESUME} is of another run, network or version: delete it to start the run again"
        ) from error


def _fit(
    sweep: Sweep,
    group: Group,
    program: epochs.Program,
    run: Run,
    split: folds.Split,
    lead: bool,
    saved: Saved | None,
) -> Generator[Event, None, tuple[train.Result, dict[str, Any]]]:
    """Train a run and yield its epochs; return its result and timing. The lead writes metrics.jsonl and the states."""
    config, folder, seed = sweep.config, run_folder(sweep.folder, run), plan.seed(sweep.config, run)
    identity = record.identity(sweep.dataset, run, split)
    start, seconds = saved or (None, [])
    fitting = train.fit(program, split, config, binary=sweep.dataset.num_classes == 1, seed=seed, start=start)
    last_saved = time.monotonic()
    with named(folder / METRICS), open(folder / METRICS if lead else os.devnull, "w", encoding="utf-8") as lines:
        lines.writelines(to_json(row) + "\n" for row in (start.rows if start else []))
        lines.flush()  # launch.status reads along
        try:
            while True:
                epoch = next(fitting)
                seconds.append((epoch.train_seconds, epoch.eval_seconds))
                lines.write(to_json(epoch.row) + "\n")
                lines.flush()
                yield EpochEnded(run, epoch)
                stopped = distributed.any_process(sweep.stop.is_set(), group)
                due = stopped or time.monotonic() - last_saved >= 60 * config.checkpoint_minutes
                if lead and (due or _kept(epoch.progress, config)):
                    last_saved = time.monotonic()
                    _save(folder / RESUME, identity, epoch.progress, seconds)
                if stopped:
                    raise Stopped(run.name)
        except StopIteration as end:
            return end.value, _timing(seconds, group, train.images_of_an_epoch(sweep.dataset, config, split.train))


def _predicted(
    sweep: Sweep, program: epochs.Program, result: train.Result, test: np.ndarray
) -> tuple[train.Result, Arrays | None]:
    """Return the result with the counts that are reported, and the probabilities of the test images in 255ths, uint8.

    None stands for probabilities that the config does not keep.
    """
    config, counts = sweep.config, []
    kept = _blank(sweep.dataset, config, test) if config.predictions else None
    predicted = zip(test.tolist(), train.predict(program, result, test), strict=True)
    for place, (index, probabilities) in enumerate(predicted):
        if not train.scored_by_epoch(config):
            counts.append(train.count(sweep.dataset, config, index, probabilities))
        if kept is not None:
            kept[place][:] = np.rint(255 * probabilities)
    if counts:
        result = result._replace(counts=np.stack(counts))
    return result, kept


def _blank(dataset: Dataset, config: Config, test: np.ndarray) -> Arrays:
    """Return the array that the probabilities of the test images fill one by one: a fold may fit into memory once."""
    sizes, channels = dataset.sizes[test], dataset.num_classes
    if config.data.fit == "crop":  # images have their own sizes
        return Ragged(np.empty((sizes.prod(axis=1).sum(), channels), np.uint8), sizes)
    return np.empty((len(test), *sizes[0], channels), np.uint8)


def _kept(progress: train.Progress, config: Config) -> bool:
    """Say whether this is the last state of a run that `config.epochs` ends, which a larger number lets go on."""
    return stopping.may_go_on(config.schedule) and record.capped(config, progress.rows, progress.best_epoch)


def _save(folder: Path, identity: dict[str, str], progress: train.Progress, seconds: list[tuple[float, float]]) -> None:
    """Save all that the next epoch depends on, whose it is, and the seconds of the epochs before."""
    notes = progress._asdict()
    arrays = notes.pop("state"), notes.pop("best")
    resume.save(folder, len(progress.rows), arrays, {**identity, "progress": notes, "seconds": seconds})


def _restored(
    state: bytes, identity: dict[str, str], program: epochs.Program, seed: int, counts: tuple[int, ...]
) -> Saved:
    """Return what `_save` saved; `counts` is the shape of the test fold's counts.

    Raises ValueError for the state of another run, or for arrays of another size.
    """
    like = program.init(seed)
    best = {"params": like.params, "stats": like.stats, "counts": np.zeros(counts, np.int32)}
    (saved, best), notes = resume.unpack(state, (like, best))
    if any(notes.get(name) != value for name, value in identity.items()):
        raise ValueError(f"the state is of {notes.get('run', 'another version')}")
    # A copy: the first training step writes over its input, which may still share memory with `state`.
    placed = distributed.copied(distributed.put(saved, program.replicated))
    rows = notes["progress"]["rows"]
    decided = decisions.decide(rows, program.definition.config)
    return train.Progress(placed, best, rows, *decided), notes["seconds"]


def _timing(seconds: Sequence[tuple[float, float]], group: Group, images: int) -> dict[str, Any]:
    """Return the timing of a record from the (training, evaluation) seconds of every epoch.

    The speed is that of the median epoch. Some epochs compile: the first, the first after a frozen encoder, the first
    in a process that resumes.
    """
    usual = statistics.median(trained for trained, _ in seconds[1:] or seconds)
    training, evaluation = (sum(column) for column in zip(*seconds, strict=True))
    return {
        "device": group[0].device_kind,
        "devices": len(group),
        "jax": jax.__version__,
        "first_epoch_seconds": round(sum(seconds[0]), 3),
        "train_images_per_second": round(images / usual, 3),
        "train_seconds": round(training, 3),
        "eval_seconds": round(evaluation, 3),
    }
