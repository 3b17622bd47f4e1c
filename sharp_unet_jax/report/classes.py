"""Scores of each class on its own, for more than two classes: their mean hides the rare ones."""

import pandas as pd

from sharp_unet_jax import metrics
from sharp_unet_jax.report import published
from sharp_unet_jax.report.provenance import describe
from sharp_unet_jax.report.records import Sweep
from sharp_unet_jax.report.table import Table, lowest, mean_std

THERE = "where it is: "


def table(sweep: Sweep) -> Table | None:
    """Return "classes": a row per class and model; None for two classes, or without scores of single images.

    A cell is the mean ± std over runs of a run's mean over images.
    """
    if len(sweep.classes) == 2 or not sweep.has_images:
        return None
    scores = sweep.per_image.astype(dict.fromkeys(metrics.OVERLAPS, float))
    rows, jaccard = [], {}
    for label in sweep.classes:
        for model in sweep.models:
            own = scores[(scores["class"] == label) & (scores["model"] == model)]
            there = own[own["truth"] > 0]
            jaccard[f"{label}, {model}"] = 100 * own.groupby("run")["jaccard"].mean().mean()
            row: dict[str, object] = {"class": label, "model": model}
            for name, part, overlaps in (("", own, metrics.OVERLAPS), (THERE, there, published.OVERLAPS)):
                for metric in overlaps:
                    means = part.groupby("run")[metric].mean()
                    row[f"{name}{metric.capitalize()} (%)"] = mean_std(100 * means)
            rows.append(row | {"images with it": there["image_id"].nunique()})
    return Table(
        "classes",
        "Class by class",
        describe([sweep]),
        pd.DataFrame(rows),
        "The reported score is the mean over these classes, background included. Where a class is in neither truth nor "
        f"prediction, the rule for empty masks decides. The columns “{THERE.rstrip(': ')}” leave out images whose "
        "truth lacks the class.",
        f"Each class on its own, as their mean hides the rare ones; the lowest Jaccard: {lowest(jaccard, '%')}.",
    )
