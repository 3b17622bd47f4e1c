"""The table of costs: parameters, training time and hardware of each model."""

import pandas as pd

from sharp_unet_jax.report.provenance import describe
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, rounded

SECONDS = ["timing.train_seconds", "timing.eval_seconds"]
NOTE = (
    "Time of a run: the mean over runs of training and of the scores after each epoch, by the clock. Other work on the "
    "machine lengthens it."
)


def table(sweep: Sweep) -> Table | None:
    """Return "cost": a row per model; None where no record holds parameters or times."""
    runs = sweep.runs
    known = [name for name in ("parameters", *SECONDS) if name in runs]
    if not known:
        return None
    rows, total = [], 0.0
    for model in sweep.models:
        own = runs[runs["model"] == model]
        seconds = own.reindex(columns=SECONDS).astype(float).sum(axis=1, min_count=1)
        total += seconds.sum()
        rows.append(
            {
                "model": model,
                "runs": len(own),
                "parameters (M)": rounded(own.reindex(columns=["parameters"])["parameters"].astype(float).max() / 1e6),
                "epochs per run": f"{own['epochs'].astype(float).mean():.0f}",
                "time per run": duration(seconds.mean()),
                "time of all runs": duration(seconds.sum(min_count=1)),
                "hardware": _hardware(own),
            }
        )
    says = f"All runs together took {duration(total)} to train." if total else ""
    return Table("cost", "Parameters, time and hardware", describe([sweep]), pd.DataFrame(rows), NOTE, says)


def duration(seconds: float) -> str:
    """Return "45 s", "12 min" or "3.4 h", or "-" for nan."""
    if pd.isna(seconds):
        return "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _hardware(runs: pd.DataFrame) -> str:
    """Return the kinds of devices that runs had, such as "1 x cpu"."""
    if not {"timing.device", "timing.devices"} <= {*runs}:
        return "-"
    pairs = runs[["timing.devices", "timing.device"]].dropna().drop_duplicates()
    return ", ".join(f"{int(number)} x {device}" for number, device in pairs.itertuples(index=False)) or "-"
