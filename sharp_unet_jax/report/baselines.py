"""Scores of predictions that look at no image: a network that is not above them has learned nothing."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sharp_unet_jax import metrics
from sharp_unet_jax.data.array_files import Arrays
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.report import conventions, published
from sharp_unet_jax.report.provenance import describe, scored_natively
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, mean_std

MEAN_MASK = "mean mask of the training images"
CONVENTIONS = {"": conventions.REPORTED, ", micro": conventions.MICRO}
NOTE = (
    "A prediction that looks at no image gives every test image the same mask: one class everywhere, or at each pixel "
    "the class that most training images of the fold have there. Micro sums the pixels of all classes, background "
    "included, image by image: with small objects a mask of only background scores high."
)

NO_MEAN_MASK = "There is no mean mask: it needs images of one size, scored at that size."


def table(sweep: Sweep) -> Table | None:
    """Return "baselines": a row per model, then one per prediction that looks at no image; None without single images.

    Cells are in per cent, mean ± std over runs; over folds where a prediction needs no run. The mean mask is there if
    the prepared masks are, all of one size, and at the resolution of the scores.
    """
    if not sweep.has_images:
        return None
    comparable = sweep.prepared is not None and not scored_natively(sweep) and _one_size(sweep.prepared[1])
    rows = []
    for name, record in sweep.finished.items():
        rows.append({"prediction": record["model"]} | _scores(sweep, _counts(sweep, name)))
    for name in _a_run_a_fold(sweep):
        truth = _counts(sweep, name)[..., 1]
        for label, class_name in enumerate(sweep.classes):
            rows.append({"prediction": f"all {class_name}"} | _scores(sweep, everywhere(truth, label)))
        if comparable:
            rows.append({"prediction": MEAN_MASK} | _scores(sweep, _mean_mask(sweep, name)))
    each = 100 * pd.DataFrame(rows).set_index("prediction")
    frame = each.groupby(level=0, sort=False).agg(mean_std).reset_index()
    note = NOTE if comparable or sweep.prepared is None else f"{NOTE} {NO_MEAN_MASK}"
    title = "Beside predictions that look at no image"
    return Table("baselines", title, describe([sweep]), frame, note, _says(sweep, each["Jaccard (%)"]))


def _says(sweep: Sweep, jaccard: pd.Series) -> str:
    """Return how far the best network is above the best prediction that looks at no image, of `jaccard` in per cent."""
    means = jaccard.groupby(level=0).mean()
    trained = means.index.isin(list(sweep.models))
    if means[trained].isna().all() or means[~trained].isna().all():
        return ""
    best, blind = str(means[trained].idxmax()), str(means[~trained].idxmax())
    gap = means[best] - means[blind]
    side = f"{abs(gap):.2f} points of Jaccard {'above' if gap > 0 else 'below'}"
    return f"`{best}` is {side} “{blind}”, the best prediction that looks at no image."


def everywhere(truth: NDArray[np.integer], label: int) -> NDArray[np.integer]:
    """Return counts (n, classes, 3) of predicting `label` at every pixel; `truth` (n, classes) are labelled pixels."""
    predicted, intersection = np.zeros_like(truth), np.zeros_like(truth)
    predicted[:, label], intersection[:, label] = truth.sum(axis=1), truth[:, label]
    return np.stack([intersection, truth, predicted], axis=-1)


def mean_mask(labels: Iterable[NDArray[np.uint8]], classes: int) -> NDArray[np.integer]:
    """Return the most frequent class (H, W) at each pixel of label maps (H, W); the first of two as frequent."""
    votes: Any = np.int32(0)
    for each in labels:
        votes = votes + np.stack([each == label for label in range(classes)])
    return votes.argmax(axis=0)


def _one_size(masks: Arrays) -> bool:
    return not isinstance(masks, Ragged) or len(np.unique(masks.sizes, axis=0)) == 1


def _mean_mask(sweep: Sweep, name: str) -> NDArray[np.integer]:
    assert sweep.prepared is not None
    _, masks, row = sweep.prepared
    classes = len(sweep.classes)
    mean = mean_mask((masks[row[image]] for image in sweep.training_ids(name)), classes)
    return np.stack([metrics.count(mean, masks[row[image]], classes) for image in sweep.test_ids(name)])


def _scores(sweep: Sweep, counts: NDArray[np.integer]) -> dict[str, float]:
    known = conventions.from_counts(counts, empty=sweep.config["empty"], batch=sweep.config["batch_size"])
    return {
        f"{metric.capitalize()}{suffix} (%)": known[convention][metric]
        for suffix, convention in CONVENTIONS.items()
        for metric in published.OVERLAPS
    }


def _counts(sweep: Sweep, name: str) -> NDArray[np.integer]:
    """Return a run's counts (n, classes, 3)."""
    own = sweep.per_image[sweep.per_image["run"] == name]
    return own[["intersection", "truth", "predicted"]].to_numpy().reshape(-1, len(sweep.classes), 3)


def _a_run_a_fold(sweep: Sweep) -> Iterator[str]:
    """Yield a finished run of each repeat and fold."""
    yield from {(record["repeat"], record["fold"]): name for name, record in sweep.finished.items()}.values()
