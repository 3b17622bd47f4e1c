"""A sweep: its runs, side by side on groups of devices, each going on where it was cut off.

A group trains one run after another; groups never wait for each other. A group may have devices of several processes:
these make the same steps, and the process of its first device, the lead, writes.
"""

import contextlib
import json
import os
import queue
import shutil
import statistics
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sharp_unet_jax.config import Config
from sharp_unet_jax.data import folds
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import checkpoint, lock
from sharp_unet_jax.storage.atomic import clear, to_json
from sharp_unet_jax.storage.layout import Run, run_folder
from sharp_unet_jax.sweeps import plan, workdir
from sharp_unet_jax.training import distributed, epochs, train
from sharp_unet_jax.weights.pretrained import Weights


class Started(NamedTuple):
    """A run begins; `number` counts from 1 to `total`, the runs of this process."""

    run: Run
    number: int
    total: int
    train_images: int


class EpochEnded(NamedTuple):
    """An epoch of a run ended."""

    run: Run
    epoch: train.Epoch
    compiled: bool = False  # in this epoch, so that its seconds are no measure of the next ones'


class Warned(NamedTuple):
    """Something the user should know, and need not mend."""

    text: str


class Ended(NamedTuple):
    """A run is over; `record["status"]` is "finished" or "failed"."""

    run: Run
    record: dict[str, Any]


Event = Started | EpochEnded | Warned | Ended
Group = Sequence[jax.Device]
Numbered = tuple[int, Run]  # from 1, in the order of the plan


class Stopped(Exception):  # noqa: N818
    """The sweep was asked to stop; the states of its runs are saved."""


class _Sweep(NamedTuple):
    """What all groups share."""

    config: Config
    dataset: Dataset
    folder: Path
    splits: plan.Splits
    weights: dict[str, Weights]  # by model, where runs do not start from scratch
    total: int
    stop: threading.Event


def groups(devices: Sequence[jax.Device], size: int) -> list[Group]:
    """Every `size` devices that follow each other; what is left over has no work."""
    return [devices[start : start + size] for start in range(0, len(devices) - size + 1, size)]


def go(
    config: Config,
    dataset: Dataset,
    folder: Path,
    devices: Sequence[jax.Device],
    *,
    shard: tuple[int, int] = (0, 1),
    only: str | None = None,
    splits: plan.Splits | None = None,
    stop: threading.Event | None = None,
) -> Generator[Event, None, None]:
    """Makes every run of the plan's shard that the workdir `folder` has no finished record of; a failed one again.

    `only` makes the run of that name alone; `splits` are others than the plan's. A run that was cut off goes on from
    its last saved state. Once `stop` is set the states are saved at the end of the epoch, and Stopped raised. `devices`
    may be those of all processes, each of which calls this with the same arguments and its own or a common `folder`; it
    yields the events of the runs that this process leads. InputError where another process works on these runs.
    """
    splits = splits or plan.split(config, dataset)
    weights = {model: start for model in config.models if (start := epochs.pretrained(config, model, dataset))}
    digests = {model: start.sha256 for model, start in weights.items()}
    workdir.check_own(folder)
    several = len(distributed.processes(devices)) > 1
    with lock.held(folder, (jax.process_index(), jax.process_count()) if several else shard):
        if several:
            _check_others(config, dataset, splits, digests, devices)
        with lock.brief(folder):  # what is checked is not to be written by another meanwhile
            workdir.begin(folder, config, dataset, splits, digests)
        runs = [(n, run) for n, run in enumerate(plan.runs(config, shard), 1) if only in (None, run.name)]
        sweep = _Sweep(config, dataset, folder, splits, weights, len(runs), stop or threading.Event())
        if several:
            distributed.share(sweep.stop)
        unfinished = _unfinished(folder, runs, devices)  # and with it all processes have begun
        if shard == (0, 1) and jax.process_index() == 0:
            with lock.brief(folder):
                for each in (folder, *folder.glob("runs/*")):
                    clear(each)
        dealt = _deal(unfinished, groups(devices, config.devices_per_run))
        yield from _side_by_side([_work(sweep, group, waiting) for group, waiting in dealt], sweep.stop)


