"""A tiny sweep that the tests of several files make, and what it leaves."""

import threading

import jax
import pytest

from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.sweeps import sweep, workdir

CONFIG = Config(data=Data(builder="squares", size=(16, 24)), folds=2, repeats=1, epochs=2, batch_size=4)
DETERMINISTIC = ("config.json", "folds.json", "scores.csv", "per_image.parquet")
OF_A_RUN = ("record.json", "metrics.jsonl", "per_image.parquet", "predictions.npz")


def make(folder, dataset, config=CONFIG, devices=1):
    events = list(sweep.go(config, dataset, folder, jax.devices()[:devices]))
    workdir.collect(folder, config)
    return events


def files(folder):
    runs = sorted(path.parent for path in folder.glob("runs/*/*/record.json"))
    paths = [folder / name for name in DETERMINISTIC] + [run / name for run in runs for name in OF_A_RUN]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def stopped_after(epochs, folder, dataset, config=CONFIG, devices=1):
    """A sweep that is asked to stop when so many epochs have ended; its events."""
    stop, events = threading.Event(), []

    def follow():
        for event in sweep.go(config, dataset, folder, jax.devices()[:devices], stop=stop):
            events.append(event)
            if sum(isinstance(event, sweep.EpochEnded) for event in events) == epochs:
                stop.set()

    with pytest.raises(sweep.Stopped):
        follow()
    return events
