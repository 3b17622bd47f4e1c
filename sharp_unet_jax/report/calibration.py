"""Calibration: is a probability of 0.8 right in 80 % of the pixels that have it?

For two classes the probability is that of the foreground, and a pixel is right if it is foreground. For more classes
the probability is that of the most probable class, and a pixel is right if it has that class (Guo et al. 2017).
"""

import functools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from sharp_unet_jax.metrics import IGNORE, foreground
from sharp_unet_jax.report import style
from sharp_unet_jax.report.conventions import LEVELS
from sharp_unet_jax.report.figures import Captioned
from sharp_unet_jax.report.provenance import describe
from sharp_unet_jax.report.records import Scored, Sweep
from sharp_unet_jax.report.table import Table, lowest, mean_std

BINS = 15
BIN_OF = np.maximum(LEVELS - 1, 0) * BINS // 255  # each level's bin: ]0, 1/15], ]1/15, 2/15], ...; 0 is in the first


def table(sweep: Sweep) -> Table | None:
    """Return "calibration": a row per model, mean ± std over runs; None without predictions or prepared masks."""
    every = _runs(sweep)
    if not every:
        return None
    rows, ece = [], {}
    for model, levels in every.items():
        errors = 100 * pd.DataFrame([(*summary(run.sum(axis=0)), summary(run[1])[0]) for run in levels])
        ece[model] = errors[0].mean()
        cells = [mean_std(errors[name]) for name in errors]
        rows.append((model, len(levels), *cells))
    headings = ("model", "runs", "ECE (%)", "probability minus share (points)", "ECE near the object (%)")
    what = "of the foreground" if len(sweep.classes) == 2 else "of the most probable class"
    return Table(
        "calibration",
        "Calibration of the probabilities",
        describe([sweep]),
        pd.DataFrame(rows, columns=headings),
        f"ECE, the expected calibration error, sorts the pixels of a run's test images into {BINS} bins of equal width "
        f"by the probability {what}. It is the mean over pixels of |mean probability of the bin minus the share of its "
        "pixels that are right|; 0 is perfect. “Probability minus share” is that mean without the absolute value: "
        "above 0, the model is too sure. Easy background makes up most pixels and is nearly always right. The last "
        "column therefore takes only the pixels near the object: a box around the true foreground, of twice its "
        "height and width. Images without foreground have no such box.",
        f"How far probabilities are from the share of pixels that are right; the lowest ECE: {lowest(ece, '%')}.",
    )


def draw(sweep: Sweep) -> list[Captioned]:
    """Return "reliability": a line per model over the pixels of all its runs, and below it each bin's share of pixels.

    [] without predictions or prepared masks.
    """
    every = _runs(sweep)
    if not every:
        return []
    figure = Figure(figsize=(4.6, 5.9), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color="0.6", linewidth=1, linestyle=":")
    edges = np.linspace(0, 1, BINS + 1)
    looks = style.lines(sweep.models)
    for model, runs in every.items():
        pixels, probability, right = bins(np.sum(runs, axis=(0, 1)))
        there = pixels > 0
        upper.plot(probability[there], right[there], label=model, marker="o", markersize=3, **looks[model])
        lower.stairs(pixels / pixels.sum(), edges, baseline=None, **looks[model])
    two = len(sweep.classes) == 2
    what = "foreground" if two else "most probable class"
    upper.set(ylabel="share of foreground" if two else "share that is right", xlim=(0, 1), ylim=(0, 1))
    upper.legend(frameon=False)
    lower.set(yscale="log", ylabel="pixels", xlabel=f"probability of the {what}")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    lower.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    lower.yaxis.set_minor_formatter(NullFormatter())
    caption = (
        "How often pixels of a predicted probability are right. On the diagonal they are right as often as predicted."
    )
    return [Captioned("reliability", "Reliability", caption, figure)]


def histogram(scored: Scored) -> NDArray[np.int64]:
    """Return (2, 2, 256): pixels by place (elsewhere, `near` the object), by wrong and right, and by probability.

    IGNORE is left out.
    """
    result = np.zeros(1024, np.int64)
    for image, truth in scored:
        right = truth == (1 if image.shape[-1] == 1 else np.argmax(image, axis=-1))
        index = image.max(axis=-1) + 256 * right + 512 * near(truth) + 1024 * (truth == IGNORE)
        result += np.bincount(index.ravel(), minlength=2048)[:1024]
    return result.reshape(2, 2, 256)


def bins(levels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return each bin's pixels, mean probability, and share that is right; nan without pixels.

    `levels` (2, 256) are pixels by wrong and right, and by probability.
    """
    every = levels.sum(axis=0)
    pixels, probability, right = (
        np.bincount(BIN_OF, weights, minlength=BINS) for weights in (every, every * LEVELS / 255, levels[1])
    )
    with np.errstate(invalid="ignore"):
        return pixels.astype(np.int64), probability / pixels, right / pixels


def summary(levels: NDArray[np.int64]) -> tuple[float, float]:
    """Return the expected calibration error, and mean probability minus the share that is right; nan without pixels."""
    pixels, probability, right = bins(levels)
    if not pixels.sum():
        return np.nan, np.nan
    gaps = np.nan_to_num(probability - right) * pixels / pixels.sum()
    return float(np.abs(gaps).sum()), float(gaps.sum())


def near(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (H, W): True in the box around the foreground of `labels` (H, W), of twice its height and width."""
    box, objects = np.zeros(labels.shape, bool), foreground(labels)
    if objects.any():
        box[tuple(_twice(np.flatnonzero(objects.any(axis=1 - axis))) for axis in (0, 1))] = True
    return box


def _twice(indices: NDArray[np.int64]) -> slice:
    first, last = int(indices[0]), int(indices[-1]) + 1
    margin = (last - first) // 2
    return slice(max(first - margin, 0), last + margin)


@functools.lru_cache(maxsize=1)  # for the table and then for the figure: every prediction is read
def _runs(sweep: Sweep) -> dict[str, list[NDArray[np.int64]]]:
    """Return the histogram of each run, by model."""
    every: dict[str, list[NDArray[np.int64]]] = {}
    for name, record in sweep.finished.items():
        if (scored := sweep.scored(name)) is not None:
            every.setdefault(record["model"], []).append(histogram(scored))
    return every
