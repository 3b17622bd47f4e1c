"""Figures 4, 6, 7 and 8 of the paper: images chosen by score, with truth and what every model made of them."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.palette import INK
from sharp_unet_jax.report import overlays, pairing
from sharp_unet_jax.report.figures import Plate, Predicted
from sharp_unet_jax.report.records import Sweep

COLUMNS = 5  # pictures beside each other, at most
WIDTH = 7.0  # inches, at most: a page's


def plates(sweep: Sweep, predicted: Predicted) -> list[Plate]:
    """A plate a plain model and its sharp twins, or model without any, with the errors painted.

    `predicted` is that of `overlays.predictions`. [] where it or the prepared images are not there.
    """
    if sweep.prepared is None:
        return []
    return [_plate(sweep, predicted, models) for models in pairing.families(sweep) if set(models) <= set(predicted)]


def _plate(sweep: Sweep, predicted: Predicted, models: list[str]) -> Plate:
    assert sweep.prepared is not None
    images, masks, rows = sweep.prepared
    choices, names = overlays.choose(sweep, predicted, models), pairing.short_names(sweep)
    height, width = masks.shape[1:]
    cells = [None, *models]
    columns = min(len(cells), COLUMNS)
    lines = -(-len(cells) // columns)
    side = min(1.65, WIDTH / columns)
    entries = 4 if columns > 2 else 2  # of the legend, side by side
    size = side * columns, (side * height / width + 0.17) * lines * len(choices) + (0.45 if entries == 4 else 0.62)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0))
    grid = figure.subplots(lines * len(choices), columns, squeeze=False).reshape(len(choices), -1)
    seen = set()
    for line, choice in zip(grid, choices, strict=True):
        image, truth = images[rows[choice.image_id]], masks[rows[choice.image_id]]
        for axes, model in zip(line, cells, strict=False):
            wrong = {}
            if model is not None:
                wrong = overlays.errors(truth, predicted[model][choice.image_id].labels)
                seen |= {colour for colour, mask in wrong.items() if mask.any()}
            axes.imshow(overlays.paint(image, wrong), interpolation="nearest")
            if model is None or lines == 1:
                outline(axes, truth, width=0.7 if model is None else 0.35)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            score = "" if model is None else f"{100 * predicted[model][choice.image_id].jaccard:.1f} %"
            name = f"{names[model]} {score}" if model and lines > 1 else score
            axes.set_xlabel(name or choice.why, labelpad=1.5, fontsize=7 if lines > 1 else 8)
        for unused in line[len(cells) :]:
            unused.remove()
    if lines == 1:
        for axes, name in zip(grid[0], ("truth", *models), strict=True):
            axes.set_title(name)
    handles: list[Any] = [Line2D([], [], color=INK, mfc="white", lw=1, label="truth's outline")]
    handles += [Patch(fc=colour, lw=0, label=text) for colour, text in overlays.MEANING.items() if colour in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=entries, columnspacing=1)
    ids = "; ".join(f"{choice.why}: {choice.image_id}" for choice in choices)
    caption = (
        "Images chosen by their Jaccard index, not by hand, each predicted by the run that did not see it; "
        f"below them the Jaccard index. {ids}."
    )
    what = " and ".join(models) if len(models) < 3 else f"{models[0]} and its {len(models) - 1} sharp twins"
    name = models[0] if len(models) > 2 else models[-1]
    return Plate(f"examples-{name}", f"Best, worst and most different: {what}", caption, figure)


def outline(axes: Axes, labels: np.ndarray, width: float) -> None:
    """The outlines of all foreground classes of a label map (H, W), white on black: seen on any ground.

    `width` is in points: thin beside errors, and in plates of many models left out, for it hides what is wrong with
    fine structures.
    """
    for label in np.unique(labels[(labels > 0) & (labels != IGNORE)]):
        for colour, line in (("black", 2 * width), ("white", width)):
            axes.contour(labels == label, levels=[0.5], colors=colour, linewidths=line)
