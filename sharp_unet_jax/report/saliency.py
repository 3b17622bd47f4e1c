"""Pictures of what a network looks at: Grad-CAM at each concatenation (Figure 9), and what a sharp block does.

From arrays alone; a caller wraps them in `matplotlib.rc_context(style.RC)`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sharp_unet_jax.report.style import COLOURS, INK

LEVELS = ("first", "second", "third", "fourth", "fifth", "sixth")
HEAT = "inferno"  # lightness rises all the way: it reads in grey, and to the colour-blind


class Row(NamedTuple):
    """A run's maps for one image."""

    title: str
    predicted: np.ndarray  # (H, W) bool: the class
    maps: np.ndarray  # (levels, H, W) from 0 up


def gradcam(
    image: np.ndarray, truth: np.ndarray | None, region: np.ndarray | None, label: str, rows: Sequence[Row]
) -> Figure:
    """A row a run: what it predicts as the class `label`, and its map at each concatenation, on a scale of its own.

    `image` (H, W, C) uint8; `truth` and `region` (H, W) bool, outlined where given. White outlines: the prediction.
    """
    levels = len(rows[0].maps)
    height, width = image.shape[:2]
    side = 1.45
    figure = Figure(figsize=(side * (levels + 1) + 0.3, len(rows) * (side * height / width + 0.2) + 0.4))
    axes = figure.subplots(len(rows), levels + 1, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        _picture(line[0], image)
        _outline(line[0], row.predicted, COLOURS[4])
        if truth is not None:
            _outline(line[0], truth, COLOURS[5], dashed=True)
        line[0].set_ylabel(row.title)
        for axis, heat in zip(line[1:], row.maps, strict=True):
            axis.imshow(heat, cmap=HEAT, vmin=0, vmax=max(float(heat.max()), 1e-12))
            _outline(axis, row.predicted if region is None else region, "white")
            _bare(axis)
            if not heat.any():
                axis.text(0.5, 0.5, "nothing", color="white", ha="center", va="center", transform=axis.transAxes)
    axes[0, 0].set_title("image")
    for axis, name in zip(axes[0, 1:], LEVELS, strict=False):
        axis.set_title(f"{name} concatenation")
    shown = "orange: predicted" + ("" if truth is None else ", blue dashes: truth")
    asked = "prediction" if region is None else "region"
    figure.suptitle(
        f"Grad-CAM for {label} in the {asked} (white); every map from 0 (black) to its own maximum; {shown}",
        fontsize=7,
        color=INK,
    )
    return figure


def sharp_block(
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    spectra: Sequence[tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]],
) -> Figure:
    """A row a level, coarsest first: the strongest channel before and after its sharp block, the spectrum of all.

    `before`, `after` (h, w, C); `spectra` has of each the frequencies (cycles a pixel of the map) and shares of power.
    """
    height, width = before[-1].shape[:2]
    side = 1.6
    figure = Figure(figsize=(2 * side + 3.4, len(before) * side * height / width + 0.6))
    axes = figure.subplots(len(before), 3, squeeze=False, width_ratios=(1, 1, 1.5))
    for line, low, high, pair, name in zip(axes, before, after, spectra, LEVELS, strict=False):
        channel = int(np.argmax(low.var(axis=(0, 1))))
        line[0].imshow(low[..., channel], cmap="gray")
        reach = max(float(np.abs(high[..., channel]).max()), 1e-12)
        line[1].imshow(high[..., channel], cmap="RdBu_r", vmin=-reach, vmax=reach)
        line[0].set_ylabel(f"{name} skip\n{low.shape[0]}x{low.shape[1]}x{low.shape[2]}")
        for axis in line[:2]:
            _bare(axis)
        styles: tuple[dict[str, Any], ...] = ({"color": INK, "linestyle": (0, (4, 2))}, {"color": COLOURS[0]})
        for (frequency, share), style, text in zip(pair, styles, ("before", "after"), strict=True):
            line[2].plot(frequency, 100 * share, label=text, linewidth=1.2, **style)
        line[2].set_xlim(0, 0.5)
        line[2].set_ylim(bottom=0)
    for axis, title in zip(axes[0], ("before", "after (red +, blue -)", "share of the power, %"), strict=True):
        axis.set_title(title)
    axes[0, 2].legend()
    axes[-1, 2].set_xlabel("spatial frequency, cycles a pixel of the map")
    return figure


def _picture(axis: Axes, image: np.ndarray) -> None:
    """Colours where there are three channels, else the first in grey."""
    axis.imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
    _bare(axis)


def _bare(axis: Axes) -> None:
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _outline(axis: Axes, mask: np.ndarray, colour: str, *, dashed: bool = False) -> None:
    if mask.any() and not mask.all():
        axis.contour(mask, levels=[0.5], colors=colour, linewidths=0.9, linestyles="--" if dashed else "-")
