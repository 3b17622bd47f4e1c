"""The table of costs, for times written by hand."""

import pytest

from sharp_unet_jax.report import cost
from tests.report import sweep_writer
from tests.report.sweep_writer import scores


def test_it_says_parameters_times_and_hardware(tmp_path):
    sweep = sweep_writer.write(
        tmp_path, {"unet": scores(0.7, shape=(1, 2, 3)), "sharp_unet": scores(0.7, shape=(1, 2, 3))}
    )
    sweep.runs["parameters"] = 7_759_521
    sweep.runs["timing.train_seconds"] = [100.0, 3000, 200, 5000]
    sweep.runs["timing.eval_seconds"] = [20.0, 600, 40, 1000]
    sweep.runs["timing.device"], sweep.runs["timing.devices"] = "H200", [1, 2, 1, 2]
    by_model = cost.table(sweep).frame.set_index("model")
    times = sweep.runs.groupby("model")[cost.SECONDS].sum().sum(axis=1)
    for model, row in by_model.iterrows():
        assert row["parameters (M)"] == "7.76"
        assert row["time of all runs"] == cost.duration(times[model], max(times))
        assert row["time per run"] == cost.duration(times[model] / 2, max(times) / 2)
    for column in ("time per run", "time of all runs"):  # so that the page sorts them by time
        assert len({cell.split()[1] for cell in by_model[column]}) == 1
    assert cost.table(sweep).says == "All runs together took 2.8 h to train."  # 9,960 s
    assert {*by_model["hardware"]} <= {"1 x H200, 2 x H200", "1 x H200", "2 x H200"}


def test_without_finished_runs_there_is_none(tmp_path):
    made = {"unet": scores(0.7, shape=(1, 1, 3))}
    assert cost.table(sweep_writer.write(tmp_path, made, failed=("unet/repeat0-fold0",))) is None


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (720, "12 min"), (12_240, "3.4 h")])
def test_durations(seconds, text):
    assert cost.duration(seconds) == text
    assert [cost.duration(seconds, 12_240) for seconds in (12_240, 90)] == ["3.4 h", "0.03 h"]
    assert [cost.duration(seconds, 720) for seconds in (720, 21)] == ["12 min", "0.3 min"]
