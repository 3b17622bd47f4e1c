"""Build the program of a tiny network, and run a fit to its end."""

import jax
import numpy as np

from sharp_unet_jax.config import Config
from sharp_unet_jax.training import epochs

CONFIG = Config(models=("unet",), batch_size=4, epochs=3)
ALL = np.arange(12)


def make(config, model, dataset, devices=1):
    devices = jax.devices()[:devices]
    return epochs.build(config, model, dataset, epochs.put(dataset, devices), devices)


def run(fitting):
    """Return the epochs and the result of a `fit`."""
    epochs = []
    while True:
        try:
            epochs.append(next(fitting))
        except StopIteration as stop:
            return epochs, stop.value
