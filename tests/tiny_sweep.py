"""A tiny sweep that the tests of several files train, and the files that it leaves."""

import json
import threading

import jax
import pytest

from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.storage.layout import CONFIG as CONFIG_JSON
from sharp_unet_jax.storage.layout import FOLDS, METRICS, PER_IMAGE, PREDICTIONS, RECORD, SCORES
from sharp_unet_jax.sweeps import sweep, workdir
from sharp_unet_jax.sweeps.events import EpochEnded, Stopped

CONFIG = Config(data=Data(builder="squares", size=(16, 24)), folds=2, repeats=1, epochs=2, batch_size=4)
OF_A_SWEEP = (CONFIG_JSON, FOLDS, SCORES, PER_IMAGE)
OF_A_RUN = (RECORD, METRICS, PER_IMAGE, PREDICTIONS)


def make(folder, dataset, config=CONFIG, devices=1):
    """Train the sweep's unfinished runs and collect them; return the events."""
    events = list(sweep.train(config, dataset, folder, jax.devices()[:devices]))
    workdir.collect(folder, config)
    return events


def files(folder):
    """Return what must be the same whenever the sweep is trained again: bytes by name, records without `timing`.

    `record_sha256` covers it.
    """
    runs = sorted(path.parent for path in folder.glob(f"runs/*/*/{RECORD}"))
    paths = [folder / name for name in OF_A_SWEEP] + [run / name for run in runs for name in OF_A_RUN]
    return {str(path.relative_to(folder)): _without_timing(path) for path in paths}


def _without_timing(path):
    if path.name != RECORD:
        return path.read_bytes()
    record = json.loads(path.read_text())
    varies = ("timing", "record_sha256")
    return json.dumps({key: value for key, value in record.items() if key not in varies}).encode()


def stopped_after(epochs, folder, dataset, config=CONFIG, devices=1):
    """Train until so many epochs have ended, then stop; return the events."""
    stop, events = threading.Event(), []

    def follow():
        for event in sweep.train(config, dataset, folder, jax.devices()[:devices], stop=stop):
            events.append(event)
            if sum(isinstance(event, EpochEnded) for event in events) == epochs:
                stop.set()

    with pytest.raises(Stopped):
        follow()
    return events
