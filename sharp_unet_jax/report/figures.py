"""Figures of scores: by epoch, by model and by image. They suit print, and readers who are colour-blind."""

import io
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sharp_unet_jax.palette import INK, PLAIN, SHARP
from sharp_unet_jax.report import other_overlaps, overlays, pairing, published, statistics
from sharp_unet_jax.report.provenance import epochs_scored
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.storage.atomic import replacing, write_text

DPI = 300  # of PNGs
WIDTH = 5.9  # inches: two such figures fit side by side on the page
HEIGHT = 0.36  # inches: of a model's mean, with its runs below
Predicted = dict[str, dict[str, overlays.Prediction]]


class Captioned(NamedTuple):
    """A figure of the report with its title and caption."""

    name: str  # the stem of its files, such as "curves"
    title: str
    caption: str
    figure: Figure


def save(drawn: Captioned, folder: Path) -> None:
    """Write NAME.svg and NAME.png (DPI dots per inch, on white) to `folder`."""
    write_text(folder / f"{drawn.name}.svg", svg(drawn.figure))
    drawn.figure.set_layout_engine("none")  # the SVG has laid it out; doing it again takes longer than drawing
    with replacing(folder / f"{drawn.name}.png") as temporary:
        drawn.figure.savefig(temporary, format="png", dpi=DPI, facecolor="white")


def svg(figure: Figure) -> str:
    """Return `figure` as SVG, with letters as outlines: it looks the same everywhere."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def draw(sweeps: Mapping[str, Sweep]) -> list[Captioned]:
    """Return curves, means and, where models have twins, scatter of all sweeps by label; [] without finished runs."""
    drawn = (draw_one(sweeps) for draw_one in (curves, means, more_means, scatter))
    return [each for each in drawn if each is not None]


def curves(sweeps: Mapping[str, Sweep]) -> Captioned | None:
    """Return Figure 3: validation Jaccard by epoch, a panel per sweep and pair of twins; None without runs."""
    panels = [(label, sweep, models) for label, sweep in sweeps.items() for models in pairing.panels(sweep)]
    if not panels:
        return None
    figure, all_axes = _grid(len(panels), width=3.0, height=2.45)
    bottom = 100.0  # of all panels, so that they can be compared
    for axes, (label, sweep, models) in zip(all_axes, panels, strict=True):
        for model in models:
            mean, std = band(sweep.epochs[sweep.epochs["model"] == model])
            bottom = min(bottom, 10 * np.floor((mean - std).min() / 10))
            colour, dash = _colour(sweep, model), "--" if sweep.models[model].skip == "plain" else "-"
            name = pairing.short_names(sweep)[model]
            (line,) = axes.plot(mean.index, mean, color=colour, ls=dash, lw=1.4, label=name)
            low, high = (mean - std).clip(lower=0), (mean + std).clip(upper=100)
            axes.fill_between(mean.index, low, high, color=line.get_color(), alpha=0.18, lw=0)
        axes.set(xlabel="epoch", ylabel="validation Jaccard (%)")
        axes.set_title(textwrap.fill(label, 38), loc="left", pad=27)
        axes.margins(x=0.01)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        # One line per model: two names of networks side by side can be wider than the panel.
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.97), labelspacing=0.15, borderpad=0.2)
    for axes in all_axes:
        axes.set_ylim(max(bottom, 0), 100)
    caption = (
        "Jaccard index on the validation images after each epoch: the mean over folds and repeats, in a band of one "
        "standard deviation. A run that stopped early keeps the value of its last epoch."
    )
    otherwise = {label: how for label, sweep in sweeps.items() if (how := epochs_scored(sweep))}
    caption += "".join(f" {label}: epochs are scored {how}." for label, how in otherwise.items())
    return Captioned("curves", "Validation by epoch", caption, figure)


def band(epochs: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return the mean and standard deviation over runs of validation Jaccard in per cent, index `epoch`.

    A run that stopped early keeps its last value, so that the mean of every epoch is over the same runs.
    """
    wide = 100 * epochs.pivot(index="epoch", columns="run", values="validation_jaccard").ffill()
    return wide.mean(axis=1), wide.std(axis=1, ddof=1).fillna(0)


def means(sweeps: Mapping[str, Sweep]) -> Captioned | None:
    """Return Figure 5: Jaccard and Dice on the test images by model, a row of panels per sweep; None without runs."""
    finished = {label: sweep for label, sweep in sweeps.items() if sweep.finished}
    return _all_means("scores", "Scores by model", finished, published.OVERLAPS)


def more_means(sweeps: Mapping[str, Sweep]) -> Captioned | None:
    """Return "overlaps": as `means`, of overlaps that the paper does not report; None where no record holds them."""
    recorded = {label: sweep for label, sweep in sweeps.items() if other_overlaps.recorded(sweep)}
    return _all_means("overlaps", f"{other_overlaps.TITLE} by model", recorded, other_overlaps.NAMES)


