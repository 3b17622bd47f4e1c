"""The same predictions under the conventions of other papers and code, since published numbers differ by them."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sharp_unet_jax.report import style
from sharp_unet_jax.report.provenance import passport
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, plus_minus

IGNORE = 255  # metrics.IGNORE, and below its rules for what is empty: importing them would bring JAX
EMPTY = {"one": 1.0, "zero": 0.0, "nan": np.nan}
EMPTY_WORDS = {"one": "scores 1", "zero": "scores 0", "nan": "is left out"}
METRICS = ("Jaccard", "Dice")
LEVELS = np.arange(256)
NOTE = (
    "A published figure can be compared with the row of its own convention alone; what is said above of aggregation, "
    "threshold and empty images holds for the first row. In public code: nnU-Net leaves an image out that is empty in "
    "both, segmentation_models.pytorch gives it 1, U-Bench 0; the notebook of Sharp U-Net adds 1 in its dice_coef; "
    "pytorch-nested-unet and its descendants score batches as one image, DUCK-Net the whole test set; PraNet and "
    "Inf-Net report means over 256 thresholds. A threshold chosen on the test fold is optimistic. Probabilities were "
    "stored in 255ths."
)


def conventions(sweep: Sweep) -> list[Table]:
    """A table of Jaccard and one of Dice: a row a convention, a column a model; per cent, mean ± std over runs.

    The first row is the reported score. Rows that need probabilities are there if all runs kept theirs. Empty without
    finished runs.
    """
    if not sweep.finished:
        return []
    runs = []
    counts = dict(iter(sweep.per_image.groupby("run", sort=False)[["intersection", "truth", "predicted"]]))
    for name, record in sweep.finished.items():
        own = counts[name].to_numpy().reshape(-1, len(sweep.classes), 3)
        rows = from_counts(own, empty=sweep.config["empty"], batch=sweep.config["batch_size"])
        if (scored := sweep.scored(name)) is not None:
            rows |= from_probabilities(*scored, empty=sweep.config["empty"])
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=METRICS).rename_axis("convention")
        runs.append(frame.assign(model=record["model"]).reset_index())
    every = pd.concat(runs)
    number = every["convention"].map(every["convention"].value_counts())
    every = every[number == len(sweep.finished)]
    result = []
    for metric in METRICS:
        cells = 100 * every.groupby(["convention", "model"], sort=False)[metric].agg(["mean", "std"])
        text = cells.apply(lambda cell: plus_minus(*cell), axis=1).unstack("model", sort=False)
        result.append(
            Table(
                f"rescored_{metric.lower()}",
                f"{metric} (%) of the same predictions under other conventions",
                passport([sweep]),
                text.reset_index().rename_axis(columns=None),
                NOTE,
            )
        )
    return result


def from_counts(counts: NDArray[np.integer], *, empty: str, batch: int) -> dict[str, NDArray[np.float64]]:
    """Jaccard and Dice, (2,) each, of one run by convention.

    `counts` is (images, classes, 3): intersection, truth and predicted pixels, background first. Two classes are
    scored by the second alone, more by the mean over all. `empty` is the sweep's rule, `batch` its batch size.
    """
    binary = counts.shape[1] == 2
    scored, other = (counts[:, 1:], counts) if binary else (counts, counts[:, 1:])
    rows = {"per image (as reported)": _mean(overlaps(scored, empty))}
    for rule in [rule for rule in EMPTY if rule != empty]:
        rows[f"per image; in neither truth nor prediction {EMPTY_WORDS[rule]}"] = _mean(overlaps(scored, rule))
    rows["per image, smoothed: 1 added to numerator and denominator"] = _mean(overlaps(scored, empty, smoothing=1))
    rows[f"per image, background {'averaged in' if binary else 'left out'}"] = _mean(overlaps(other, empty))
    rows[f"per batch of {batch} images, as one image"] = _mean(overlaps(_pooled(scored, batch), empty))
    rows["pooled: all pixels of a fold, as one image"] = _mean(overlaps(_pooled(scored, len(scored)), empty))
    return rows


def from_probabilities(
    probabilities: NDArray[np.uint8], labels: NDArray[np.uint8], *, empty: str
) -> dict[str, NDArray[np.float64]]:
    """As `from_counts`, for the conventions that need probabilities (n, H, W, K) in 255ths and labels (n, H, W).

    Those with thresholds are there for K = 1 alone.
    """
    if probabilities.shape[-1] > 1:
        classes = range(probabilities.shape[-1])
        soft = np.stack([_soft(histograms(probabilities[..., c], labels, c)) for c in classes], axis=1)
        return {"per image, probabilities without a decision": _mean(overlaps(soft, empty))}
    levels = histograms(probabilities[..., 0], labels, 1)
    curve = threshold_curve(levels, empty)
    return {
        "per image, probabilities without a decision": _mean(overlaps(_soft(levels)[:, None], empty)),
        "per image, mean over 256 thresholds": curve.mean(axis=0),
        "per image, the threshold that is best on the test fold": curve.max(axis=0),
    }


def thresholds(sweep: Sweep) -> Figure | None:
    """Jaccard and Dice by threshold, a line a model (mean over runs); None without predictions, or beyond two classes.

    The threshold in use is marked.
    """
    curves: dict[str, list[NDArray[np.float64]]] = {}
    for name, record in sweep.finished.items() if len(sweep.classes) == 2 else []:
        if (scored := sweep.scored(name)) is not None:
            probabilities, labels = scored
            curve = threshold_curve(histograms(probabilities[..., 0], labels, 1), sweep.config["empty"])
            curves.setdefault(record["model"], []).append(100 * curve)
    if not curves:
        return None
    figure, looks = Figure(figsize=(8, 3.6), layout="constrained"), style.lines(sweep.models)
    for column, axes in enumerate(figure.subplots(1, 2, sharey=True)):
        for model, runs in curves.items():
            mean = np.mean(runs, axis=0)[1:, column]
            axes.plot((LEVELS[1:] - 0.5) / 255, mean, label=model, **looks[model])
        axes.spines[["top", "right"]].set_visible(False)
        axes.axvline(sweep.config["threshold"], color="0.5", linewidth=1, linestyle=":")
        axes.set(title=f"{METRICS[column]} (%), per image", xlabel="threshold", xlim=(0, 1))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def histograms(probabilities: NDArray[np.uint8], labels: NDArray[np.uint8], label: int) -> NDArray[np.int64]:
    """(n, 2, 256): of every image the pixels of each probability, without and with that label; IGNORE is left out."""
    result = np.empty((len(labels), 2, 256), np.int64)
    for image, truth, levels in zip(probabilities, labels, result, strict=True):
        index = image + 256 * (truth == label) + 512 * (truth == IGNORE)
        levels[:] = np.bincount(index.ravel(), minlength=1024)[:512].reshape(2, 256)
    return result


def threshold_curve(levels: NDArray[np.int64], empty: str) -> NDArray[np.float64]:
    """(256, 2): mean over images of Jaccard and Dice where a pixel is predicted at level 0, 1, ... 255 and above.

    `levels` is (n, 2, 256) as `histograms` gives them. "Above threshold t" is level 255 t + 1/2 and above.
    """
    outside, inside = np.moveaxis(np.cumsum(levels[..., ::-1], axis=-1)[..., ::-1], 1, 0)
    truth = np.broadcast_to(inside[:, :1], inside.shape)
    return _mean(overlaps(np.stack([inside, truth, inside + outside], axis=-1)[:, None], empty))


def overlaps(counts: NDArray[np.integer], empty: str, smoothing: float = 0) -> NDArray[np.float64]:
    """Jaccard and Dice (..., 2) of counts (..., 3): intersection, truth, predicted."""
    both, truth, predicted = np.moveaxis(counts.astype(np.float64), -1, 0)
    above = np.stack([both, 2 * both], axis=-1) + smoothing
    below = np.stack([truth + predicted - both, truth + predicted], axis=-1) + smoothing
    return np.divide(above, below, out=np.full(above.shape, EMPTY[empty]), where=below > 0)


def _pooled(counts: NDArray[np.integer], size: int) -> NDArray[np.integer]:
    """Every image gets the counts of its whole batch: a short last batch weighs what its images do."""
    starts = np.arange(0, len(counts), size)
    return np.repeat(np.add.reduceat(counts, starts), np.diff([*starts, len(counts)]), axis=0)


def _soft(levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (n, 3) in 255ths of a pixel, from histograms (n, 2, 256)."""
    inside, every = levels[:, 1], levels.sum(axis=1)
    return np.stack([inside @ LEVELS, 255 * inside.sum(axis=-1), every @ LEVELS], axis=-1)


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the classes of each image (axis 1), then over images (axis 0), without what is nan; nan where all is."""
    for axis in (1, 0):
        known = ~np.isnan(values)
        number = known.sum(axis=axis)
        total = np.sum(values, axis=axis, where=known)
        values = np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)
    return values
