"""The same predictions under the conventions of other papers and code, since published numbers differ by them."""

from matplotlib.figure import Figure

from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table


def conventions(sweep: Sweep) -> Table:
    """A row a convention, a column a model and metric."""
    raise NotImplementedError


def thresholds(sweep: Sweep) -> Figure | None:
    """Jaccard and Dice by threshold, a line a model; None without predictions or for more than two classes."""
    raise NotImplementedError
