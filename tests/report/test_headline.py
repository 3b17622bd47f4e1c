"""The tiles, beside the numbers of the tables."""

import numpy as np

from sharp_unet_jax.report import headline, paper_tables
from tests.report import sweep_writer
from tests.report.sweep_writer import scores


def test_tiles_say_the_numbers_of_the_tables(tmp_path):
    sweep = sweep_writer.write(tmp_path, {"unet": scores(0.97, seed=1), "sharp_unet": scores(0.8, seed=2)})
    table = paper_tables.tables([sweep])[0].frame.set_index("model")
    found = {tile.name: tile.lines for tile in headline.tiles(sweep)}
    assert list(found) == ["Jaccard", "Dice", "Sensitivity", "Precision"]
    for line in found["Jaccard"]:
        row = table.loc[line.model]
        assert line.value == row["Jaccard (%)"].strip("*").partition(" ")[0]
        assert line.interval == row["95 % interval"]
    assert [line.value for line in found["Dice"]] == [cell.partition(" ")[0] for cell in table["Dice (%)"]]


def test_two_runs_have_no_interval_and_scores_that_no_record_holds_no_tile(tmp_path):
    sweep = sweep_writer.write(tmp_path, {"unet": scores(0.9, shape=(1, 2, 4))})
    assert all(line.interval == "" for tile in headline.tiles(sweep) for line in tile.lines)
    sweep.runs["precision"] = np.nan
    assert [tile.name for tile in headline.tiles(sweep)] == ["Jaccard", "Dice", "Sensitivity"]
