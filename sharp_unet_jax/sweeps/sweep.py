"""A sweep: its runs, side by side on device groups, each resumed where it was cut off.

A group trains one run after another; groups never wait for each other. A group may have devices of several processes:
these train the same steps, and the process of the group's first device, the lead, reads and writes.
"""

import contextlib
import json
import queue
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import description, lock, run_files
from sharp_unet_jax.storage.atomic import clear_dead
from sharp_unet_jax.storage.layout import CONFIG, Run, run_folder
from sharp_unet_jax.sweeps import check, device_groups, plan, record, workdir
from sharp_unet_jax.sweeps.device_groups import Group, Waiting
from sharp_unet_jax.sweeps.events import EpochEnded, Event, Stopped
from sharp_unet_jax.sweeps.run import Sweep, train_run
from sharp_unet_jax.training import distributed, epochs
from sharp_unet_jax.weights.pretrained import Weights

Numbered = tuple[int, Run]  # from 1, in the plan's order


def train(
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
    """Train every run of the plan's shard that has no finished record in the workdir `folder`, and yield events.

    A run that was interrupted is resumed from its last saved state, and so is one that a smaller `epochs` capped;
    a run that failed is trained again. Once `stop` is set, the states are saved at the end of the
    epoch and Stopped is raised. `devices` may be those of all processes: each then calls this function with the same
    arguments, and its own or a common `folder`, and yields the events of the runs that it leads.

    Args:
        config: the sweep, as `check.config` accepts it.
        dataset: its images and masks.
        folder: a workdir of the same sweep, an empty folder, or a new one.
        devices: of one platform.
        shard: (i, n), every n-th run from the i-th on.
        only: the name of the one run to train.
        splits: divisions to use instead of the plan's.
        stop: set it to stop.

    Raises InputError if `folder` holds something else, or if another process works on these runs.
    """
    check.classes(config, dataset.classes)
    splits = splits or plan.split(config, dataset)
    weights = {model: start for model in config.models if (start := epochs.pretrained(config, model, dataset))}
    digests = {model: start.sha256 for model, start in weights.items()}
    workdir.check_folder(folder)
    several = len(distributed.processes(devices)) > 1
    with lock.held(folder, (jax.process_index(), jax.process_count()) if several else shard) as alone:
        if several:
            _check_alike(config, dataset, splits, digests, devices)
        with lock.brief(folder):  # no other process may write between the checks and the writing
            if not (several or alone):
                _check_beside(folder, config)
            workdir.begin(folder, config, dataset, splits, digests)
        runs = [(n, run) for n, run in enumerate(plan.runs(config, shard), 1) if only in (None, run.name)]
        sweep = Sweep(config, dataset, folder, splits, len(runs), stop or threading.Event())
        if several:
            distributed.share(sweep.stop)
        unfinished = _unfinished(config, folder, runs, devices)  # waits until all processes have begun
        if shard == (0, 1) and jax.process_index() == 0:
            with lock.brief(folder):
                for place in (folder, *folder.glob("runs/*")):
                    clear_dead(place)
        if config.data.fit == "crop":
            _ = dataset.points  # found here once: the thread of every device group would look for them
        dealt = device_groups.deal(unfinished, device_groups.split(devices, config.devices_per_run))
        works = [_train_all(sweep, weights, group, waiting) for group, waiting in dealt]
        yield from device_groups.side_by_side(works, sweep.stop)


def _train_all(
    sweep: Sweep, weights: Mapping[str, Weights], group: Group, waiting: Waiting[Numbered]
) -> Iterator[Event]:
    """Train the runs that wait for a group, one after another; yield their events in the lead, none elsewhere."""
    lead = distributed.processes(group)[0] == jax.process_index()
    pairs = epochs.put(sweep.dataset, group) if epochs.fits(sweep.config, sweep.dataset) else None
    programs: dict[str, epochs.Program] = {}
    compiled: set[tuple[str, bool]] = set()  # training steps: one per model, and one more while its encoder is frozen
    while True:
        try:
            number, run = waiting.get_nowait()
        except queue.Empty:
            return
        if distributed.any_process(sweep.stop.is_set(), group):
            raise Stopped(run.name)
        if run.model not in programs:
            start = weights.get(run.model)
            programs[run.model] = epochs.build(sweep.config, run.model, sweep.dataset, pairs, group, start)
        with lock.making(sweep.folder, run.name) if lead else contextlib.nullcontext():
            for event in train_run(sweep, group, programs[run.model], run, number):
                if isinstance(event, EpochEnded):
                    step = run.model, event.epoch.row["epoch"] <= sweep.config.frozen_epochs
                    event = event._replace(compiled=step not in compiled)
                    compiled.add(step)
                if lead:
                    yield event


def _check_alike(
    config: Config, dataset: Dataset, splits: plan.Splits, weights: Mapping[str, str], devices: Sequence[jax.Device]
) -> None:
    """Refuse, in every process, to start if a process has another sweep than process 0.

    Raises InputError; in the process that differs it names the differences.
    """
    described = workdir.described(config, dataset, splits)
    described |= {f"weights of {name}": sha256 for name, sha256 in weights.items()}
    text = json.dumps(described)
    first, here = json.loads(distributed.broadcast(text.encode(), devices)), json.loads(text)
    differences = [
        f"{name}={here.get(name)!r} here, {first.get(name)!r} in process 0"
        for name in sorted(here.keys() | first.keys())
        if here.get(name) != first.get(name)
    ]
    if distributed.any_process(bool(differences), devices):
        what = "; ".join(differences) or "another process has another config, other data or other weights"
        raise InputError(f"the processes of this sweep were not started alike: {what}")


def _check_beside(folder: Path, config: Config) -> None:
    """Refuse a config by which the shards that train in `folder` would share out other runs. Raises InputError."""
    if not (folder / CONFIG).exists():
        return
    there = workdir.read_config(folder)
    for field in ("models", "repeats", "max_runs", "epochs"):
        if (other := getattr(there, field)) != (own := getattr(config, field)):
            raise InputError(
                f"{folder}: another shard is running there with {field}={other!r}, not {own!r}: "
                f"give all shards the same {field}"
            )


def _unfinished(
    config: Config, folder: Path, runs: Sequence[Numbered], devices: Sequence[jax.Device]
) -> list[Numbered]:
    """Return the runs that no process has finished; delete saved states that finished runs do not need.

    Runs that failed come last: a sweep that its job system restarts again and again would never reach the others.
    """
    described = description.read(folder)
    done = np.zeros(len(runs), np.int32)  # 1 for a run that failed, 2 for one that is finished
    for place, (_, run) in enumerate(runs):
        known = run_files.read_record(described, run)
        if known and known["status"] == "failed":
            done[place] = 1
        elif known:
            done[place] = 2
            run_files.read_per_image(described, known)  # refused now, not when all runs are collected in the end
            record.tidy(run_folder(folder, run), config, known)  # a kill may have come between the record and this
    state = distributed.gather(done, devices).max(axis=0).tolist()
    return [run for wanted in (0, 1) for run, found in zip(runs, state, strict=True) if found == wanted]
