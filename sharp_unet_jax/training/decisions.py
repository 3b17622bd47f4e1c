"""The decisions between two epochs of a run: the best epoch so far, and the next learning rate.

Both follow from the config and from what the epochs so far measured on the validation images.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from sharp_unet_jax.config import Config


class Decisions(NamedTuple):
    """The decisions after an epoch."""

    best_epoch: int  # from 1: the one whose weights are kept
    learning_rate: float  # of the next epoch, before its schedule and its warm-up


def worth(row: dict[str, float], monitor: str) -> float:
    """Return how good an epoch is by `monitor`; higher is better. NaN, a score of nothing, is worse than any other."""
    value = -row["validation_loss"] if monitor == "loss" else row[f"validation_{monitor}"]
    return -math.inf if math.isnan(value) else value


def decide(rows: Sequence[dict[str, float]], config: Config) -> Decisions:
    """Return the decisions after the epochs `rows`, of which there is at least one.

    The best epoch is that of Keras's EarlyStopping: an epoch becomes the best one if it beats the best one before it by
    more than `min_delta`. The learning rate is that of Keras's ReduceLROnPlateau without a cooldown. It has a best
    value of its own, which must be beaten by more than `plateau_min_delta`. Other schedules keep the config's.
    """
    worths = [worth(row, config.monitor) for row in rows]
    best_epoch, waited, rate = 1, 0, config.learning_rate
    highest = worths[0]  # of the plateau
    for epoch, value in enumerate(worths[1:], 2):
        if value - config.min_delta > worths[best_epoch - 1]:
            best_epoch = epoch
        waited += 1
        if value - config.plateau_min_delta > highest:
            highest, waited = value, 0
        elif waited >= config.plateau_patience:
            waited = 0
            if rate > config.min_learning_rate:
                rate = max(rate * config.plateau_factor, config.min_learning_rate)
    return Decisions(best_epoch, rate if config.schedule == "plateau" else config.learning_rate)
