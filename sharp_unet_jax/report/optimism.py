"""How much of a score came of looking at the test fold, or of leaving a group's images on both sides."""

from collections.abc import Sequence

from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table


def tables(sweeps: Sequence[Sweep]) -> list[Table]:
    """Table "optimism" (best epoch on the test fold, the reported one, the last); "protocols" where sweeps share a
    data set: paper beside nested, random beside grouped."""
    raise NotImplementedError
