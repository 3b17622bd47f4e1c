"""Distances between predicted and true boundaries, in pixels at the training size.

A boundary is the pixels of a mask that have one of their four neighbours outside it. Pixels beyond the image count as
outside, as in MedPy and MONAI, and so do rows and columns at its sides that are not scored, such as letterbox padding.
Other pixels that are not scored make no boundary: nobody knows on which side of it they are. Where truth or prediction
is empty, or has no boundary, there is no distance.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from sharp_unet_jax import decision
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report.provenance import describe
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, plus_minus

OUTCOMES = ("measured", "missed", "false positive", "absent")
UNKNOWN = "unknown"  # an outcome that is rare: a boundary lies in pixels that are not scored


def per_image(sweep: Sweep) -> pd.DataFrame | None:
    """Return a row a run, test image and foreground class; None without predictions or prepared masks.

    Returns:
        Columns run, model, image_id, class, outcome, hd95, assd. Distances are in pixels, and nan unless `outcome` is
        "measured". Of truth and prediction, "missed" has the truth alone, "false positive" the prediction alone,
        "absent" neither; "unknown" has both, and one without a boundary.
    """
    frames = []
    for name, record in sweep.finished.items():
        if (scored := sweep.scored(name)) is None:
            continue
        probabilities, labels = scored
        decided = decision.labels(probabilities, 255 * sweep.config["threshold"])
        for number, label in enumerate(sweep.classes[1:], start=1):
            values = distances(labels == number, decided == number, labels == IGNORE)
            ids = {"run": name, "model": record["model"], "image_id": sweep.test_ids(name), "class": label}
            frames.append(pd.DataFrame(ids).join(values))
    return pd.concat(frames, ignore_index=True) if frames else None


def table(sweep: Sweep) -> Table | None:
    """Return "boundaries": a row a model and foreground class; None without predictions or prepared masks.

    A cell is the mean ± std over runs of a run's mean over images.
    """
    values = per_image(sweep)
    if values is None:
        return None
    height, width = sweep.config["data"]["size"]
    diagonal = float(np.hypot(height - 1, width - 1))
    one_is_empty = values["outcome"].isin(["missed", "false positive"])
    values["penalised"] = values["hd95"].mask(one_is_empty, diagonal)
    rows = []
    outcomes = OUTCOMES + (UNKNOWN,) * bool(values["outcome"].eq(UNKNOWN).any())
    for (model, label), own in values.groupby(["model", "class"], sort=False):
        means = own.groupby("run")[["hd95", "assd", "penalised"]].mean()
        cells = [plus_minus(means[name].mean(), means[name].std()) for name in means]
        rows.append((model, label, *cells, *(int((own["outcome"] == outcome).sum()) for outcome in outcomes)))
    headings = ("model", "class", "HD95 (px)", "ASSD (px)", "HD95, misses at the diagonal (px)", *outcomes)
    return Table(
        "boundaries",
        "Distances between true and predicted boundaries",
        describe([sweep]),
        pd.DataFrame(rows, columns=headings),
        "HD95 is the larger of two numbers: the 95th percentile of the distances from the true boundary to the "
        "predicted one, and that of the distances back. ASSD is the mean of all these distances. Both are in pixels at "
        f"{height}x{width}; the pixel's size in mm is not known. Lower is better. An image with an empty truth (false "
        "positive) or an empty prediction (missed) has no distance and is left out of HD95 and ASSD; the column after "
        f"them gives it the image's diagonal, {diagonal:.0f} px. Absent: neither has the class."
        + (" Unknown: a boundary lies in pixels that are not scored." if UNKNOWN in outcomes else ""),
    )


def distances(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], ignored: NDArray[np.bool_] | None = None
) -> pd.DataFrame:
    """Return a row a pair of masks: outcome, hd95 and assd, as in `per_image`.

    Args:
        truth: (n, H, W).
        predicted: (n, H, W).
        ignored: (n, H, W), pixels that are not scored; None for none.
    """
    ignored = np.zeros_like(truth) if ignored is None else ignored
    truth, predicted = truth & ~ignored, predicted & ~ignored
    masks = zip(truth, predicted, boundaries(truth, ignored), boundaries(predicted, ignored), strict=True)
    rows = []
    for of_truth, of_prediction, a, b in masks:
        true, found = of_truth.any(), of_prediction.any()
        ours, theirs = np.argwhere(a), np.argwhere(b)
        if len(ours) and len(theirs):
            there, back = KDTree(theirs).query(ours)[0], KDTree(ours).query(theirs)[0]
            hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
            rows.append(("measured", hd95, np.mean(np.concatenate([there, back]))))
        else:
            outcome = UNKNOWN if true and found else "missed" if true else "false positive" if found else "absent"
            rows.append((outcome, np.nan, np.nan))
    return pd.DataFrame(rows, columns=["outcome", "hd95", "assd"])


def boundaries(masks: NDArray[np.bool_], ignored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the boundary pixels (n, H, W) of masks (n, H, W), of which no pixel is `ignored` (n, H, W)."""
    scored = ~ignored
    inside = _span(scored.max(axis=2))[:, :, None] & _span(scored.max(axis=1))[:, None, :]
    around = np.pad(masks | (ignored & inside), ((0, 0), (1, 1), (1, 1)))
    inner = around[:, :-2, 1:-1] & around[:, 2:, 1:-1] & around[:, 1:-1, :-2] & around[:, 1:-1, 2:]
    return masks & ~inner


def _span(some: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (n, m): True from the first to the last True of each row of `some` (n, m)."""
    return np.logical_or.accumulate(some, axis=1) & np.logical_or.accumulate(some[:, ::-1], axis=1)[:, ::-1]
