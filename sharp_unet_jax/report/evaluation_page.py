"""The page of a test set's scores: headline, tables, pictures, and how to read it, in one HTML file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from sharp_unet_jax import metrics
from sharp_unet_jax.data import pillow
from sharp_unet_jax.report import evaluated, overlays, page
from sharp_unet_jax.report.evaluated import DISTANCES, Scored
from sharp_unet_jax.report.provenance import EMPTY, OWN

SIDE = 480  # pixels of a picture's longer side: larger ones are shrunk, smaller ones enlarged by a whole factor
HEADLINE = ("jaccard", "dice", *DISTANCES)


class Shown(NamedTuple):
    """An image of the page."""

    why: str  # such as "worst"
    id: str
    score: float  # Jaccard in 0..1
    image: np.ndarray  # (H, W, C) uint8
    truth: np.ndarray  # labels (H, W) uint8
    predicted: np.ndarray  # labels (H, W) uint8


def render(title: str, test: Scored, pictures: Sequence[Shown], facts: Mapping[str, str], command: str) -> str:
    """Return the page as HTML.

    Args:
        title: the heading.
        test: the scores.
        pictures: images to show.
        facts: what the scores are of, by what it is called: the run, the test set, ...
        command: as it was given.
    """
    headline, labels = next(iter(test.scopes.items()))
    estimates = test.estimates(labels)
    units = dict.fromkeys(metrics.OVERLAPS, "%") | dict.fromkeys(DISTANCES, test.unit)
    cards = [
        {
            "name": DISTANCES.get(name, name.capitalize()),
            "value": _value(estimates[name].mean, units[name]),
            "interval": _interval(estimates[name], units[name]),
            "n": estimates[name].n,
        }
        for name in HEADLINE
    ]
    drawn = [{"why": one.why, "id": one.id, "score": _value(one.score, "%"), "panels": panels(one)} for one in pictures]
    wrong = {colour for one in pictures for colour, mask in _colours(one.truth, one.predicted).items() if mask.any()}
    groups = len(set(test.groups))
    of = f"{len(test.cases)} images" + (f" in {groups} group{'s' * (groups > 1)}" if test.grouped else "")
    template = page.environment().get_template("evaluation.html")
    return template.render(
        title=title,
        headline=headline,
        intro=f"{of}, predicted by {facts['predicted by']}. All numbers are at {OWN}.",
        cards=cards,
        tables=[page.cells(table) for table in evaluated.tables(test)],
        pictures=drawn,
        legend=overlays.legend(wrong),
        facts=facts,
        command=command,
        reading=list(_reading(test)),
    )


def _value(value: float, unit: str) -> str:
    return "-" if np.isnan(value) else f"{evaluated.text(value if unit != '%' else 100 * value)} {unit}"


def _interval(one: evaluated.Estimate, unit: str) -> str:
    factor = 100 if unit == "%" else 1
    return "" if np.isnan(one.low) else f"{evaluated.text(factor * one.low)} to {evaluated.text(factor * one.high)}"


def _reading(test: Scored) -> Iterable[str]:
    """Yield what a reader must know of the numbers, a paragraph each."""
    yield (
        f"**Resolution.** All numbers are at {OWN}: predicted masks have the size of their image, and are compared "
        "with the true masks as these are in their files."
    )
    yield " ".join(f"**{name.capitalize()}**: {metrics.definition(name)}" for name in metrics.OVERLAPS)
    unit = "millimetres, by the size of pixels that the files state" if test.unit == "mm" else "pixels of the files"
    yield (
        "**HD95** is the larger of two numbers: the 95th percentile of the distances from the true boundary to the "
        "predicted one, and that of the distances back. **ASSD** is the mean of all these distances. Both are in "
        f"{unit}; lower is better. An image whose truth or prediction lacks the class has none."
    )
    yield (
        "**n and 95 % intervals.** A score is computed for each image, then averaged. "
        + (
            "Images of one group are alike, so the interval treats groups as what was drawn: a test set of few groups "
            "has a wide one."
            if test.grouped
            else "The interval takes images for independent draws: where several are of one patient, video or slide, "
            "it is too narrow; give their groups."
        )
        + " It says how much the mean would vary with other images such as these, for the same network; it is cut at "
        "0 and 100 %."
    )
    if foretold := evaluated.foretelling(test):
        yield (
            f"**Disagreement.** Spearman's correlation between an image's Jaccard and how much the runs disagree on it "
            f"is {foretold.spearman:.2f}, n = {foretold.images} images: near -1, the images that the runs disagree on "
            "are those with the worst masks; near 0, their disagreement tells nothing."
        )
    yield (
        f"**Empty masks.** An image's class in neither truth nor prediction {EMPTY[test.empty]}. Any other ratio "
        "0/0, such as the precision where nothing is predicted, scores 0. **Pixels** that the true masks do not "
        "annotate are not scored."
    )


def _colours(truth: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    return overlays.ignored(truth) | overlays.errors(truth, predicted)


def panels(one: Shown) -> list[np.ndarray]:
    """Return the image with the truth's outline, and the same with errors painted, each (h, w, 3) uint8."""
    height, width = one.truth.shape
    scale = SIDE / max(height, width)
    scale = max(1, int(scale)) if scale >= 1 else scale
    size = max(1, round(scale * width)), max(1, round(scale * height))
    picture = pillow.picture(one.image).convert("RGB")
    ground = np.asarray(picture.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST))
    truth, predicted = (
        np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
        for labels in (one.truth, one.predicted)
    )
    errors = overlays.paint(ground, _colours(truth, predicted))
    return [_outlined(overlays.paint(ground, overlays.ignored(truth)), truth, 2), _outlined(errors, truth, 1)]


def _outlined(picture: np.ndarray, truth: np.ndarray, width: int) -> np.ndarray:
    """Draw the outlines of all foreground classes."""
    drawn, (white, black) = picture.copy(), overlays.outline(truth, width)
    drawn[black] = 0
    drawn[white] = 255
    return drawn
