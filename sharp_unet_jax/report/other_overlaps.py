"""The table of all overlaps that the paper does not report, such as sensitivity."""

from collections.abc import Mapping, Sequence

import pandas as pd

from sharp_unet_jax import metrics
from sharp_unet_jax.report import published
from sharp_unet_jax.report.provenance import EMPTY, describe, named, unfinished
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, mean_std, narrow

NAMES = tuple(name for name in metrics.OVERLAPS if name not in published.OVERLAPS)
TITLE = f"{', '.join(NAMES[:-1])} and {NAMES[-1]}".capitalize()


def recorded(sweep: Sweep) -> bool:
    """Return whether the records hold any of these overlaps; packed results of an old sweep may hold none."""
    return bool(sweep.finished) and bool(sweep.runs[list(NAMES)].notna().any(axis=None))


def table(sweeps: Sequence[Sweep]) -> Table | None:
    """Return "overlaps": a row per sweep and model, a column per overlap; None where no record holds them.

    A cell is the mean ± std over runs, in per cent.
    """
    sweeps = [sweep for sweep in sweeps if recorded(sweep)]
    if not sweeps:
        return None
    rows = []
    for sweep, label in named(sweeps).items():
        for model in sweep.models:
            cells = {f"{name.capitalize()} (%)": mean_std(sweep.scores(model, name)) for name in NAMES}
            rows.append({"data set": label, "model": model, "runs": len(sweep.scores(model)), **cells})
    rules = dict.fromkeys(EMPTY[sweep.config["empty"]] for sweep in sweeps)
    note = [
        *(f"{name.capitalize()}: {metrics.definition(name)}" for name in NAMES),
        f"A class in neither truth nor prediction {' or '.join(rules)}; any other ratio 0/0, such as the precision of "
        "an image in which nothing is predicted but something is there, scores 0. "
        "Where easy background makes up most pixels, specificity is high for nearly every model.",
        unfinished(sweeps),
    ]
    frame = narrow(pd.DataFrame(rows))
    says = f"{highest(sweeps, 'sensitivity')} {highest(sweeps, 'precision')}".strip()
    return Table("overlaps", TITLE, describe(sweeps), frame, "\n".join(filter(None, note)), says)


def highest(sweeps: Sequence[Sweep], overlap: str, models: Mapping[Sweep, Sequence[str]] | None = None) -> str:
    """Return which model of each sweep has the highest mean of an overlap, in a sentence; "" without several scores.

    `models` are those to look at, by sweep; by default all.
    """
    found = []
    for sweep, label in named(sweeps).items():
        runs = sweep.runs[sweep.runs["model"].isin(list(models[sweep] if models else sweep.models))]
        means = 100 * runs.astype({overlap: float}).groupby("model", sort=False)[overlap].mean().dropna()
        if means.max() > means.min():
            where = f" ({label})" if len(sweeps) > 1 else ""
            found.append(f"`{means.idxmax()}`, {means.max():.2f} %{where}")
    return f"Highest {overlap.capitalize()}: {'; '.join(found)}." if found else ""
