"""Forest plots: a line for each difference between two models, with its interval. Sharp minus plain, and kernels."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sharp_unet_jax.palette import INK, SHARP
from sharp_unet_jax.report import kernels, pairing, statistics
from sharp_unet_jax.report.figures import Captioned
from sharp_unet_jax.report.records import Sweep

CAPTION = (
    "In points of Jaccard. A dot is the difference in one fold; the diamond is the mean over folds and repeats, the "
    "line its 95 % interval. The interval is corrected for the training images that folds share, but not for the "
    "number of differences shown: the tables say which differences hold after that, and whether folds split groups. "
    f"Fewer than {statistics.FEWEST} runs have no interval."
)
Row = tuple[str, tuple[Sweep, str, str]]  # label; sweep, first model, second model: first minus second


def draw(sweeps: Mapping[str, Sweep]) -> list[Captioned]:
    """Return the forest plots of sweeps by label: "differences", "kernels", or neither.

    "differences" is sharp minus plain, where there are several. "kernels" is each kernel minus plain skips and minus
    the paper's kernel, for sweeps that compare kernels.
    """
    compared = {label: sweep for label, sweep in sweeps.items() if pairing.kernel_variants(sweep)}
    wanted = [
        (f"{label}: {sharp} minus {plain}", (sweep, sharp, plain))
        for label, sweep in sweeps.items()
        if label not in compared
        for plain, *twins in pairing.families(sweep)
        for sharp in twins
    ]
    return ([_differences(wanted)] if len(wanted) > 1 else []) + ([_kernels(compared)] if compared else [])


def _differences(rows: Sequence[Row]) -> Captioned:
    figure = Figure(figsize=(6.6, 0.85 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    _forest(axes, rows)
    axes.set_xlabel("difference in points of Jaccard")
    _legend(figure)
    return Captioned("differences", "Sharp minus plain", CAPTION, figure)


def _kernels(sweeps: Mapping[str, Sweep]) -> Captioned:
    heights = [0.75 + 0.34 * len(pairing.kernel_variants(sweep)) for sweep in sweeps.values()]
    figure = Figure(figsize=(7, sum(heights) + 0.3), layout="constrained")
    grid = figure.subplots(len(sweeps), 2, sharey="row", squeeze=False, gridspec_kw={"height_ratios": heights})
    for panels, (label, sweep) in zip(grid, sweeps.items(), strict=True):
        reference, names = pairing.reference_kernel(sweep), pairing.short_names(sweep)
        plain = pairing.plain_twin(sweep, reference)
        for axes, other in zip(panels, (plain, reference), strict=True):
            variants = pairing.kernel_variants(sweep)
            _forest(axes, [(_described(sweep, model), (sweep, model, other)) for model in variants if other])
            axes.set_xlabel(f"Jaccard minus that of {names[other] if other else 'the plain network'} (points)")
        panels[0].set_title(label, loc="left")
    _legend(figure)
    return Captioned("kernels", "Kernels of the sharp block", CAPTION, figure)


def _described(sweep: Sweep, model: str) -> str:
    total, scale = kernels.sum_and_scale(sweep.models[model].kernel)
    return f"{pairing.short_names(sweep)[model]}\nsum {total}, scale {scale}"


def _forest(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw the rows from the top."""
    axes.axvline(0, color=INK, lw=0.6, ls=":")
    for place, (_, (sweep, first, second)) in enumerate(rows):
        if first == second:
            axes.annotate("reference", (0, place), (-4, 0), textcoords="offset points", ha="right", va="center")
            continue
        delta = statistics.differences(sweep, first, second).dropna()
        mean = statistics.corrected_t(delta, statistics.test_ratio(sweep))
        axes.plot([mean.low, mean.high], [place, place], color=SHARP, lw=1.6, solid_capstyle="butt", zorder=3)
        axes.scatter(delta, np.full(len(delta), place - 0.26), s=7, color=INK, alpha=0.6, lw=0, zorder=4)
        axes.plot(mean.mean, place, marker="D", ms=5, color=SHARP, mec="white", mew=0.6, zorder=5)
    axes.set(yticks=range(len(rows)), yticklabels=[name for name, _ in rows], ylim=(len(rows) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.grid(axis="x", color=INK, alpha=0.12, lw=0.5)


def _legend(figure: Figure) -> None:
    handles = [
        Line2D([], [], color=INK, marker="o", ms=3, lw=0, alpha=0.6, label="a run"),
        Line2D([], [], color=SHARP, marker="D", ms=5, mec="white", lw=1.6, label="mean, 95 % interval"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
