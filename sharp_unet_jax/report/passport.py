"""What the numbers of sweeps rest on, in words."""

from collections.abc import Sequence

from sharp_unet_jax.report.records import Sweep


def labels(sweeps: Sequence[Sweep]) -> list[str]:
    """A name for each sweep: its data set, and where several share one what tells them apart ("phantom, nested")."""
    raise NotImplementedError


def passport(sweeps: Sequence[Sweep]) -> str:
    """Protocol, folds, repeats, aggregation, threshold, empty-mask rule, resolution, n; what differs, by sweep."""
    raise NotImplementedError


def unfinished(sweeps: Sequence[Sweep]) -> str:
    """ "**phantom: 7 of 20 runs are finished, 1 failed: ...**" or "" where all are."""
    raise NotImplementedError
