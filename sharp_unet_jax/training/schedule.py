"""The learning rate of every step, computed on the host from the config, the epoch and the step."""

import numpy as np

from sharp_unet_jax.config import Config

POWER = 0.9  # of "poly": DeepLab's (Chen et al., arXiv:1606.00915), and nnU-Net's


def rates(config: Config, level: float, epoch: int, steps: int) -> np.ndarray:
    """Return the learning rates of the steps of an epoch, (steps,) float64.

    The warm-up raises the learning rate by the same amount at every step, and its last step has `level`. After it
    "cosine" (Loshchilov & Hutter, ICLR 2017, without restarts) and "poly" fall to 0 at the end of `config.epochs`.

    Args:
        config: names the schedule and its length.
        level: what `decisions.decide` says of this epoch.
        epoch: from 1.
        steps: of this epoch.
    """
    before = epoch - 1 + np.arange(steps) / steps  # epochs that have passed when a step begins
    done = np.maximum(before - config.warmup, 0) / (config.epochs - config.warmup)
    shares = np.ones(steps)
    if config.schedule == "cosine":
        shares = (1 + np.cos(np.pi * done)) / 2
    elif config.schedule == "poly":
        shares = (1 - done) ** POWER
    if config.warmup:
        shares = shares * np.minimum((before + 1 / steps) / config.warmup, 1)
    return level * shares
