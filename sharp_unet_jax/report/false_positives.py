"""False positives of tests on simulated learners that do not differ: why the usual t-test over runs is not used."""

from importlib import resources

import pandas as pd
from matplotlib.figure import Figure

from sharp_unet_jax.palette import INK, PLAIN, SHARP
from sharp_unet_jax.report.figures import Captioned
from sharp_unet_jax.report.style import DASHED, SOLID

LOOKS = {"paired t-test over runs": (SHARP, SOLID), "corrected t-test over runs": (PLAIN, DASHED)}
CAPTION = (
    "Two learners that are equally good by construction were compared on 1000 simulated data sets by 5 x 5-fold "
    "cross-validation (bench/null_simulation.py of this project). At a level of 5 % a test should find a difference in "
    "5 % of them. The runs share training images. The usual paired t-test takes the runs for independent, the "
    "corrected resampled t-test does not. Where random folds split groups, it too finds a difference too often."
)


def figure() -> Captioned:
    """Return "null", drawn from null_simulation.csv, which bench/null_simulation.py writes."""
    with resources.files("sharp_unet_jax.report").joinpath("null_simulation.csv").open() as file:
        return Captioned("null", "Tests of two equally good learners", CAPTION, draw(pd.read_csv(file)))


def draw(table: pd.DataFrame) -> Figure:
    """Return a figure of differences found against the test's level, a panel for each kind of folds.

    `table` has the columns folds, level and, for each test of LOOKS, the share of data sets with a difference found.
    """
    names = list(dict.fromkeys(table["folds"]))
    drawn = Figure(figsize=(7, 2.7), layout="constrained")
    panels = drawn.subplots(1, len(names), sharex=True, sharey=True)
    for panel, name in zip(panels, names, strict=True):
        rows = table[table["folds"] == name].set_index("level")
        panel.plot([0, 20], [0, 20], color=INK, lw=0.6, ls=":", label="what the level allows")
        panel.axvline(5, color=INK, alpha=0.2, lw=0.6)
        for test, (colour, dashes) in LOOKS.items():
            found = 100 * rows[test]
            panel.plot(100 * rows.index, found, color=colour, ls=dashes, lw=1.4, label=test)
            panel.plot(5, found[0.05], "o", ms=4, color=colour)
            text, at = f"{found[0.05]:.1f} %", (5, found[0.05])
            panel.annotate(text, at, (-4, 5), textcoords="offset points", color=colour, ha="right")
        panel.set_title(name)
        panel.set_xlabel("level of the test (%)")
    panels[0].set(ylabel="differences found\nwhere there is none (%)", xlim=(-0.5, 20), ylim=(0, 75))
    panels[0].set_xticks([0, 5, 10, 15, 20])
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn
