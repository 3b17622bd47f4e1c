"""Forest plots: a line for each difference between two models, with its interval. Sharp minus plain, and kernels."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from sharp_unet_jax.palette import INK, SHARP
from sharp_unet_jax.report import figures, kernels, pairing, statistics
from sharp_unet_jax.report.figures import Captioned
from sharp_unet_jax.report.records import Sweep

CAPTION = (
    "In points of Jaccard. A dot is one fold; the diamond is the mean over folds and repeats. The intervals are not "
    "adjusted for the number of differences shown: the tables say which differences hold."
)
MEAN = " A dot of the wide diamond is the mean over networks in one fold."
WIDE = Path([(-1, 0), (0, 0.5), (1, 0), (0, -0.5), (-1, 0)])  # the wide diamond
Row = tuple[str, pd.Series | None]  # label; differences by run, or None for the reference that others are compared with


def draw(sweeps: Mapping[str, Sweep]) -> list[Captioned]:
    """Return the forest plots of sweeps by label: "differences", "kernels", or neither.

    "differences" is sharp minus plain by network, where there are several, and the mean over networks. "kernels" is
    each kernel minus plain skips and minus the paper's kernel, for sweeps that compare kernels.
    """
    compared = {label: sweep for label, sweep in sweeps.items() if pairing.kernel_variants(sweep)}
    others = {label: sweep for label, sweep in sweeps.items() if label not in compared and pairing.twins(sweep)}
    several = sum(len(pairing.twins(sweep)) for sweep in others.values()) > 1
    return ([_differences(others)] if several else []) + ([_kernels(compared)] if compared else [])


def _differences(sweeps: Mapping[str, Sweep]) -> Captioned:
    rows = {
        label: [(name, statistics.differences(sweep, *pair)) for pair, name in pairing.twin_names(sweep).items()]
        for label, sweep in sweeps.items()
    }
    means = {label: _mean(sweep) for label, sweep in sweeps.items()}
    heights = [0.3 * (len(rows[label]) + len(means[label])) + 0.35 * (len(sweeps) > 1) for label in sweeps]
    figure = Figure(figsize=(figures.WIDTH, sum(heights) + 1), layout="constrained")
    grid = figure.subplots(len(sweeps), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, (label, sweep) in zip(grid.flat, sweeps.items(), strict=True):
        _forest(axes, sweep, rows[label], means[label])
        axes.set_title(label if len(sweeps) > 1 else "", loc="left")
    axes.set_xlabel("sharp minus plain, in points of Jaccard\nright of the dotted line, sharp is higher")
    _legend(figure, with_means=any(means.values()))
    caption = CAPTION + MEAN * any(means.values())
    return Captioned("differences", "Does the sharp block help? Sharp minus plain", caption, figure)


def _mean(sweep: Sweep) -> list[Row]:
    """Return the row of the mean over networks; [] where there is no such mean."""
    pairs = pairing.one_a_network(sweep)
    return [(f"mean of {len(pairs)} networks", statistics.mean_differences(sweep, pairs))] if pairs else []


def _kernels(sweeps: Mapping[str, Sweep]) -> Captioned:
    heights = [0.75 + 0.34 * len(pairing.kernel_variants(sweep)) for sweep in sweeps.values()]
    figure = Figure(figsize=(7, sum(heights) + 0.3), layout="constrained")
    grid = figure.subplots(len(sweeps), 2, sharey="row", squeeze=False, gridspec_kw={"height_ratios": heights})
    for panels, (label, sweep) in zip(grid, sweeps.items(), strict=True):
        reference, names = pairing.reference_kernel(sweep), pairing.short_names(sweep)
        plain = pairing.plain_twin(sweep, reference)
        for axes, other in zip(panels, (plain, reference), strict=True):
            variants = pairing.kernel_variants(sweep) if other else []
            _forest(axes, sweep, [(_described(sweep, model), _delta(sweep, model, other)) for model in variants])
            axes.set_xlabel(f"Jaccard minus that of {names[other] if other else 'the plain network'} (points)")
        panels[0].set_title(label, loc="left")
    _legend(figure)
    return Captioned("kernels", "Kernels of the sharp block", CAPTION, figure)


def _described(sweep: Sweep, model: str) -> str:
    total, scale = kernels.sum_and_scale(sweep.models[model].kernel)
    return f"{pairing.short_names(sweep)[model]}\nsum {total}, scale {scale}"


def _delta(sweep: Sweep, model: str, other: str | None) -> pd.Series | None:
    return None if other is None or model == other else statistics.differences(sweep, model, other)


def _forest(axes: Axes, sweep: Sweep, rows: Sequence[Row], means: Sequence[Row] = ()) -> None:
    """Draw the rows from the top, those of `means` as wide diamonds below the others."""
    axes.axvline(0, color=INK, lw=0.6, ls=":")
    every = [*rows, *means]
    for place, (_, delta) in enumerate(every):
        if delta is None:
            axes.annotate("reference", (0, place), (-4, 0), textcoords="offset points", ha="right", va="center")
            continue
        mean = statistics.over_runs(sweep, delta)
        axes.scatter(delta, np.full(len(delta), place - 0.28), s=12, color=INK, alpha=0.6, lw=0, zorder=4)
        if place < len(rows):
            axes.plot([mean.low, mean.high], [place, place], color=SHARP, lw=1.6, solid_capstyle="butt", zorder=3)
            axes.plot(mean.mean, place, marker="D", ms=5, color=SHARP, mec="white", mew=0.6, zorder=5)
        else:
            corners = [mean.low, mean.mean, mean.high, mean.mean]
            axes.fill(corners, [place, place - 0.2, place, place + 0.2], color=INK, lw=0, zorder=3)
            axes.plot(mean.mean, place, marker=WIDE, ms=7, color=INK, zorder=5)
    if means:
        axes.axhline(len(rows) - 0.5, color=INK, lw=0.6, alpha=0.5)
    axes.set(yticks=range(len(every)), yticklabels=[name for name, _ in every], ylim=(len(every) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.grid(axis="x", color=INK, alpha=0.12, lw=0.5)


def _legend(figure: Figure, *, with_means: bool = False) -> None:
    handles = [
        Line2D([], [], color=INK, marker="o", ms=3.5, lw=0, alpha=0.6, label="a run"),
        Line2D([], [], color=SHARP, marker="D", ms=5, mec="white", lw=1.6, label="mean, 95 % interval"),
    ]
    if with_means:
        label = "mean over networks, 95 % interval"
        handles.append(Line2D([], [], color=INK, marker=WIDE, ms=14, lw=0, label=label))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
