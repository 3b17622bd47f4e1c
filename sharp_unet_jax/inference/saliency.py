"""Pictures of what a network looks at: Grad-CAM at each concatenation (Figure 9), and what a sharp block does.

From arrays alone; a caller wraps them in `matplotlib.rc_context(style.RC)`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sharp_unet_jax.palette import INK, MODELS

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

    `image` (H, W, C) uint8; `truth` (H, W) bool is outlined where given. `region` (H, W) bool is what the maps explain,
    None each run's prediction.
    """
    levels = len(rows[0].maps)
    height, width = image.shape[:2]
    side = 1.45
    size = side * (levels + 1) + 0.2, len(rows) * (side * height / width + 0.02) + 0.4
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), levels + 1, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        _picture(line[0], image)
        line[0].set_ylabel(row.title)
        for axis, heat in zip(line[1:], row.maps, strict=True):
            axis.imshow(heat, cmap=HEAT, vmin=0, vmax=max(float(heat.max()), 1e-12))
            _bare(axis)
            if not heat.any():
                axis.text(0.5, 0.5, "nothing", color="white", ha="center", va="center", transform=axis.transAxes)
        for axis in line:
            _outline(axis, row.predicted, MODELS[4])
            if truth is not None:
                _outline(axis, truth, MODELS[5], dashed=True)
            if region is not None:
                _outline(axis, region, "white")
    for axis, name in zip(axes[0], ("image", *LEVELS), strict=False):
        axis.set_title(name, fontsize=8)
    asked = "in the whole image" if region is not None and region.all() else "in the white box"
    where = "where it is predicted" if region is None else asked
    shown = "orange: prediction" + ("" if truth is None else "; blue dashes: truth")
    text = f"Grad-CAM for {label} {where}, at each concatenation, from 0 (black) to its own maximum; {shown}"
    figure.suptitle(text, fontsize=7, color=INK)
    return figure


def sharp_block(
    title: str,
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    spectra: Sequence[tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]],
) -> Figure:
    """A row a level, coarsest first: the strongest channel before and after its sharp block, the spectrum of all.

    `before`, `after` (h, w, C); `spectra` has of each the frequencies (cycles a pixel of the map) and shares of power.
    """
    height, width = before[-1].shape[:2]
    side = 1.6
    figure = Figure(figsize=(3.6 * side, len(before) * side * height / width + 0.8), layout="constrained")
    axes = figure.subplots(len(before), 3, squeeze=False, width_ratios=(1, 1, 1.3))
    for line, low, high, pair, name in zip(axes, before, after, spectra, LEVELS, strict=False):
        channel = int(np.argmax(low.var(axis=(0, 1))))
        line[0].imshow(low[..., channel], cmap="gray")
        reach = max(float(np.abs(high[..., channel]).max()), 1e-12)
        line[1].imshow(high[..., channel], cmap="RdBu_r", vmin=-reach, vmax=reach)
        line[0].set_ylabel(f"{name}\n{low.shape[0]}x{low.shape[1]}, {low.shape[2]} maps")
        for axis in line[:2]:
            _bare(axis)
        styles: tuple[dict[str, Any], ...] = ({"color": INK, "linestyle": (0, (4, 2))}, {"color": MODELS[0]})
        for (frequency, share), style, text in zip(pair, styles, ("before", "after"), strict=True):
            line[2].plot(frequency, 100 * share, label=text, linewidth=1.2, **style)
        line[2].set_xlim(0, 0.5)
        line[2].set_ylim(bottom=0)
        line[2].tick_params(labelbottom=False)
    for axis, heading in zip(axes[0], ("before", "after (red +, blue -)", "share of the power, %"), strict=True):
        axis.set_title(heading, fontsize=8)
    axes[-1, 2].legend()
    axes[-1, 2].tick_params(labelbottom=True)
    axes[-1, 2].set_xlabel("frequency, cycles a pixel of the map")
    figure.suptitle(f"{title}: each skip's strongest map, and the spectrum of all", fontsize=8, color=INK)
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
