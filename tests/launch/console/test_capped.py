"""The line that a command ends with where runs were capped by `epochs`."""

import pytest

from launch.console import capped
from sharp_unet_jax import stopping
from tests.edits import edit_config, edit_record
from tests.report import sweep_writer

ENDS = [(8, 8), (8, 6), (8, 5), (7, 4), (5, 2)]  # epochs and the best one, with a patience of 3


@pytest.fixture
def workdir(tmp_path):
    sweep_writer.write(tmp_path, {"unet": sweep_writer.scores(0.7, shape=(1, 5, 4))}, epochs=8, patience=3)
    for fold, (epochs, best) in enumerate(ENDS):
        path = tmp_path / "runs" / "unet" / f"repeat0-fold{fold}" / "record.json"
        edit_record(path, epochs=epochs, best_epoch=best, capped=stopping.capped(epochs, best, 3, 8))
    return tmp_path


@pytest.mark.parametrize("schedule", ["plateau", "constant"])
def test_capped_runs_are_counted_and_those_that_still_got_better(workdir, schedule):
    edit_config(workdir, schedule=schedule)
    assert capped.line(workdir) == (
        "2 of 5 runs were capped by epochs=8, 2 of them with the best epoch among the last 3: the same command with a "
        "larger --config.epochs trains them on"
    )


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
def test_a_schedule_that_ends_with_the_epochs_lets_no_run_go_on(workdir, schedule):
    edit_config(workdir, schedule=schedule)
    assert capped.line(workdir) == ""


def test_where_all_runs_ended_by_patience_nothing_is_said(workdir):
    for path in workdir.glob("runs/*/*/record.json"):
        edit_record(path, capped=False)
    assert capped.line(workdir) == ""