def _check_others(
    config: Config, dataset: Dataset, splits: plan.Splits, weights: dict[str, str], devices: Sequence[jax.Device]
) -> None:
    """InputError in every process where one was started on another sweep than process 0, which it names."""
    said = workdir.described(config, dataset, splits) | {f"weights of {name}": sha for name, sha in weights.items()}
    first = json.loads(distributed.broadcast(json.dumps(said).encode(), devices))
    mine = json.loads(json.dumps(said))
    differences = [
        f"{name}={mine.get(name)!r} here, {first.get(name)!r} in process 0"
        for name in sorted(mine.keys() | first.keys())
        if mine.get(name) != first.get(name)
    ]
    if distributed.any_process(bool(differences), devices):
        what = "; ".join(differences) or "another process has another config, other data or other weights"
        raise InputError(f"the processes of this sweep were not started alike: {what}")


def _unfinished(folder: Path, runs: list[Numbered], devices: Sequence[jax.Device]) -> list[Numbered]:
    """Of `runs`, those that no process knows a finished record of."""
    records = [workdir.read_record(folder, run) for _, run in runs]
    finished = np.array([record is not None and record["status"] == "finished" for record in records], np.int32)
    for (_, run), done in zip(runs, finished, strict=True):
        if done:  # cut off before it could tidy up
            shutil.rmtree(run_folder(folder, run) / "resume", ignore_errors=True)
    known = distributed.gather(finished, devices).sum(axis=0)
    return [run for run, times in zip(runs, known, strict=True) if not times]


def _deal(runs: list[Numbered], groups: list[Group]) -> list[tuple[Group, "queue.SimpleQueue[Numbered]"]]:
    """This process's groups, and the runs that wait for each: run i is for group i mod n.

    Groups that lie within one process share theirs, and whichever is free takes the next.
    """
    queues: dict[Any, queue.SimpleQueue[Numbered]] = {}
    dealt = []
    for number, group in enumerate(groups):
        processes = distributed.processes(group)
        waiting = queues.setdefault(tuple(processes) if len(processes) == 1 else (-1, number), queue.SimpleQueue())
        dealt.append((processes, group, waiting))
    for number, run in enumerate(runs):
        dealt[number % len(dealt)][2].put(run)
    return [(group, waiting) for processes, group, waiting in dealt if jax.process_index() in processes]