def _all_means(name: str, title: str, sweeps: Mapping[str, Sweep], overlaps: tuple[str, ...]) -> Captioned | None:
    if not sweeps:
        return None
    heights = [0.65 + HEIGHT * sweep.runs["model"].nunique() for sweep in sweeps.values()]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.25), layout="constrained")
    grid = figure.subplots(
        len(sweeps), len(overlaps), squeeze=False, sharex="col", sharey="row", gridspec_kw={"height_ratios": heights}
    )
    for row, (label, sweep) in zip(grid, sweeps.items(), strict=True):
        for axes, metric in zip(row, overlaps, strict=True):
            _means(axes, sweep, metric)
        row[0].set_title(label if len(sweeps) > 1 else "", loc="left")
    for axes, metric in zip(grid[-1], overlaps, strict=True):
        low, high = axes.get_xlim()
        axes.set(xlim=(max(low, 0), min(high, 101)), xlabel=f"{metric.capitalize()} (%)")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    handles = [
        Line2D([], [], color=INK, marker="o", ms=3, alpha=0.5, lw=0, label="a run"),
        Line2D([], [], color=INK, marker="s", ms=5, lw=1.6, label="mean, 95 % interval"),
    ]
    if overlaps == published.OVERLAPS and any(published.knows(sweep) for sweep in sweeps.values()):
        handles.append(Line2D([], [], color=INK, marker="D", ms=5, mfc="white", lw=0, label="paper"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    caption = "Scores on the test images. The axes begin where the scores do."
    return Captioned(name, title, caption, figure)


def scatter(sweeps: Mapping[str, Sweep]) -> Captioned | None:
    """Return each test image's Jaccard, sharp against plain, a panel per sweep and pair; None without twins."""
    panels = [
        (label, sweep, pair)
        for label, sweep in sweeps.items()
        for pair in pairing.panels(sweep)
        if len(pair) == 2 and sweep.has_images
    ]
    if not panels:
        return None
    figure, all_axes = _grid(len(panels), width=2.7, height=2.85)
    for axes, (label, sweep, (plain, sharp)) in zip(all_axes, panels, strict=True):
        scores, names = 100 * by_image(sweep)[[sharp, plain]].dropna(), pairing.short_names(sweep)
        higher, lower = (scores[sharp] > scores[plain]).sum(), (scores[sharp] < scores[plain]).sum()
        low = 10 * np.floor(scores.to_numpy().min(initial=100) / 10).clip(0, 9)
        axes.plot([low, 100], [low, 100], color=INK, lw=0.6, ls=":")
        alpha = float(np.clip(20 / len(scores) ** 0.5, 0.15, 0.8)) if len(scores) else 1
        axes.scatter(scores[plain], scores[sharp], s=14, color=SHARP, alpha=alpha, lw=0, clip_on=False, zorder=3)
        axes.set(xlabel=f"{names[plain]}, Jaccard (%)", ylabel=f"{names[sharp]}, Jaccard (%)", aspect="equal")
        above = f"{textwrap.fill(label, 34)}\n" if len(sweeps) > 1 else ""
        axes.set_title(f"{above}sharp higher in {higher}, plain in {lower}", loc="left")
        axes.set(xlim=(low, 100), ylim=(low, 100))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    caption = "Each point is a test image: its mean Jaccard index over repeats. Above the diagonal, sharp is higher."
    return Captioned("scatter", "Image by image", caption, figure)


def by_image(sweep: Sweep) -> pd.DataFrame:
    """Return each test image's mean Jaccard over repeats: a row per image, index `image_id`, a column per model."""
    scores = {model: statistics.image_scores(sweep, model)["jaccard"] for model in sweep.models}
    return pd.DataFrame({model: values.groupby("image_id").mean() for model, values in scores.items()})


def _grid(number: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(number, 3)
    lines = -(-number // columns)
    figure = Figure(figsize=(width * columns, height * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for unused in axes[number:]:
        unused.remove()
    return figure, list(axes[:number])


def _means(axes: Axes, sweep: Sweep, metric: str) -> None:
    """Draw each model's mean with its interval, the runs below it and the paper's score; plain models are round."""
    models = [model for family in pairing.families(sweep) for model in family]
    names = [pairing.short_names(sweep)[model] for model in models]
    for place, model in enumerate(models):
        values = sweep.scores(model, metric).dropna()
        mean, colour = statistics.score(sweep, model, metric), _colour(sweep, model)
        axes.plot([mean.low, mean.high], [place, place], color=colour, lw=1.6, solid_capstyle="butt", zorder=3)
        marker = "o" if sweep.models[model].skip == "plain" else "s"
        axes.plot(mean.mean, place, marker=marker, ms=5, color=colour, mec="white", mew=0.6, zorder=5)
        axes.scatter(values, np.full(len(values), place + 0.3), s=9, color=colour, alpha=0.5, lw=0, zorder=4)
        if np.isfinite(cited := published.scores(sweep, model).get(f"{metric}_mean", np.nan)):
            axes.scatter(cited, place, s=24, marker="D", color="white", ec=INK, lw=1, zorder=4)
    axes.set(yticks=range(len(models)), yticklabels=names, ylim=(len(models) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=INK, alpha=0.12, lw=0.5)


def _colour(sweep: Sweep, model: str) -> str:
    return PLAIN if sweep.models[model].skip == "plain" else SHARP
