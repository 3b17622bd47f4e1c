"""Scores of the same predictions under the conventions of other papers and code: published numbers differ in them."""

from typing import get_args

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sharp_unet_jax import metrics
from sharp_unet_jax.metrics import IGNORE, Empty
from sharp_unet_jax.report import other_overlaps, published, style
from sharp_unet_jax.report.figures import Captioned
from sharp_unet_jax.report.provenance import EMPTY, describe, resolution, scored_natively
from sharp_unet_jax.report.records import Scored, Sweep
from sharp_unet_jax.report.table import Table, plus_minus

LEVELS = np.arange(256)  # probabilities are stored in 255ths
NOTE = (
    "Compare a published score only with the row of its own convention. The aggregation, the threshold and the rule "
    "for empty images stated above are those of the first row. In public code: nnU-Net leaves out an image that is "
    "empty in truth and prediction, segmentation_models.pytorch gives it 1, U-Bench 0. The notebook of Sharp U-Net "
    "adds 1 in its dice_coef. pytorch-nested-unet and its descendants score a batch as one image, DUCK-Net the whole "
    "test set. The authors' code for COVID-19 CT sums the pixels of all classes, and easy background counts most. "
    "PraNet and Inf-Net report means over 256 thresholds. A threshold chosen on the test fold is optimistic. "
    "Probabilities were stored in 255ths."
)
AT_ANOTHER_SIZE = (
    "Conventions that need probabilities are left out: probabilities were stored at another resolution than that of "
    "the reported scores."
)
REPORTED = "per image (as reported)"
MICRO = "per image, pixels of all classes summed, background included (micro)"
BEST = "per image, the threshold that is best on the test fold"
Scores = dict[str, float]  # by the names of metrics.OVERLAPS


def table(sweep: Sweep) -> Table | None:
    """Return "rescored": a row per convention and model, a column per overlap; per cent, mean ± std over runs.

    The first rows are the reported scores. Conventions that need probabilities are there if all runs kept theirs at the
    resolution of the reported scores. One that changes no number is named in the note instead. None without scores of
    single images.
    """
    if not sweep.finished or not sweep.has_images:
        return None
    cells = 100 * _runs(sweep).groupby(["convention", "model"], sort=False).agg(["mean", "std"])
    text = pd.DataFrame({name: cells[name].apply(lambda cell: plus_minus(*cell), axis=1) for name in metrics.OVERLAPS})
    every = text.index.unique("convention")
    same = [name for name in every.drop(REPORTED) if text.loc[name].equals(text.loc[REPORTED])]
    rows = pd.MultiIndex.from_product([every.drop(same), list(sweep.models)], names=text.index.names)
    note = [
        NOTE,
        f"Left out, because they change no number here: {'; '.join(same)}." if same else "",
        AT_ANOTHER_SIZE if scored_natively(sweep) else "",
    ]
    return Table(
        "rescored",
        "The same predictions under other conventions",
        describe([sweep]),
        text.rename(columns=lambda name: f"{name.capitalize()} (%)").loc[rows].reset_index(),
        "\n".join(filter(None, note)),
        _says(cells["jaccard"]["mean"]),
    )


def _runs(sweep: Sweep) -> pd.DataFrame:
    """Return a row per run and convention that all runs have: columns convention, model and the overlaps in 0..1."""
    runs = []
    counts = dict(iter(sweep.per_image.groupby("run", sort=False)[["intersection", "truth", "predicted"]]))
    for name, record in sweep.finished.items():
        own = counts[name].to_numpy().reshape(-1, len(sweep.classes), 3)
        rows = from_counts(own, empty=sweep.config["empty"], batch=sweep.config["batch_size"])
        if not scored_natively(sweep) and (scored := sweep.scored(name)) is not None:
            rows |= from_probabilities(scored, empty=sweep.config["empty"])
        frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("convention")
        runs.append(frame.assign(model=record["model"]).reset_index())
    every = pd.concat(runs)
    number = every["convention"].map(every["convention"].value_counts())
    return every[number == len(sweep.finished)]


