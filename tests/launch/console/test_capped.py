"""The line that a command ends with where runs were capped by `epochs`."""

import pytest

from launch.console import capped
from tests.edits import edit, edit_record
from tests.report import sweep_writer

ENDS = [(8, 8), (8, 6), (8, 5), (7, 4), (5, 2)]  # epochs and the best one, with a patience of 3


@pytest.fixture
def workdir(tmp_path):
    sweep_writer.write(tmp_path, {"unet": sweep_writer.scores(0.7, shape=(1, 5, 4))})
    edit(tmp_path / "config.json", epochs=8, patience=3)
    for fold, (epochs, best) in enumerate(ENDS):
        edit_record(tmp_path / "runs" / "unet" / f"repeat0-fold{fold}" / "record.json", epochs=epochs, best_epoch=best)
    return tmp_path


@pytest.mark.parametrize("schedule", ["plateau", "constant"])
def test_capped_runs_are_counted_and_those_that_still_got_better(workdir, schedule):
    edit(workdir / "config.json", schedule=schedule)
    assert capped.line(workdir) == (
        "2 of 5 runs were capped by epochs=8, 2 of them with the best epoch among the last 3: the same command with a "
        "larger --config.epochs trains them on"
    )
    edit(workdir / "config.json", patience=4)
    assert capped.line(workdir).startswith("3 of 3 runs were capped by epochs=8, 2 of them ")  # two are not finished


@pytest.mark.parametrize("changes", [{"schedule": "cosine"}, {"schedule": "poly"}, {"patience": 1}])
def test_without_runs_that_may_go_on_nothing_is_said(workdir, changes):
    edit(workdir / "config.json", **changes)
    if "patience" in changes:
        edit_record(workdir / "runs" / "unet" / "repeat0-fold0" / "record.json", best_epoch=7)
    assert capped.line(workdir) == ""
