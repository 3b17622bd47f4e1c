"""Train a finished run again and compare the weights."""

import contextlib
import dataclasses
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import jax
from rich.console import Console

from launch.console import progress
from sharp_unet_jax.config import Config
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import loading
from sharp_unet_jax.storage import description
from sharp_unet_jax.storage.layout import run_folder
from sharp_unet_jax.storage.run_files import Record, read_record
from sharp_unet_jax.sweeps import plan, sweep, workdir
from sharp_unet_jax.training import epochs


def check(config: Config, folder: Path, name: str) -> Record:
    """Return the record of a finished run of the config's sweep in the workdir `folder`; InputError for any other."""
    workdir.check_config(folder, config)
    if (epochs := workdir.read_config(folder).epochs) != config.epochs:  # which may change in a sweep, but not here
        raise InputError(f"--verify={name}: {folder} holds a sweep with epochs={epochs}, not {config.epochs}")
    runs = {run.name: run for run in plan.every(config)}
    record = read_record(description.read(folder), runs[name]) if name in runs else None
    if not record or record["status"] != "finished":
        raise InputError(f"--verify={name}: {folder} has no finished run of that name")
    return record


def verify(
    config: Config,
    data: Dataset,
    folder: Path,
    name: str,
    devices: Sequence[jax.Device],
    console: Console,
    stop: threading.Event,
) -> int:
    """Train the run `name` of the workdir `folder` again, in a temporary workdir, and compare its reported weights.

    Returns the exit code: 0 if the weights have the same bits, else 1. Raises InputError as `check`, and where the
    workdir has another data set; Stopped at the end of an epoch once `stop` is set.
    """
    record = check(config, folder, name)
    (run,) = (each for each in plan.every(config) if each.name == name)
    start = epochs.pretrained(config, run.model, data)
    workdir.check(folder, config, data, plan.split(config, data), {run.model: start.sha256} if start else {})
    # Refuses a checkpoint whose weights are not those of the record; masks are not made.
    loading.load_run(run_folder(folder, run), plain=True)
    with tempfile.TemporaryDirectory() as elsewhere:
        whole = dataclasses.replace(config, max_runs=None)
        events = sweep.train(whole, data, Path(elsewhere), devices, only=name, stop=stop)
        with contextlib.closing(events):
            (again,) = progress.show(events, console, config.epochs, 1)
    same = again.get("weights_sha256") == record["weights_sha256"]
    console.print(f"{name}: trained again, the weights {'have the same bits' if same else 'DIFFER'}")
    return 0 if same else 1
