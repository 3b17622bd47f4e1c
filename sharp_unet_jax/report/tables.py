"""The tables of the paper, and of every comparison, made of sweeps' records."""

from collections.abc import Sequence
from pathlib import Path

from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table


def every(sweeps: Sequence[Sweep]) -> list[Table]:
    """All tables that these sweeps have something for, in the order of the report: the paper's, significance, pairs,
    optimism, protocols. [] where no run is finished."""
    raise NotImplementedError


def paper(sweeps: Sequence[Sweep]) -> list[Table]:
    """ "table1" (unet, sharp_unet by data set), "table2" (encoders, plain and sharp), "table3" (all models)."""
    raise NotImplementedError


def significance(sweeps: Sequence[Sweep]) -> list[Table]:
    """ "significance": sharp against plain; "pairs": every pair, where there are more than two models."""
    raise NotImplementedError


def markdown(workdir: Path) -> str:
    """tables.md of a sweep."""
    raise NotImplementedError


def write(workdir: Path) -> None:
    """Writes `markdown` to tables.md."""
    raise NotImplementedError
