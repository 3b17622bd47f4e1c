"""How far predicted boundaries lie from true ones, in pixels of the size trained at.

A boundary is the pixels of a mask that have one of their four neighbours outside of it; beyond the image, and where
pixels are not scored, is outside (as MedPy and MONAI have it). Where truth or prediction is empty there is no distance.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from sharp_unet_jax import decision
from sharp_unet_jax.metrics import IGNORE
from sharp_unet_jax.report.provenance import passport
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, plus_minus

OUTCOMES = ("measured", "missed", "invented", "absent")


def per_image(sweep: Sweep) -> pd.DataFrame | None:
    """A row a run, test image and foreground class; None where predictions or prepared masks are not there.

    Columns: run, model, image_id, class, outcome, hd95, assd. Distances are in pixels, nan unless `outcome` is
    "measured": "missed" has a truth alone, "invented" a prediction alone, "absent" neither.
    """
    frames = []
    for name, record in sweep.finished.items():
        if (scored := sweep.scored(name)) is None:
            continue
        probabilities, labels = scored
        decided = decision.labels(probabilities, 255 * sweep.config["threshold"])
        for number, label in enumerate(sweep.classes[1:], start=1):
            values = distances(labels == number, (decided == number) & (labels != IGNORE))
            ids = {
                "run": name,
                "model": record["model"],
                "image_id": sweep.test_ids(name),
                "class": label,
            }
            frames.append(pd.DataFrame(ids).join(values))
    return pd.concat(frames, ignore_index=True) if frames else None


def table(sweep: Sweep) -> Table | None:
    """A row a model and foreground class: mean ± std over runs of a run's mean over images; None as for `per_image`."""
    values = per_image(sweep)
    if values is None:
        return None
    height, width = sweep.config["data"]["size"]
    diagonal = float(np.hypot(height - 1, width - 1))
    one_empty = values["outcome"].isin(["missed", "invented"])
    values["penalised"] = values["hd95"].mask(one_empty, diagonal)
    rows = []
    for (model, label), own in values.groupby(["model", "class"], sort=False):
        means = own.groupby("run")[["hd95", "assd", "penalised"]].mean()
        cells = [plus_minus(means[name].mean(), means[name].std()) for name in means]
        rows.append((model, label, *cells, *(int((own["outcome"] == outcome).sum()) for outcome in OUTCOMES)))
    headings = ("model", "class", "HD95 (px)", "ASSD (px)", "HD95, misses at the diagonal (px)", *OUTCOMES)
    return Table(
        "boundaries",
        "Distances between true and predicted boundaries",
        passport([sweep]),
        pd.DataFrame(rows, columns=headings),
        f"HD95: the larger of the two directed 95th percentiles of the distances between boundaries; ASSD: the mean "
        f"of all of them, both ways. In pixels at {height}x{width}, of which no spacing in mm is known. An image whose "
        "truth (invented) or prediction (missed) is empty has no distance and is left out of the first two; the "
        f"third gives it the diagonal, {diagonal:.0f} px. Absent: neither has the class. Lower is better.",
    )


def distances(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> pd.DataFrame:
    """Of each pair of masks (n, H, W) a row: outcome, hd95, assd, as `per_image` has them."""
    rows = []
    for a, b in zip(boundaries(truth), boundaries(predicted), strict=True):
        ours, theirs = np.argwhere(a), np.argwhere(b)
        if len(ours) and len(theirs):
            there, back = KDTree(theirs).query(ours)[0], KDTree(ours).query(theirs)[0]
            hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
            rows.append(("measured", hd95, np.mean(np.concatenate([there, back]))))
        else:
            rows.append(("missed" if len(ours) else "invented" if len(theirs) else "absent", np.nan, np.nan))
    return pd.DataFrame(rows, columns=["outcome", "hd95", "assd"])


def boundaries(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The boundary pixels of masks (n, H, W)."""
    around = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    inner = around[:, :-2, 1:-1] & around[:, 2:, 1:-1] & around[:, 1:-1, :-2] & around[:, 1:-1, 2:]
    return masks & ~inner
