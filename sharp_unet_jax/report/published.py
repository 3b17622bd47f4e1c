"""The scores that the paper and its authors report, from paper.csv: a row per table, data set, network and skip.

The column `source` is "print" for the paper's tables. It is "outputs" for outputs that the authors' public notebooks
keep (hasibzunair/sharp-unet-experiments, plot_graphs.ipynb): they are listed where they differ from print, or where
the paper draws a figure without a table.
"""

import functools
from importlib import resources

import numpy as np
import pandas as pd

from sharp_unet_jax.report import pairing
from sharp_unet_jax.report.records import Sweep

OVERLAPS = ("jaccard", "dice")
"""The overlaps that the paper reports, by their names in metrics.OVERLAPS."""

SOURCES = {"print": "paper", "outputs": "authors' outputs"}
"""The sources of paper.csv, and their names in headings."""

PREPARED = {"covid19_ct/hu512": "covid19_ct", "lung_ct/minmax": "lung_ct"}
"""Data sets prepared as in the authors' code, and the names under which paper.csv has their scores."""

NOTE = "Authors' outputs: figures in the outputs that the authors' public notebooks keep, where they differ from print."


def knows(sweep: Sweep) -> bool:
    """Return whether the paper reports scores on the sweep's data set."""
    return bool((_paper()["dataset"] == _dataset(sweep)).any())


def scores(sweep: Sweep, model: str, table: int = 1, source: str = "print") -> pd.Series:
    """Return what a source reports for a model on the sweep's data set, in per cent; nan where it reports nothing.

    Args:
        sweep: names the data set.
        model: a model of the sweep. A sharp model with another kernel than the paper's has no published scores.
        table: the paper's table. The paper's Tables 1 and 3 differ in places; what one lacks is taken from another.
        source: a key of SOURCES. Outputs are only those that differ from this table.

    Returns:
        Series with jaccard_mean, jaccard_std, dice_mean, dice_std.
    """
    paper, known = _paper(), sweep.models[model]
    same: dict[str, str | int] = {
        "source": source,
        "dataset": _dataset(sweep),
        "network": known.network,
        "skip": known.skip,
    }
    if source == "outputs":
        same["table"] = table
    rows = paper[(paper[list(same)] == pd.Series(same)).all(axis=1)]
    if rows.empty or not pairing.has_paper_kernel(sweep, model):
        return pd.Series(np.nan, paper.columns)
    return rows.iloc[(rows["table"] != table).argmin()]


def _dataset(sweep: Sweep) -> str:
    return PREPARED.get(sweep.dataset, sweep.dataset)


@functools.cache
def _paper() -> pd.DataFrame:
    with resources.files("sharp_unet_jax.report").joinpath("paper.csv").open() as file:
        return pd.read_csv(file)
