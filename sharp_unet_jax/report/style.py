"""The look of figures: in print, in grey, and for readers who are colour-blind."""

from collections.abc import Mapping
from typing import Any

from sharp_unet_jax.palette import INK, MODELS
from sharp_unet_jax.report.records import Model

SOLID, DASHED, DOTTED = "-", (0, (4, 2)), (0, (5, 1.5, 1, 1.5))
RC: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "figure.facecolor": "none",
    "font.size": 8,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "patch.edgecolor": INK,
    "savefig.facecolor": "none",
    "svg.hashsalt": "sharp_unet_jax",  # the same records give the same bytes
    "text.color": INK,
    "text.parse_math": False,  # folders, images and classes may have names such as "a$b^$"
    "xtick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.color": INK,
    "ytick.major.width": 0.6,
}
"""Matplotlib's settings, for `matplotlib.rc_context`."""


def lines(models: Mapping[str, Model]) -> dict[str, dict[str, Any]]:
    """Return what draws each model's line: solid for sharp skips, dashed for plain ones, each model in its own colour.

    From the eighth model on the colours repeat, with lines of dots and dashes.
    """
    looks = {}
    for index, (name, model) in enumerate(models.items()):
        again, colour = divmod(index, len(MODELS))
        dashes = DOTTED if again else DASHED if model.skip == "plain" else SOLID
        looks[name] = {"color": MODELS[colour], "linestyle": dashes}
    return looks
