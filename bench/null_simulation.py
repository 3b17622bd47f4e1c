"""How often tests find a difference between two learners that do not differ, after 5 x 5-fold cross-validation.

    python bench/null_simulation.py --datasets=1000

Every data set is new: 60 images of 32 pixels, each its own group or in 20 groups, such as frames of a video. A pixel
has a label and two blocks of features, drawn alike and independently; one learner sees the first block, the other the
second. Each is a nearest-centroid classifier of pixels, trained and scored as a sweep does it: the project's own folds,
Jaccard of each test image, mean over the fold. Swapping the blocks changes nothing, so neither learner is better in
expectation, whatever the number of training images and whatever the folds share: the null hypothesis holds exactly. The
difficulty is that of real sweeps: a data set favours one learner by chance, and all 25 runs are of that data set.

Writes results/null_simulation.csv (folds, test, level; rejected: the share of data sets with p <= level), .png
and .svg, and prints the rows of level 0.05. 1000 data sets take three minutes.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.stats

from sharp_unet_jax.data import folds
from sharp_unet_jax.metrics import jaccard_from_counts
from sharp_unet_jax.report import statistics

IMAGES, PIXELS, FEATURES = 60, 32, 20
SHIFT = 0.5  # of how a group's foreground looks, in standard deviations of a pixel's noise; labels are 1 apart
LEVELS = np.round(np.arange(0.005, 0.2001, 0.005), 3)
FOLDS = {  # heading: groups, whether folds keep them whole
    "independent images": (60, False),
    "groups of three, kept in one fold": (20, True),
    "groups of three, random folds": (20, False),
}


def jaccard(tests: list[np.ndarray], groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A new data set's scores (runs, images, 2 learners); nan where a run trained on the image."""
    labels = rng.random((IMAGES, PIXELS)) < 0.5
    look = FEATURES**-0.5 + SHIFT * rng.normal(size=(groups.max() + 1, 1, 2, FEATURES))[groups]
    pixels = labels[:, :, None, None] * look + rng.normal(size=(IMAGES, PIXELS, 2, FEATURES))
    trained = np.ones((len(tests), IMAGES), bool)
    for run, test in enumerate(tests):
        trained[run, test] = False
    sides = np.stack([~labels, labels], axis=1).astype(float)
    sums = np.einsum("ri,ilbf->rlbf", trained, np.einsum("ilp,ipbf->ilbf", sides, pixels), optimize=True)
    centroids = sums / (trained @ sides.sum(axis=2))[:, :, None, None]
    threshold = np.diff((centroids**2).sum(axis=-1), axis=1) / 2
    found = np.einsum("ipbf,rbf->ripb", pixels, centroids[:, 1] - centroids[:, 0]) > threshold[:, None]
    common = (found & labels[:, :, None]).sum(axis=2)
    truth = np.broadcast_to(labels.sum(axis=1)[:, None], common.shape)
    scores = jaccard_from_counts(common, truth, found.sum(axis=2), empty="one")
    return np.where(trained[:, :, None], np.nan, scores)


def p_values(scores: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Of each test on one data set. A bootstrap has an interval: its p here is 0 where that excludes zero, else 1."""
    runs = np.diff(np.nanmean(scores, axis=1))[:, 0]
    images = np.diff(np.nanmean(scores, axis=0))[:, 0]
    intervals = {
        "bootstrap over images": statistics.cluster_bootstrap(images, np.arange(IMAGES)),
        "bootstrap over groups": statistics.cluster_bootstrap(images, groups),
    }
    return {
        "paired t-test over runs": float(scipy.stats.ttest_1samp(runs, 0).pvalue),
        "corrected t-test over runs": statistics.corrected_t(runs, 1 / 4).p,
        "Wilcoxon over runs": float(scipy.stats.wilcoxon(runs).pvalue),
        "Wilcoxon over images": statistics.wilcoxon(images, np.arange(IMAGES)),
        "Wilcoxon over groups": statistics.wilcoxon(images, groups),
    } | {name: float(low <= 0 <= high) for name, (low, high) in intervals.items()}


def simulate(datasets: int) -> pd.DataFrame:
    """The columns of null_simulation.csv."""
    ids = [f"{image:02d}" for image in range(IMAGES)]
    rows = []
    for name, (number, whole) in FOLDS.items():
        rng = np.random.default_rng(0)
        groups = np.arange(IMAGES) // (IMAGES // number)
        found = []
        for seed in range(datasets):
            splits = folds.plan(ids, groups.astype(str), folds=5, repeats=5, grouped=whole, protocol="paper", seed=seed)
            found.append(p_values(jaccard([cell.test for cell in splits.values()], groups, rng), groups))
        for test, p in pd.DataFrame(found).items():
            levels = [0.05] if "bootstrap" in str(test) else LEVELS
            rows += [(name, test, level, datasets, float((p <= level).mean())) for level in levels]
    return pd.DataFrame(rows, columns=["folds", "test", "level", "datasets", "rejected"])


def draw(table: pd.DataFrame) -> plt.Figure:
    """Found against allowed, a panel for each kind of folds."""
    figure, panels = plt.subplots(1, len(FOLDS), figsize=(10, 4), sharex=True, sharey=True, layout="constrained")
    styles = {"paired t-test over runs": ("#d55e00", "-"), "corrected t-test over runs": ("#0072b2", (0, (4, 1.5)))}
    for panel, name in zip(panels, FOLDS, strict=True):
        panel.plot([0, 20], [0, 20], color="0.5", linewidth=1, label="what the level allows")
        panel.axvline(5, color="0.85", linewidth=1, zorder=0)
        for test, (color, line) in styles.items():
            rows = table[(table["folds"] == name) & (table["test"] == test)]
            panel.plot(
                100 * rows["level"], 100 * rows["rejected"], color=color, linestyle=line, linewidth=2, label=test
            )
            found = 100 * rows.loc[rows["level"] == 0.05, "rejected"].item()
            panel.plot(5, found, "o", color=color)
            panel.annotate(f"{found:.1f} %", (5, found), (-7, 7), textcoords="offset points", color=color, ha="right")
        panel.set_title(name, fontsize=11)
        panel.set_xlabel("level of the test (%)")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set(ylabel="differences found where there is none (%)", xlim=(-0.5, 20), ylim=(0, 75))
    panels[0].set_xticks([0, 5, 10, 15, 20])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Tests of two equally good learners after 5 x 5-fold cross-validation")
    return figure


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=1000)
    results = Path(__file__).parents[1] / "results"
    table = simulate(parser.parse_args().datasets)
    table.to_csv(results / "null_simulation.csv", index=False, float_format="%.4g")
    for suffix in ("png", "svg"):
        draw(table).savefig(results / f"null_simulation.{suffix}", dpi=150)
    print(table[table["level"] == 0.05].pivot(index="test", columns="folds", values="rejected")[[*FOLDS]].to_string())


if __name__ == "__main__":
    main()
