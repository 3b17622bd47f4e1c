"""Whether a predicted probability of 0.8 is right in 80 % of the pixels."""

from matplotlib.figure import Figure

from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table


def table(sweep: Sweep) -> Table | None:
    """A row a model; None where predictions or prepared masks are not there."""
    raise NotImplementedError


def reliability(sweep: Sweep) -> Figure | None:
    """A reliability diagram, a line a model, with the pixels of each bin below; None as for `table`."""
    raise NotImplementedError
