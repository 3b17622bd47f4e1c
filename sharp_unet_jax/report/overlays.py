"""Truth and prediction laid over an image, and which images are worth a look."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from sharp_unet_jax import decision
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.palette import FALSE_NEGATIVE, FALSE_POSITIVE, OTHER_CLASS, rgb
from sharp_unet_jax.report import statistics
from sharp_unet_jax.report.records import Sweep

MEANING = {
    FALSE_POSITIVE: "over-segmented",  # predicted, not true
    FALSE_NEGATIVE: "under-segmented",  # true, not predicted
    OTHER_CLASS: "another class",  # foreground in both, of different classes
}


class Prediction(NamedTuple):
    """What a model made of a test image it had not seen."""

    labels: np.ndarray  # (H, W) uint8
    jaccard: float  # as the records score it
    repeat: int


class Choice(NamedTuple):
    """An image worth a look, and why."""

    why: str
    image_id: str


def predictions(sweep: Sweep) -> dict[str, dict[str, Prediction]]:
    """Of every model and image id the prediction of the first repeat that has one; {} where none were kept."""
    found: dict[str, dict[str, Prediction]] = {}
    for model in sweep.models if sweep.has_images else []:
        scores = statistics.image_scores(sweep, model)["jaccard"]
        for run in sweep.runs.index[sweep.runs["model"] == model]:
            repeat, ids, of_model = int(sweep.runs.loc[run, "repeat"]), sweep.test_ids(run), found.setdefault(model, {})
            if ids[0] in of_model or (probabilities := sweep.predictions(run)) is None:
                continue
            decided = decision.labels(probabilities, 255 * sweep.config["threshold"])
            for image, labels in zip(ids, decided, strict=True):
                of_model.setdefault(image, Prediction(labels, float(scores[repeat, image]), repeat))
    return {model: of_model for model, of_model in found.items() if of_model}


def errors(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Where label maps (H, W) differ: masks (H, W) by the colours of `MEANING`. Class 0 is background."""
    wrong = (truth != predicted) & (truth != IGNORE)
    return {
        FALSE_POSITIVE: wrong & (truth == 0),
        FALSE_NEGATIVE: wrong & (predicted == 0),
        OTHER_CLASS: wrong & (truth != 0) & (predicted != 0),
    }


def paint(image: np.ndarray, masks: dict[str, np.ndarray], opacity: float = 0.75) -> np.ndarray:
    """`image` (H, W, 1 or 3) uint8 with each mask (H, W) in its colour, "#rrggbb"; (H, W, 3) uint8."""
    painted = np.broadcast_to(image, (*image.shape[:2], 3)).astype(float)
    for colour, mask in masks.items():
        painted[mask] += opacity * (np.array(rgb(colour)) - painted[mask])
    return painted.round().astype(np.uint8)


def choose(sweep: Sweep, predicted: dict[str, dict[str, Prediction]], models: Sequence[str]) -> list[Choice]:
    """The best, median and worst image of the last of `models`, and where it and the other differ most, each way.

    Of more than two models it is those by the mean over all, and where they differ most. `predicted` is that of
    `predictions`. No image comes twice, and none without a foreground: they would be the best, and there is nothing to
    see.
    """
    scores = pd.DataFrame({model: pd.Series({i: p.jaccard for i, p in predicted[model].items()}) for model in models})
    foreground = sweep.per_image[sweep.per_image["class"] != sweep.classes[0]].groupby("image_id")["truth"].max()
    scores = scores[foreground.reindex(scores.index) > 0].dropna()
    *other, model = models
    among, ranked = (model, scores[model]) if len(models) < 3 else (f"{len(models)} models", scores.mean(axis=1))
    order = list(ranked.sort_values(ascending=False, kind="stable").index)
    middle = len(order) // 2
    wanted = {
        f"best of {among}": order,
        f"median of {among}": order[middle:] + order[:middle][::-1],
        f"worst of {among}": order[::-1],
    }
    if len(models) > 2:
        apart = scores.max(axis=1) - scores.min(axis=1)
        wanted["models differ most"] = list(apart.sort_values(ascending=False, kind="stable").index)
    elif other:
        lead = (scores[model] - scores[other[0]]).sort_values(ascending=False, kind="stable")
        wanted[f"{model} ahead most"] = list(lead[lead > 0].index)
        wanted[f"{other[0]} ahead most"] = list(lead[lead < 0].index[::-1])
    chosen: dict[str, str] = {}
    for why, ids in wanted.items():
        if (image := next((image for image in ids if image not in chosen), None)) is not None:
            chosen[image] = why
    return [Choice(why, image) for image, why in chosen.items()]