def _says(jaccard: pd.Series) -> str:
    """Return, as a sentence, how far conventions move a model's mean Jaccard; "" where they do not."""
    ranges = jaccard.groupby(level="model").agg(["min", "max"])
    widest = str((ranges["max"] - ranges["min"]).fillna(0).idxmax())
    low, high = ranges.loc[widest].to_numpy(float)
    if not low < high:
        return ""
    return f"The convention alone moves the Jaccard of `{widest}` between {low:.1f} and {high:.1f} %."


def from_counts(counts: NDArray[np.integer], *, empty: Empty, batch: int) -> dict[str, Scores]:
    """Return the scores of one run under each convention that needs only counts.

    With two classes only the foreground is scored; with more, the mean over all classes.

    Args:
        counts: (images, classes, 3): intersection, truth and predicted pixels, background first.
        empty: the sweep's rule for a ratio 0/0.
        batch: the sweep's batch size.
    """
    binary = counts.shape[1] == 2
    scored, other = (slice(1, None), slice(None)) if binary else (slice(None), slice(1, None))
    rows = {REPORTED: _means(counts, scored, empty)}
    for rule in [rule for rule in get_args(Empty) if rule != empty]:
        rows[f"per image; in neither truth nor prediction {EMPTY[rule]}"] = _means(counts, scored, rule)
    smoothed = _means(counts, scored, empty, smoothing=1)
    rows["per image, smoothed: 1 added to numerator and denominator"] = smoothed
    rows[f"per image, background {'averaged in' if binary else 'left out'}"] = _means(counts, other, empty)
    rows[MICRO] = _means(_micro(counts), slice(1, None), empty)
    rows[f"per batch of {batch} images, as one image"] = _means(_pooled(counts, batch), scored, empty)
    rows["pooled: all pixels of a fold, as one image"] = _means(_pooled(counts, len(counts)), scored, empty)
    return rows


def from_probabilities(scored: Scored, *, empty: Empty) -> dict[str, Scores]:
    """Return the scores of one run under each convention that needs probabilities; thresholds only with two classes.

    `empty` is the sweep's rule for a ratio 0/0.
    """
    undecided = "per image, probabilities without a decision"
    if (num_classes := scored[0][0].shape[-1]) > 1:
        of_classes = [histograms(scored, label) for label in range(num_classes)]
        return {undecided: _means(_soft_counts(of_classes), slice(None), empty)}
    levels = histograms(scored, 1)
    curves = threshold_curves(levels, empty)
    background = levels[:, ::-1, ::-1]  # the other label, and one minus the probability
    return {
        undecided: _means(_soft_counts([background, levels]), slice(1, None), empty),
        "per image, mean over 256 thresholds": {name: float(curve.mean()) for name, curve in curves.items()},
        # The best threshold would be 0 for sensitivity and 1 for specificity.
        BEST: {name: float(curves[name].max()) for name in published.OVERLAPS},
    }


def draw(sweep: Sweep) -> list[Captioned]:
    """Return scores by threshold: "thresholds" of the paper's overlaps, "overlaps_by_threshold" of the others.

    Each model's line is the mean over runs; the threshold in use is marked. [] without predictions, or for more than
    two classes.
    """
    curves: dict[str, list[dict[str, NDArray[np.float64]]]] = {}
    for name, record in sweep.finished.items() if len(sweep.classes) == 2 else []:
        if (scored := sweep.scored(name)) is not None:
            levels = histograms(scored, 1)
            curves.setdefault(record["model"], []).append(threshold_curves(levels, sweep.config["empty"]))
    if not curves:
        return []
    drawn = {
        "thresholds": ("Scores by threshold", published.OVERLAPS),
        "overlaps_by_threshold": (f"{other_overlaps.TITLE} by threshold", other_overlaps.NAMES),
    }
    caption = f"Mean over runs, on the test images{f' at {resolution(sweep)}' if scored_natively(sweep) else ''}."
    return [Captioned(name, title, caption, _by_threshold(sweep, curves, of)) for name, (title, of) in drawn.items()]


