"""Figures 4, 6, 7 and 8 of the paper: images chosen by score, with truth and every model's prediction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sharp_unet_jax.metrics import foreground
from sharp_unet_jax.palette import INK
from sharp_unet_jax.report import overlays, pairing, shown
from sharp_unet_jax.report.figures import Captioned, Predicted
from sharp_unet_jax.report.provenance import resolution, scored_at, scored_natively
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.shown import Shown

COLUMNS = 5  # pictures side by side, at most
WIDTH = 7.0  # inches: that of a page
TALLEST = 1.5  # height of a picture over that of a column's width; taller images are narrower than their column


def draw(sweep: Sweep, predicted: Predicted) -> list[Captioned]:
    """Return a figure for each family of twins, and for each model without twins, with errors painted.

    `predicted` comes from `overlays.predictions`. [] where it is empty or the prepared images are not there.
    """
    if sweep.prepared is None:
        return []
    return [_draw(sweep, predicted, models) for models in pairing.families(sweep) if set(models) <= set(predicted)]


def _draw(sweep: Sweep, predicted: Predicted, models: list[str]) -> Captioned:
    choices = overlays.choose(sweep, predicted, models)
    cells = [None, *models]  # None: the truth
    columns = min(len(cells), COLUMNS)
    lines = -(-len(cells) // columns)
    pictures = [shown.as_trained(sweep, predicted, choice.image_id) for choice in choices]
    figure, grid = _grid(pictures, lines, columns)
    seen: set[str] = set()
    for row, choice, picture in zip(grid, choices, pictures, strict=True):
        for axes, model in zip(row, cells, strict=False):
            seen |= _draw_picture(axes, picture, model, alone=lines == 1)
            axes.set_xlabel(_label(sweep, predicted, choice, model, alone=lines == 1), labelpad=1.5)
            axes.xaxis.label.set_size(8 if lines == 1 else 7)
        for unused in row[len(cells) :]:
            unused.remove()
    if lines == 1:
        for axes, name in zip(grid[0], ("truth", *models), strict=True):
            axes.set_title(name)
    handles: list[Any] = [Line2D([], [], color=INK, mfc="white", lw=1, label="truth's outline")]
    handles += [Patch(fc=colour, lw=0, label=text) for colour, text in overlays.legend(seen).items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=_legend_columns(columns), columnspacing=1)
    ids = "; ".join(f"{choice.why}: {choice.image_id}" for choice in choices)
    at = f" at {scored_at(sweep)}, the picture is at {resolution(sweep)}" if scored_natively(sweep) else ""
    caption = (
        "The images were chosen by their Jaccard index, not by hand. The run that predicted an image was not trained "
        f"on it. Below each prediction is its Jaccard index{at}. {ids}."
    )
    what = " and ".join(models) if len(models) < 3 else f"{models[0]} and its {len(models) - 1} sharp twins"
    name = models[0] if len(models) > 2 else models[-1]
    return Captioned(f"examples-{name}", f"Best, worst and most different: {what}", caption, figure)


def _grid(pictures: Sequence[Shown], lines: int, columns: int) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes (images, lines x columns); rows are as high as their images at one width."""
    shapes = [picture.truth.shape for picture in pictures]
    heights = [min(height / width, TALLEST) for height, width in shapes for _ in range(lines)]
    side = min(1.65, WIDTH / columns)
    legend = 0.45 if _legend_columns(columns) == 4 else 0.62  # inches
    size = side * columns, side * sum(heights) + 0.17 * len(heights) + legend
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0))
    grid = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    return figure, grid.reshape(len(pictures), -1)


def _legend_columns(columns: int) -> int:
    return 4 if columns > 2 else 2


def _draw_picture(axes: Axes, picture: Shown, model: str | None, *, alone: bool) -> set[str]:
    """Draw an image with a model's errors, or with the truth's outline for None; return the colours of errors.

    `alone`: the models stand in one line under their names; otherwise each picture bears its model's name.
    """
    truth = picture.truth
    wrong = {} if model is None else overlays.errors(truth, picture.predicted[model])
    axes.imshow(overlays.paint(picture.image, overlays.ignored(truth) | wrong), interpolation="nearest")
    if model is None or alone:
        outline(axes, truth, width=0.7 if model is None else 0.35)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return {colour for colour, mask in (overlays.ignored(truth) | wrong).items() if mask.any()}


def _label(sweep: Sweep, predicted: Predicted, choice: overlays.Choice, model: str | None, *, alone: bool) -> str:
    """Return the text below a picture: why it was chosen, or the model's score."""
    if model is None:
        return choice.why
    score = predicted[model][choice.image_id].score
    return score if alone else f"{pairing.short_names(sweep)[model]} {score}"


def outline(axes: Axes, labels: np.ndarray, width: float) -> None:
    """Draw the outlines of all foreground classes of a label map (H, W), white on black: visible on any ground.

    `width` is in points: thin beside errors, as a wide line would hide errors of fine structures. An image that is one
    pixel high or wide has no outline.
    """
    if min(labels.shape) < 2:  # which matplotlib refuses
        return
    for label in np.unique(labels[foreground(labels)]):
        for colour, line in (("black", 2 * width), ("white", width)):
            axes.contour(labels == label, levels=[0.5], colors=colour, linewidths=line)