def _side_by_side(works: list[Iterator[Event]], stop: threading.Event) -> Iterator[Event]:
    """The events of all `works` as they come, each from a thread of its own.

    An error of one stops the others at the end of their epochs, and is raised then.
    """
    if len(works) == 1:
        yield from works[0]
        return
    events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    errors: list[Exception] = []

    def follow(work: Iterator[Event]) -> None:
        try:
            for event in work:
                events.put(event)
        except Exception as error:
            errors.append(error)
            stop.set()
        finally:
            events.put(None)

    threads = [threading.Thread(target=follow, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        for _ in works:
            yield from iter(events.get, None)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for error in errors:
        if not isinstance(error, Stopped):
            raise error
    if errors:
        raise Stopped(", ".join(sorted(map(str, errors))))


def _work(sweep: _Sweep, group: Group, waiting: "queue.SimpleQueue[Numbered]") -> Iterator[Event]:
    """The events of a group's runs; none where another process leads it."""
    lead = distributed.processes(group)[0] == jax.process_index()
    fits = sweep.dataset.gigabytes <= sweep.config.data.resident_gb
    pairs = epochs.put(sweep.dataset, group) if fits else None
    built: dict[str, epochs.Program] = {}
    trained: set[tuple[str, bool]] = set()  # what is compiled: a network, and once more with its encoder frozen
    while True:
        try:
            number, run = waiting.get_nowait()
        except queue.Empty:
            return
        if distributed.any_process(sweep.stop.is_set(), group):
            raise Stopped(run.name)
        if run.model not in built:
            start = sweep.weights.get(run.model)
            built[run.model] = epochs.build(sweep.config, run.model, sweep.dataset, pairs, group, start)
        with lock.making(sweep.folder, run.name) if lead else contextlib.nullcontext():
            for event in _make(sweep, group, run, number, built[run.model], lead):
                if isinstance(event, EpochEnded):
                    step = run.model, event.epoch.row["epoch"] <= sweep.config.frozen_epochs
                    event = event._replace(compiled=step not in trained)
                    trained.add(step)
                if lead:
                    yield event


def _make(sweep: _Sweep, group: Group, run: Run, number: int, program: epochs.Program, lead: bool) -> Iterator[Event]:
    """Makes one run, and again where it fails and `config.retries` asks for it; the lead leaves its files."""
    cell, own = sweep.splits[run.repeat, run.fold], run_folder(sweep.folder, run)
    if lead:
        workdir.begin_run(sweep.folder, run)
    for attempt in range(1 + sweep.config.retries):
        yield Started(run, number, sweep.total, len(cell.train))
        timing: dict[str, Any] = {}
        result: train.Result | train.DivergedError
        with checkpoint.snapshots(own / "resume") if lead else contextlib.nullcontext() as snapshots:
            try:
                result, timing = yield from _train(sweep, group, run, cell, program, snapshots)
            except train.DivergedError as error:
                result = error
        if isinstance(result, train.Result) or attempt == sweep.config.retries:
            break
        if lead:
            shutil.rmtree(own / "resume", ignore_errors=True)
        yield Warned(f"{run.name}: {result}; once more, with the same seed")
    predictions = None
    if sweep.config.predictions and isinstance(result, train.Result):
        began = time.monotonic()
        predictions = train.predict(program, result, cell.test)
        timing["predict_seconds"] = round(time.monotonic() - began, 3)
    if lead:
        record = workdir.finish(sweep.folder, sweep.config, sweep.dataset, run, cell, result, predictions, timing)
        yield Ended(run, record)


def _train(
    sweep: _Sweep,
    group: Group,
    run: Run,
    cell: folds.Split,
    program: epochs.Program,
    snapshots: checkpoint.Manager | None,
) -> Generator[Event, None, tuple[train.Result, dict[str, Any]]]:
    """Trains a run from its last saved state, or from the start, saving its states and writing metrics.jsonl.

    Without `snapshots`, in a process that does not lead the group, it reads and writes nothing.
    """
    config, dataset, seed = sweep.config, sweep.dataset, plan.seed(sweep.config, run)
    state = b""
    notes: dict[str, Any] = {}
    if snapshots:
        warnings: list[str] = []
        state, notes = checkpoint.last_snap(snapshots, warnings.append) or (state, notes)
        yield from map(Warned, warnings)
    state = distributed.broadcast(state, group)
    notes = json.loads(distributed.broadcast(json.dumps(notes).encode(), group))
    start, seconds = None, notes.get("seconds", [])
    if notes:
        counts = len(cell.test), len(dataset.classes), 3
        try:
            start = _restored(state, notes["progress"], program, seed, counts)
        except ValueError as error:  # its bytes are as they were written: of arrays of other shapes
            resume = run_folder(sweep.folder, run) / "resume"
            raise InputError(f"{resume} is of another network or version: delete it to start the run again") from error
    path = run_folder(sweep.folder, run) / "metrics.jsonl" if snapshots else Path(os.devnull)
    fitting = train.fit(program, cell, config, binary=dataset.num_classes == 1, seed=seed, start=start)
    saved = time.monotonic()
    with open(path, "w", encoding="utf-8") as lines:
        lines.writelines(to_json(row) + "\n" for row in (start.rows if start else []))
        try:
            while True:
                epoch = next(fitting)
                seconds.append((epoch.train_seconds, epoch.eval_seconds))
                lines.write(to_json(epoch.row) + "\n")
                lines.flush()
                yield EpochEnded(run, epoch)
                stopped = distributed.any_process(sweep.stop.is_set(), group)
                if snapshots and (stopped or time.monotonic() - saved >= 60 * config.checkpoint_minutes):
                    saved, progress = time.monotonic(), epoch.progress
                    rest = progress._asdict()
                    arrays = rest.pop("state"), rest.pop("best")
                    checkpoint.snap(snapshots, len(progress.rows), arrays, {"progress": rest, "seconds": seconds})
                if stopped:
                    raise Stopped(run.name)
        except StopIteration as end:
            return end.value, _timing(seconds, group, len(cell.train))


def _restored(
    state: bytes, notes: dict[str, Any], program: epochs.Program, seed: int, counts: tuple[int, ...]
) -> train.Progress:
    """What a run goes on from, as it was saved; `counts` is the shape of a test fold's."""
    like = program.init(seed)
    best = {"params": like.params, "stats": like.stats, "counts": np.zeros(counts, np.int32)}
    saved, best = checkpoint.unpack(state, (like, best))
    placed = distributed.copied(
        distributed.put(saved, program.replicated)
    )  # those may still be the bytes that were read
    return train.Progress(placed, best, **notes)


def _timing(seconds: Sequence[tuple[float, float]], group: Group, images: int) -> dict[str, Any]:
    """Of (training, evaluation) seconds of every epoch."""
    # The first epoch compiles, and the first after a frozen encoder, or in a process that goes on with a run.
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
