"""How figures look: in print, to the colour-blind, and in grey."""

from collections.abc import Iterable, Iterator
from typing import Any

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe & Ito
SOLID, DASHED, DOTTED = "-", (0, (4, 2)), (0, (5, 1.5, 1, 1.5))
INK = "#262626"  # of all text and lines; the page shows it in its own colour of text
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
    "xtick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.color": INK,
    "ytick.major.width": 0.6,
}
"""Matplotlib's settings, for `matplotlib.rc_context`."""


def by_model(models: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each model, and what draws its line: a sharp network solid, a plain one dashed, in colours of their own; from
    the eighth model on they come again, dotted between dashes."""
    for index, name in enumerate(models):
        again, colour = divmod(index, len(COLOURS))
        dashes = DOTTED if again else SOLID if "sharp_" in name else DASHED
        yield name, {"color": COLOURS[colour], "linestyle": dashes}
