"""Test images of a run of a sweep, where they still lie on this machine: a notebook shows them with the run."""

import numpy as np

from sharp_unet_jax.data import prepared
from sharp_unet_jax.inference import display
from sharp_unet_jax.storage import description
from sharp_unet_jax.storage.description import Description
from sharp_unet_jax.storage.layout import Run


def read(sweep: Description, run: Run) -> display.Examples | None:
    """Return the first test images of a run in its workdir, which it was not trained on; None where they are gone.

    data.json says where the images were prepared. They are taken for those of the sweep if the digest beside them is
    that of folds.json: to check every pixel would take as long as reading the whole data set.
    """
    folder = description.read_prepared(sweep.workdir)
    ids = sweep.cell(run.repeat, run.fold)["test"][: display.EXAMPLES]
    pairs = prepared.pairs(folder, sweep.folds["sha256"], ids) if folder else None
    return display.Examples(*([np.asarray(one) for one in part] for part in pairs)) if pairs else None
