"""The finished runs of a sweep that are capped by its `epochs`, told when a command ends: they may go on."""

from pathlib import Path

from sharp_unet_jax import stopping
from sharp_unet_jax.report import records

LAST = 3  # epochs: a run whose best one is among them was still getting better


def line(workdir: Path) -> str:
    """Return a line on the finished runs that a larger `epochs` would train on, "" if there are none."""
    sweep = records.load(workdir)
    patience, schedule = sweep.config["patience"], sweep.config.get("schedule", "plateau")
    ends = [(record["epochs"], record["best_epoch"]) for record in sweep.finished.values()]
    capped = [end for end in ends if stopping.capped(*end, patience, schedule)]
    if not capped:
        return ""
    late = sum(best > epochs - LAST for epochs, best in capped)
    return (
        f"{len(capped)} of {len(ends)} runs were capped by epochs={sweep.config['epochs']}, {late} of them with the "
        f"best epoch among the last {LAST}: the same command with a larger --config.epochs trains them on"
    )
