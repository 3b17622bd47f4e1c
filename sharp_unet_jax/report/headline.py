"""The tiles at the top of the page: each score of every model, with its interval."""

from typing import NamedTuple

import numpy as np

from sharp_unet_jax.report import pairing, statistics
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import interval

SCORES = ("jaccard", "dice", "sensitivity", "precision")


class Line(NamedTuple):
    """A model's score."""

    model: str  # its short name
    value: str  # per cent: the number of the tables
    interval: str  # 95 %, "" where there are too few runs


class Tile(NamedTuple):
    """A score of every model."""

    name: str
    lines: list[Line]


def tiles(sweep: Sweep) -> list[Tile]:
    """Return a tile for each of SCORES that the records hold."""
    names = pairing.short_names(sweep)
    found = []
    for score in SCORES:
        means = {model: statistics.score(sweep, model, score) for model in sweep.models}
        if not all(np.isnan(mean.mean) for mean in means.values()):
            lines = [
                Line(names[model], "-" if np.isnan(mean.mean) else f"{mean.mean:.2f}", _interval(mean))
                for model, mean in means.items()
            ]
            found.append(Tile(score.capitalize(), lines))
    return found


def _interval(mean: statistics.Mean) -> str:
    return "" if np.isnan(mean.low) else interval(mean.low, mean.high)
