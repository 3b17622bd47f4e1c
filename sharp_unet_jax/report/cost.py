"""The table of costs: parameters, training time and hardware of each model."""

import pandas as pd

from sharp_unet_jax.report.provenance import describe
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table

SECONDS = ["timing.train_seconds", "timing.eval_seconds"]
NOTE = (
    "Time of a run: the mean over runs of training and of the scores after each epoch, by the clock. Other work on the "
    "machine lengthens it."
)


def table(sweep: Sweep) -> Table | None:
    """Return "cost": a row per model; None without finished runs."""
    if not sweep.finished:
        return None
    runs, rows, total = sweep.runs, [], 0.0
    for model in sweep.models:
        own = runs[runs["model"] == model]
        seconds = own[SECONDS].astype(float).sum(axis=1)
        total += seconds.sum()
        rows.append(
            {
                "model": model,
                "runs": len(own),
                "parameters (M)": f"{own['parameters'].max() / 1e6:.2f}",
                "epochs per run": f"{own['epochs'].astype(float).mean():.0f}",
                "time per run": seconds.mean(),
                "time of all runs": seconds.sum(),
                "hardware": _hardware(own),
            }
        )
    says = f"All runs together took {duration(total)} to train."
    costs = pd.DataFrame(rows)
    for column in ("time per run", "time of all runs"):  # in one unit, by which the page can sort
        longest = costs[column].max()
        costs[column] = [duration(seconds, longest) for seconds in costs[column]]
    return Table("cost", "Parameters, time and hardware", describe([sweep]), costs, NOTE, says)


def duration(seconds: float, longest: float | None = None) -> str:
    """Return "45 s", "12 min" or "3.4 h", in the unit that suits `longest`, by default the duration itself."""
    longest = seconds if longest is None else longest
    if longest < 90:
        return f"{seconds:.0f} s"
    if longest < 90 * 60:
        return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds >= 360 else f"{seconds / 3600:.2f} h"


def _hardware(runs: pd.DataFrame) -> str:
    """Return the kinds of devices that runs had, such as "1 x cpu"."""
    pairs = runs[["timing.devices", "timing.device"]].drop_duplicates()
    return ", ".join(f"{number} x {device}" for number, device in pairs.itertuples(index=False))
