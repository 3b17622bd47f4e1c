"""Distances between predicted and true boundaries; the report's are in pixels of the images as they were trained on.

A boundary is the pixels of a mask that have one of their four neighbours outside it. Pixels beyond the image count as
outside, as in MedPy and MONAI, and so do rows and columns at its sides that are not scored, such as letterbox padding.
Other pixels that are not scored make no boundary: nobody knows on which side of it they are. Where truth or prediction
is empty, or has no boundary, there is no distance.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from sharp_unet_jax import decision
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report.provenance import describe, resolution
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, lowest, mean_std

OUTCOMES = ("measured", "missed", "false positive", "absent")
UNKNOWN = "unknown"  # an outcome that is rare: a boundary lies in pixels that are not scored


class Distances(NamedTuple):
    """The distances between two boundaries, and why there are none; see `per_image`."""

    outcome: str
    hd95: float
    assd: float


def per_image(sweep: Sweep) -> pd.DataFrame | None:
    """Return a row per run, test image and foreground class; None without predictions or prepared masks.

    Returns:
        Columns run, model, image_id, class, diagonal, outcome, hd95, assd. The diagonal is the image's. Distances are
        in pixels, and nan unless `outcome` is "measured". Of truth and prediction, "missed" has only the truth, "false
        positive" only the prediction, "absent" neither; "unknown" has both, and one without a boundary.
    """
    frames = []
    for name, record in sweep.finished.items():
        if (scored := sweep.scored(name)) is None:
            continue
        threshold = 255 * sweep.config["threshold"]
        decided = [(truth, decision.labels(probabilities, threshold)) for probabilities, truth in scored]
        sides = np.array([truth.shape for truth, _ in decided])
        for number, label in enumerate(sweep.classes[1:], start=1):
            rows = [distances(truth == number, found == number, truth == IGNORE) for truth, found in decided]
            ids = {"run": name, "model": record["model"], "image_id": sweep.test_ids(name), "class": label}
            ids["diagonal"] = np.hypot(*(sides - 1).T)
            frames.append(pd.DataFrame(ids).join(pd.DataFrame(rows, columns=Distances._fields)))
    return pd.concat(frames, ignore_index=True) if frames else None


def table(sweep: Sweep) -> Table | None:
    """Return "boundaries": a row per model and foreground class; None without predictions or prepared masks.

    A cell is the mean ± std over runs of a run's mean over images.
    """
    values = per_image(sweep)
    if values is None:
        return None
    one_is_empty = values["outcome"].isin(["missed", "false positive"])
    values["penalised"] = values["hd95"].mask(one_is_empty, values["diagonal"])
    rows, hd95 = [], {}
    outcomes = OUTCOMES + (UNKNOWN,) * bool(values["outcome"].eq(UNKNOWN).any())
    for (model, label), own in values.groupby(["model", "class"], sort=False):
        means = own.groupby("run")[["hd95", "assd", "penalised"]].mean()
        hd95[f"{model}" if len(sweep.classes) == 2 else f"{model}, {label}"] = means["hd95"].mean()
        cells = [mean_std(means[name]) for name in means]
        rows.append((model, label, *cells, *(int((own["outcome"] == outcome).sum()) for outcome in outcomes)))
    low, high = values["diagonal"].min(), values["diagonal"].max()
    px = f"{low:.0f}" if low == high else f"from {low:.0f} to {high:.0f}"
    headings = ("model", "class", "HD95 (px)", "ASSD (px)", "HD95, misses at the diagonal (px)", *outcomes)
    return Table(
        "boundaries",
        "Distances between true and predicted boundaries",
        describe([sweep]),
        pd.DataFrame(rows, columns=headings),
        "HD95 is the larger of two numbers: the 95th percentile of the distances from the true boundary to the "
        "predicted one, and that of the distances back. ASSD is the mean of all these distances. Both are in pixels "
        f"{_pixels(sweep)}. Lower is better. An image with an empty truth (false "
        "positive) or an empty prediction (missed) has no distance and is left out of HD95 and ASSD; the column after "
        f"them gives it the image's diagonal, {px} px. Absent: neither has the class."
        + (" Unknown: a boundary lies in pixels that are not scored." if UNKNOWN in outcomes else ""),
        f"How far predicted outlines are from the true ones; the lowest HD95: {lowest(hd95, 'px')}.",
    )


def distances(
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    ignored: NDArray[np.bool_] | None = None,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Distances:
    """Return how far the boundaries of two masks (H, W) are apart, as in `per_image`.

    Args:
        truth: a class in the truth.
        predicted: the same class in the prediction.
        ignored: (H, W), pixels that are not scored; None for none.
        spacing: the distance from row to row and from column to column, in the unit of the result: pixels by default.
    """
    ignored = np.zeros_like(truth) if ignored is None else ignored
    truth, predicted = truth & ~ignored, predicted & ~ignored
    true, found = truth.any(), predicted.any()
    ours, theirs = (np.argwhere(boundary(mask, ignored)) * np.array(spacing) for mask in (truth, predicted))
    if len(ours) and len(theirs):
        there, back = KDTree(theirs).query(ours)[0], KDTree(ours).query(theirs)[0]
        hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
        return Distances("measured", float(hd95), float(np.mean(np.concatenate([there, back]))))
    outcome = UNKNOWN if true and found else "missed" if true else "false positive" if found else "absent"
    return Distances(outcome, np.nan, np.nan)


def boundary(mask: NDArray[np.bool_], ignored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the boundary pixels (H, W) of a mask (H, W), of which no pixel is `ignored` (H, W)."""
    scored = ~ignored
    inside = _span(scored.max(axis=1))[:, None] & _span(scored.max(axis=0))
    around = np.pad(mask | (ignored & inside), 1)
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~inner


def _span(some: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return True from the first to the last True of `some` (m,)."""
    return np.logical_or.accumulate(some) & np.logical_or.accumulate(some[::-1])[::-1]


def _pixels(sweep: Sweep) -> str:
    """Return which pixels distances are in."""
    spacing = sweep.config["data"]["spacing"]
    return f"of {spacing:g} mm" if spacing else f"at {resolution(sweep)}; the pixel's size in mm is not known"
