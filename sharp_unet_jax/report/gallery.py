"""The pictures at the top of the page: the best, median and worst image, and those where models differ most, large.

A picture is the image once, and above it a transparent layer per panel: the truth's outline, then each model's errors.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from sharp_unet_jax.data import pillow
from sharp_unet_jax.palette import IGNORED, rgb
from sharp_unet_jax.report import overlays, pairing, shown
from sharp_unet_jax.report.figures import Predicted
from sharp_unet_jax.report.provenance import OWN, resolution
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.shown import Shown

SIDE = (
    640  # pixels of a picture's longer side: larger ones are shrunk, layers of smaller ones enlarged by whole factors
)
OPACITY = 0.72  # of errors
COLOURS = ("", *overlays.MEANING, IGNORED, "#ffffff", "#000000")  # of a layer's pixels; the first is transparent
WHITE, BLACK = len(COLOURS) - 2, len(COLOURS) - 1


class Panel(NamedTuple):
    """The truth or a prediction, laid over the image."""

    name: str  # "truth", or the model's short name
    score: str  # Jaccard; "" for the truth
    layer: str  # PNG as a `data:` address


class Case(NamedTuple):
    """An image to show."""

    why: str  # such as "worst of 6 models"
    id: str
    group: str  # "" where each image is its own
    width: int  # of the picture, in pixels: all panels have this size
    height: int
    image: str  # WebP as a `data:` address
    panels: list[Panel]


class Gallery(NamedTuple):
    """The pictures of a sweep."""

    cases: list[Case]
    legend: dict[str, str]  # the meaning of each colour that a picture has
    caption: str


def draw(sweep: Sweep, predicted: Predicted) -> Gallery:
    """Return the pictures; no cases without predictions or the prepared images.

    `predicted` comes from `overlays.predictions`.
    """
    models = [model for model in sweep.models if model in predicted]
    choices = overlays.choose(sweep, predicted, models) if models and sweep.prepared is not None else []
    pictures = {choice: shown.as_scored(sweep, predicted, choice.image_id) for choice in choices}
    cases = [_case(sweep, predicted, choice, picture) for choice, picture in pictures.items()]
    seen = {colour for each in pictures.values() for colour in _colours(each)}
    return Gallery(cases, overlays.legend(seen), _caption(sweep))


def _case(sweep: Sweep, predicted: Predicted, choice: overlays.Choice, picture: Shown) -> Case:
    names, image_id = pairing.short_names(sweep), choice.image_id
    height, width = _size(picture.truth.shape)
    panels = [Panel("truth", "", _layer(picture.truth, None, (width, height)))]
    for model, labels in picture.predicted.items():
        layer = _layer(picture.truth, labels, (width, height))
        panels.append(Panel(names[model], predicted[model][image_id].score, layer))
    image = pillow.picture(picture.image)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    group = sweep.groups[image_id] if sweep.folds["groups"] < sweep.folds["images"] else ""
    webp = pillow.address(image, "webp", quality=80, method=4)
    return Case(choice.why, image_id, group, width, height, webp, panels)


def _size(shape: Sequence[int]) -> tuple[int, int]:
    """Return the height and width of a layer for labels of `shape`."""
    scale = SIDE / max(shape)
    scale = int(scale) if scale >= 1 else scale
    return max(1, round(scale * shape[0])), max(1, round(scale * shape[1]))


def _colours(picture: Shown) -> list[str]:
    """Return the colours of errors, and of pixels that are not scored, that a picture has."""
    masks: list[Mapping[str, np.ndarray]] = [overlays.ignored(picture.truth)]
    masks += [overlays.errors(picture.truth, labels) for labels in picture.predicted.values()]
    return [colour for each in masks for colour, mask in each.items() if mask.any()]


def _layer(truth: np.ndarray, labels: np.ndarray | None, size: tuple[int, int]) -> str:
    """Return only the truth's outline, or thin above the errors of `labels`, as a PNG of `size` (width, height)."""
    wrong = overlays.ignored(truth) | ({} if labels is None else overlays.errors(truth, labels))
    layer = np.zeros(truth.shape, np.uint8)
    for colour, mask in wrong.items():
        layer[mask] = COLOURS.index(colour)
    large, outlined = (
        np.asarray(Image.fromarray(part).resize(size, Image.Resampling.NEAREST)) for part in (layer, truth)
    )
    white, black = overlays.outline(outlined, 2 if labels is None else 1)
    large = np.where(white, WHITE, np.where(black, BLACK, large)).astype(np.uint8)
    image = Image.fromarray(large).convert("P")
    image.putpalette([part for colour in COLOURS for part in (rgb(colour) if colour else (0, 0, 0))])
    alpha = [0, *[round(255 * OPACITY)] * (len(COLOURS) - 3), 255, 255]
    return pillow.address(image, "png", optimize=True, bits=4, transparency=bytes(alpha))


def _caption(sweep: Sweep) -> str:
    """Return how the images were chosen, and at which resolution they are drawn."""
    own = resolution(sweep) == OWN
    at = OWN if own else f"{resolution(sweep)}, the size of training"
    if not own and sweep.native is not None:
        at = f"{at}; outlines and errors are at {OWN}"
    repeats = ""
    if sweep.config["repeats"] > 1:
        repeats = " A score is the mean over repeats; “here” is that of the prediction shown, of the first repeat."
    return (
        "The images were chosen by their Jaccard index among those that have a foreground, not by hand. The run that "
        f"predicted an image was not trained on it.{repeats} Drawn from the prepared images at {at}."
    )
