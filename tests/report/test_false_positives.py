"""The figure of tests on simulated data without a difference, against the simulation's own table."""

from importlib import resources
from pathlib import Path

import pandas as pd

from sharp_unet_jax.report import false_positives


def test_the_report_has_the_numbers_of_the_simulation():
    every = pd.read_csv(Path(__file__).parents[2] / "results" / "null_simulation.csv").set_index(
        ["folds", "level", "test"]
    )
    with resources.files("sharp_unet_jax.report").joinpath("null_simulation.csv").open() as file:
        told = pd.read_csv(file).set_index(["folds", "level"]).rename_axis(columns="test").stack()
    assert len(told) == 3 * 2 * 40
    assert told.to_dict() == every["rejected"].loc[told.index].to_dict()


def test_the_figure_names_the_share_found_at_5_per_cent():
    panels = false_positives.figure().figure.axes
    said = [text.get_text() for panel in panels for text in panel.texts]
    assert said == ["34.0 %", "1.9 %", "38.0 %", "3.3 %", "51.0 %", "10.1 %"]
