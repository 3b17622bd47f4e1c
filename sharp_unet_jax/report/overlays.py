"""Truth and prediction laid over an image, and the choice of images to show."""

import zlib
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

from sharp_unet_jax import decision
from sharp_unet_jax.data.pixels import shown
from sharp_unet_jax.metrics import IGNORE, foreground
from sharp_unet_jax.palette import FALSE_NEGATIVE, FALSE_POSITIVE, IGNORED, OTHER_CLASS, rgb
from sharp_unet_jax.report import boundaries, statistics
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import percent

OPACITY = 0.75  # of a colour that is painted
MEANING = {
    FALSE_POSITIVE: "over-segmented",  # predicted, not true
    FALSE_NEGATIVE: "under-segmented",  # true, not predicted
    OTHER_CLASS: "another class",  # foreground in both, of different classes
}


class Prediction(NamedTuple):
    """A model's prediction of a test image it had not seen."""

    packed: bytes  # `labels`, compressed: the label maps of a whole data set may not fit into memory
    size: tuple[int, int]  # height, width
    jaccard: float  # of this prediction, from the records
    repeat: int
    run: str  # the name of the run that predicted it
    mean: float  # Jaccard over all repeats, as the table of images has it
    repeats: int  # that have a score

    @property
    def labels(self) -> np.ndarray:
        """The label map (H, W) uint8, read-only."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.size)

    @property
    def score(self) -> str:
        """The image's Jaccard as every view of the report says it: the mean, and this prediction's own beside it."""
        mean = percent(self.mean)
        return mean if self.repeats < 2 else f"{mean}, here {percent(self.jaccard)}"


class Choice(NamedTuple):
    """An image to show, and why."""

    why: str
    image_id: str


def predictions(sweep: Sweep) -> dict[str, dict[str, Prediction]]:
    """Return, by model and image id, the prediction of the first repeat that has one; {} where none were kept."""
    found: dict[str, dict[str, Prediction]] = {}
    for model in sweep.models if sweep.has_images else []:
        scores = statistics.image_scores(sweep, model)["jaccard"]
        mean, repeats = scores.groupby("image_id").mean(), scores.groupby("image_id").count()
        for run in sweep.runs.index[sweep.runs["model"] == model]:
            repeat, of_model = int(sweep.runs.loc[run, "repeat"]), found.setdefault(model, {})
            if all(image in of_model for image in sweep.test_ids(run)):
                continue
            for image, labels in _label_maps(sweep, run):
                packed, size = zlib.compress(labels.tobytes(), 1), (labels.shape[0], labels.shape[1])
                own_score, number = float(scores[repeat, image]), int(repeats[image])
                prediction = Prediction(packed, size, own_score, repeat, run, float(mean[image]), number)
                of_model.setdefault(image, prediction)
    return {model: of_model for model, of_model in found.items() if of_model}


def _label_maps(sweep: Sweep, run: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield id and label map (H, W) uint8 of each test image of a run; nothing where no predictions were kept."""
    if (probabilities := sweep.predictions(run)) is not None:
        for image, own in zip(sweep.test_ids(run), probabilities, strict=True):
            yield image, decision.labels(own, 255 * sweep.config["threshold"])


def errors(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Return where label maps (H, W) differ, as masks (H, W) by the colours of `MEANING`. Class 0 is background."""
    wrong = (truth != predicted) & (truth != IGNORE)
    return {
        FALSE_POSITIVE: wrong & (truth == 0),
        FALSE_NEGATIVE: wrong & (predicted == 0),
        OTHER_CLASS: wrong & (truth != 0) & (predicted != 0),
    }


def ignored(truth: np.ndarray) -> dict[str, np.ndarray]:
    """Return where a label map (H, W) is not scored, as a mask (H, W) by its colour, for `paint`."""
    return {IGNORED: truth == IGNORE}


def legend(colours: Container[str]) -> dict[str, str]:
    """Return what those of a picture's colours mean that occur in it, by colour."""
    return {colour: text for colour, text in (MEANING | {IGNORED: "not scored"}).items() if colour in colours}


def outline(truth: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return masks (H, W) of the outlines of all foreground classes: a white line, and a black one around it.

    Together they are visible on any ground. `width` is the thickness of each in pixels, 1 at least.
    """
    white = np.zeros(truth.shape, bool)
    for label in np.unique(truth[foreground(truth)]):
        mask = truth == label
        edge = boundaries.boundary(mask, truth == IGNORE)
        white |= ndimage.binary_dilation(edge, iterations=width, mask=mask)
    return white, ndimage.binary_dilation(white, iterations=width) & ~foreground(truth)


def paint(image: np.ndarray, masks: dict[str, np.ndarray]) -> np.ndarray:
    """Return `image` (H, W, C) uint8 with each mask (H, W) in its colour "#rrggbb": (H, W, 3) uint8."""
    painted = np.broadcast_to(shown(image), (*image.shape[:2], 3)).astype(float)
    for colour, mask in masks.items():
        painted[mask] += OPACITY * (np.array(rgb(colour)) - painted[mask])
    return painted.round().astype(np.uint8)


def choose(sweep: Sweep, predicted: dict[str, dict[str, Prediction]], models: Sequence[str]) -> list[Choice]:
    """Return the best, median and worst image, and those in which the models differ most, by mean Jaccard.

    One model or two are ranked by the last, and two differ in both directions. More models are ranked by their mean. No
    image comes twice. Images without a foreground are left out: they would be the best, with nothing to see.

    Args:
        sweep: the records.
        predicted: from `predictions`.
        models: a family of twins, or one model.
    """
    scores = pd.DataFrame({model: pd.Series({i: p.mean for i, p in predicted[model].items()}) for model in models})
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
        wanted[f"largest lead of {model}"] = list(lead[lead > 0].index)
        wanted[f"largest lead of {other[0]}"] = list(lead[lead < 0].index[::-1])
    chosen: dict[str, str] = {}
    for why, ids in wanted.items():
        if (image := next((image for image in ids if image not in chosen), None)) is not None:
            chosen[image] = why
    return [Choice(why, image) for image, why in chosen.items()]