def _by_threshold(
    sweep: Sweep, curves: dict[str, list[dict[str, NDArray[np.float64]]]], names: tuple[str, ...]
) -> Figure:
    figure, looks = Figure(figsize=(8, 3.6), layout="constrained"), style.lines(sweep.models)
    for name, axes in zip(names, figure.subplots(1, len(names), sharey=True, squeeze=False)[0], strict=True):
        for model, runs in curves.items():
            mean = 100 * np.mean([run[name] for run in runs], axis=0)[1:]
            axes.plot((LEVELS[1:] - 0.5) / 255, mean, label=model, **looks[model])
        axes.spines[["top", "right"]].set_visible(False)
        axes.axvline(sweep.config["threshold"], color="0.5", linewidth=1, linestyle=":")
        axes.set(title=f"{name.capitalize()} (%), per image", xlabel="threshold", xlim=(0, 1))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def histograms(scored: Scored, label: int) -> NDArray[np.int64]:
    """Return (n, 2, 256): each image's pixels by the probability of `label`, without and with it; IGNORE is left out.

    A single channel of probabilities is that of label 1.
    """
    result = np.empty((len(scored), 2, 256), np.int64)
    for (probabilities, truth), levels in zip(scored, result, strict=True):
        image = probabilities[..., label if probabilities.shape[-1] > 1 else 0]
        index = image + 256 * (truth == label) + 512 * (truth == IGNORE)
        levels[:] = np.bincount(index.ravel(), minlength=1024)[:512].reshape(2, 256)
    return result


def threshold_curves(levels: NDArray[np.int64], empty: Empty) -> dict[str, NDArray[np.float64]]:
    """Return each overlap's mean over images, (256,), where a pixel is foreground from level 0, 1, ... 255 upwards.

    `levels` is (n, 2, 256) as `histograms` gives them. "Above threshold t" is level 255 t + 1/2 and upwards.
    """
    positive = np.cumsum(levels[..., ::-1], axis=-1)[..., ::-1]  # from each level upwards, by label
    every = np.broadcast_to(positive[..., :1], positive.shape)
    negative = every - positive
    of_classes = [
        np.stack([part[:, label], every[:, label], part.sum(axis=1)], axis=-1)
        for label, part in enumerate((negative, positive))
    ]
    values = metrics.overlaps(np.stack(of_classes, axis=-2), empty=empty)
    return {name: metrics.mean(each[..., 1], axis=0) for name, each in values.items()}


def _means(counts: NDArray[np.integer], classes: slice, empty: Empty, smoothing: float = 0) -> Scores:
    """Return the mean over images of an image's mean over `classes`, from counts (n, classes, 3) of all classes."""
    values = metrics.overlaps(counts, empty=empty, smoothing=smoothing)
    return {name: float(metrics.mean(metrics.mean(each[:, classes], axis=1))) for name, each in values.items()}


def _pooled(counts: NDArray[np.integer], size: int) -> NDArray[np.integer]:
    """Return counts in which each image has those of its whole batch: a batch weighs as much as it has images."""
    starts = np.arange(0, len(counts), size)
    return np.repeat(np.add.reduceat(counts, starts), np.diff([*starts, len(counts)]), axis=0)


def _micro(counts: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return counts (n, 2, 3) of the one-hot masks (H, W, classes) as one mask, for counts (n, classes, 3)."""
    intersection, truth, predicted = np.moveaxis(counts.sum(axis=1), -1, 0)
    pixels = counts.shape[1] * truth  # each labelled pixel is one in the mask of its class, and 0 in the others
    outside = pixels - truth - predicted + intersection, pixels - truth, pixels - predicted
    return np.stack([np.stack(outside, axis=-1), np.stack([intersection, truth, predicted], axis=-1)], axis=1)


def _soft_counts(of_classes: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return counts (n, classes, 3) in 255ths of a pixel, from a histogram (n, 2, 256) per class."""
    counts = []
    for levels in of_classes:
        inside, every = levels[:, 1], levels.sum(axis=1)
        counts.append(np.stack([inside @ LEVELS, 255 * inside.sum(axis=-1), every @ LEVELS], axis=-1))
    return np.stack(counts, axis=1)
