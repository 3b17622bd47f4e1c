"""Rate at which tests find a difference between two learners that do not differ, after 5 x 5-fold cross-validation.

    python bench/null_simulation.py --datasets=1000

Each data set is drawn anew: 60 images of 32 pixels, each a group of its own or in 20 groups, such as frames of a video.
A pixel has a label and two blocks of features, which are independent and have the same distribution. One learner sees
the first block, the other the second. Both are nearest-centroid classifiers of pixels, trained and scored as in a
sweep: the project's own folds, the Jaccard index of each test image, the mean over the fold. Swapping the blocks
changes no distribution, so no learner is better in expectation, for any number of training images and any overlap of
folds: the null hypothesis is exactly true. The difficulty is that of real sweeps: a data set favours one learner by
chance, and all 25 runs use that data set.

Writes results/null_simulation.csv (folds, test, level; rejected: the share of data sets with p <= level) and .png.
Writes the two tests of the figure to sharp_unet_jax/report/null_simulation.csv too, for the report. Prints the rows of
level 0.05. 1000 data sets take three minutes.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import scipy.stats

from sharp_unet_jax import metrics
from sharp_unet_jax.data import folds
from sharp_unet_jax.report import false_positives, figures, statistics, style

IMAGES, PIXELS, FEATURES = 60, 32, 20
SHIFT = 0.5  # standard deviation of a group's foreground; that of a pixel's noise is 1, and labels are 1 apart
LEVELS = np.round(np.arange(0.005, 0.2001, 0.005), 3)
FOLDS = {  # heading: number of groups, and True if folds do not split them
    "independent images": (60, False),
    "groups of three, kept in one fold": (20, True),
    "groups of three, random folds": (20, False),
}


def jaccard(tests: list[np.ndarray], groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a data set; return its scores (runs, images, 2 learners), nan if the run trained on the image."""
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
    foreground = np.stack([common, truth, found.sum(axis=2)], axis=-1)[..., None, :]
    scores = metrics.overlaps(foreground, empty="one")["jaccard"][..., 0]
    return np.where(trained[:, :, None], np.nan, scores)


def p_values(scores: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Return each test's p value for a data set; for an interval it is 0 if the interval excludes zero, else 1."""
    runs = np.diff(np.nanmean(scores, axis=1))[:, 0]
    images = np.diff(np.nanmean(scores, axis=0))[:, 0]
    intervals = {
        "interval over images": statistics.cluster_interval(images, np.arange(IMAGES)),
        "interval over groups": statistics.cluster_interval(images, groups),
    }
    return {
        "paired t-test over runs": float(scipy.stats.ttest_1samp(runs, 0).pvalue),
        "corrected t-test over runs": statistics.corrected_t(runs, 1 / 4).p,
        "Wilcoxon over runs": float(scipy.stats.wilcoxon(runs).pvalue),
        "Wilcoxon over images": statistics.wilcoxon(images, np.arange(IMAGES)),
        "Wilcoxon over groups": statistics.wilcoxon(images, groups),
    } | {name: float(low <= 0 <= high) for name, (low, high) in intervals.items()}


def simulate(datasets: int) -> pd.DataFrame:
    """Return the table of null_simulation.csv."""
    ids = [f"{image:02d}" for image in range(IMAGES)]
    rows = []
    for name, (number, grouped) in FOLDS.items():
        rng = np.random.default_rng(0)
        groups = np.arange(IMAGES) // (IMAGES // number)
        names, found = groups.astype(str), []
        for seed in range(datasets):
            plan = folds.plan(ids, names, folds=5, repeats=5, grouped=grouped, protocol="paper", seed=seed)
            found.append(p_values(jaccard([split.test for split in plan.values()], groups, rng), groups))
        for test, p in pd.DataFrame(found).items():
            levels = [0.05] if "interval" in str(test) else LEVELS
            rows += [(name, test, level, datasets, float((p <= level).mean())) for level in levels]
    return pd.DataFrame(rows, columns=["folds", "test", "level", "datasets", "rejected"])


def main() -> None:
    """Read the command line, simulate, and write and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=1000)
    results = Path(__file__).parents[1] / "results"
    table = simulate(parser.parse_args().datasets)
    table.to_csv(results / "null_simulation.csv", index=False, float_format="%.4g")
    drawn = table[table["test"].isin(false_positives.LOOKS)]
    drawn = drawn.pivot(index=["folds", "level"], columns="test", values="rejected").loc[[*FOLDS]]
    drawn.reset_index().to_csv(
        Path(false_positives.__file__).with_name("null_simulation.csv"), index=False, float_format="%.4g"
    )
    with matplotlib.rc_context(style.RC):
        figures.save(false_positives.figure()._replace(name="null_simulation"), results)
    (results / "null_simulation.svg").unlink()  # pages show the PNG
    print(table[table["level"] == 0.05].pivot(index="test", columns="folds", values="rejected")[[*FOLDS]].to_string())


if __name__ == "__main__":
    main()
