"""Figures of explanations: Grad-CAM at each skip connection (the paper's Figure 9), and what a sharp block does.

They are drawn only from arrays. A caller wraps them in `matplotlib.rc_context(style.RC)`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sharp_unet_jax.data import pixels
from sharp_unet_jax.palette import BLUE, INK, ORANGE, SKY

LEVELS = ("first", "second", "third", "fourth", "fifth", "sixth")
HEAT = "inferno"  # lightness rises monotonically: it reads in grey, and to the colour-blind


class Row(NamedTuple):
    """A run's Grad-CAM for one image."""

    title: str
    predicted: np.ndarray  # (H, W) bool: pixels predicted as the class
    maps: np.ndarray  # (calls, H, W), 0 or more


def gradcam(
    image: np.ndarray, truth: np.ndarray | None, region: np.ndarray | None, label: str, rows: Sequence[Row]
) -> Figure:
    """Draw a row for each run: its prediction of a class, and its Grad-CAM at each skip connection.

    Each map has a colour scale of its own.

    Args:
        image: (H, W, C) uint8.
        truth: (H, W) bool, outlined if given.
        region: (H, W) bool, what the maps explain; None is each run's prediction.
        label: name of the class.
        rows: of the runs.
    """
    levels = max(len(row.maps) for row in rows)
    height, width = image.shape[:2]
    side = 1.45
    size = side * (levels + 1) + 0.2, len(rows) * (side * height / width + 0.02) + 0.4
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), levels + 1, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        _picture(line[0], image)
        line[0].set_ylabel(row.title)
        for axis, heat in zip(line[1:], row.maps, strict=False):
            axis.imshow(heat, cmap=HEAT, vmin=0, vmax=max(float(heat.max()), 1e-12))
            _bare(axis)
            if not heat.any():
                axis.text(0.5, 0.5, "nothing", color="white", ha="center", va="center", transform=axis.transAxes)
        for axis in line[: len(row.maps) + 1]:
            _outline(axis, row.predicted, ORANGE)
            if truth is not None:
                _outline(axis, truth, SKY, dashed=True)
            if region is not None:
                _outline(axis, region, "white")
        for axis in line[len(row.maps) + 1 :]:
            axis.set_axis_off()
    for number, axis in enumerate(axes[0]):
        axis.set_title("image" if number == 0 else _name(number - 1), fontsize=8)
    asked = "in the whole image" if region is not None and region.all() else "in the white box"
    where = "where it is predicted" if region is None else asked
    shown = "orange: prediction" + ("" if truth is None else "; blue dashes: truth")
    text = f"Grad-CAM for {label} {where}, at each join of maps, from 0 (black) to its own maximum; {shown}"
    figure.suptitle(text, fontsize=7, color=INK)
    return figure


def sharp_block(
    title: str,
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    spectra: Sequence[tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]],
) -> Figure:
    """Draw a row for each skip connection: its strongest channel before and after, and the spectrum of all channels.

    Args:
        title: of the figure.
        before: the encoder's maps (h, w, C), in the decoder's order.
        after: the same maps behind the sharp block.
        spectra: frequencies in cycles per pixel of the map and shares of the power, before and after.
    """
    height, width = before[-1].shape[:2]
    side = 1.6
    figure = Figure(figsize=(3.6 * side, len(before) * side * height / width + 0.8), layout="constrained")
    axes = figure.subplots(len(before), 3, squeeze=False, width_ratios=(1, 1, 1.3))
    for number, (line, low, high, pair) in enumerate(zip(axes, before, after, spectra, strict=True)):
        channel = int(np.argmax(low.var(axis=(0, 1))))
        line[0].imshow(low[..., channel], cmap="gray")
        reach = max(float(np.abs(high[..., channel]).max()), 1e-12)
        line[1].imshow(high[..., channel], cmap="RdBu_r", vmin=-reach, vmax=reach)
        line[0].set_ylabel(f"{_name(number)}\n{low.shape[0]}x{low.shape[1]}, {low.shape[2]} maps")
        for axis in line[:2]:
            _bare(axis)
        styles: tuple[dict[str, Any], ...] = ({"color": INK, "linestyle": (0, (4, 2))}, {"color": BLUE})
        for (frequency, share), style, text in zip(pair, styles, ("before", "after"), strict=True):
            line[2].plot(frequency, 100 * share, label=text, linewidth=1.2, **style)
        line[2].set_xlim(0, 0.5)
        line[2].set_ylim(bottom=0)
        line[2].tick_params(labelbottom=False)
    for axis, heading in zip(axes[0], ("before", "after (red +, blue -)", "share of the power, %"), strict=True):
        axis.set_title(heading, fontsize=8)
    axes[-1, 2].legend()
    axes[-1, 2].tick_params(labelbottom=True)
    axes[-1, 2].set_xlabel("frequency, cycles per pixel of the map")
    figure.suptitle(f"{title}: each skip's strongest map, and the spectrum of all", fontsize=8, color=INK)
    return figure


def _name(number: int) -> str:
    """Name the skip connection `number`, counted from 0; a decoder with dense skips has more than LEVELS."""
    return LEVELS[number] if number < len(LEVELS) else f"{number + 1}th"


def _picture(axis: Axes, image: np.ndarray) -> None:
    """Show an image (H, W, C) uint8 as `pixels.shown`."""
    axis.imshow(pixels.shown(image), cmap="gray", vmin=0, vmax=255)
    _bare(axis)


def _bare(axis: Axes) -> None:
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _outline(axis: Axes, mask: np.ndarray, colour: str, *, dashed: bool = False) -> None:
    if mask.any() and not mask.all():
        axis.contour(mask, levels=[0.5], colors=colour, linewidths=0.9, linestyles="--" if dashed else "-")
