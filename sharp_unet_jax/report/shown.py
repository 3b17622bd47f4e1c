"""The arrays of a picture: an image, its truth and predictions, without letterbox bars, and at which resolution."""

from typing import NamedTuple

import numpy as np

from sharp_unet_jax import decision
from sharp_unet_jax.data import neighbours, resize
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report.figures import Predicted
from sharp_unet_jax.report.records import Sweep


class Shown(NamedTuple):
    """A test image as a picture shows it. Label maps have one size, the image has the same aspect."""

    image: np.ndarray  # (h, w, C) uint8, as it was trained on, but for the channels of neighbouring slices
    truth: np.ndarray  # labels (H, W) uint8
    predicted: dict[str, np.ndarray]  # labels (H, W) uint8, by model


def inside(image: np.ndarray, mask: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns of an image (h, w, C) and its mask (h, w) that are no letterbox bars.

    Bars are whole rows and columns at the sides that are black and not scored. All is inside where nothing else is.
    """
    kept = (mask != IGNORE) | (image != 0).any(axis=-1)
    rows, columns = (np.flatnonzero(kept.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def as_trained(sweep: Sweep, predicted: Predicted, image_id: str) -> Shown:
    """Return a test image and its label maps at the size of training. `predicted` comes from `overlays.predictions`.

    Raises ValueError without the prepared images.
    """
    if sweep.prepared is None:
        raise ValueError(f"the prepared images of {sweep.workdir} are not there")
    images, masks, rows = sweep.prepared
    image, mask = neighbours.own(images[rows[image_id]], sweep.config["data"]["context"]), masks[rows[image_id]]
    place = inside(image, mask)
    labels = {model: found[image_id].labels[place] for model, found in predicted.items() if image_id in found}
    return Shown(image[place], mask[place], labels)


def as_scored(sweep: Sweep, predicted: Predicted, image_id: str) -> Shown:
    """Return a test image with its label maps at the resolution of the reported scores.

    With `data.score=native` that is the file's own: the truth is the file's mask, and kept probabilities are brought to
    its size as they were for the scores. Otherwise it is `as_trained`.
    """
    shown = as_trained(sweep, predicted, image_id)
    if sweep.native is None or sweep.prepared is None:
        return shown
    truth = sweep.native[sweep.prepared[2][image_id]]
    size, labels = (truth.shape[0], truth.shape[1]), {}
    for model in shown.predicted:
        run = predicted[model][image_id].run
        probabilities = sweep.predictions(run)
        assert probabilities is not None  # the label maps are made of them
        own = probabilities[sweep.test_ids(run).index(image_id)].astype(np.float32)
        restored = resize.restore(own, size, sweep.config["data"]["fit"])
        labels[model] = decision.labels(restored, 255 * sweep.config["threshold"])
    return Shown(shown.image, truth, labels)
