"""The finished runs of a sweep that are capped by its `epochs`, told when a command ends: they may go on."""

from pathlib import Path

from sharp_unet_jax import stopping
from sharp_unet_jax.report import records

LAST = 3  # epochs: a run whose best one is among them was still getting better


def line(workdir: Path) -> str:
    """Return a line on the finished runs that a larger `epochs` would train on, "" if there are none."""
    sweep = records.load(workdir)
    finished = sweep.finished.values()
    capped = [record for record in finished if record["capped"]]
    if not capped or not stopping.may_go_on(sweep.config["schedule"]):
        return ""
    late = sum(record["best_epoch"] > record["epochs"] - LAST for record in capped)
    return (
        f"{len(capped)} of {len(finished)} runs were capped by epochs={sweep.config['epochs']}, {late} of them with "
        f"the best epoch among the last {LAST}: the same command with a larger --config.epochs trains them on"
    )
