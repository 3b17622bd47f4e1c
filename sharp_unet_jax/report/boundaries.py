"""How far predicted boundaries lie from true ones."""

import pandas as pd

from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table


def per_image(sweep: Sweep) -> pd.DataFrame | None:
    """A row a run, test image and foreground class: run, model, image_id, class, outcome, hd95, assd (pixels)."""
    raise NotImplementedError


def table(sweep: Sweep) -> Table | None:
    """A row a model and class; None where predictions or prepared masks are not there."""
    raise NotImplementedError
