"""A sweep that was stopped or cut off is resumed, and leaves the bytes that it would have left anyway."""

import dataclasses
import json
import shutil

import pytest

from sharp_unet_jax import models
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.sweeps import plan, workdir
from sharp_unet_jax.sweeps.events import EpochEnded, Started, Warned
from tests.conftest import squares
from tests.tiny_sweep import CONFIG, files, make, stopped_after

pytestmark = pytest.mark.usefixtures("tiny_programs")
# Two runs of six epochs; in the second the loss is so unsteady that the learning rate drops.
SIX = dataclasses.replace(
    CONFIG,
    models=("sharp_unet",),
    protocol="nested",
    epochs=6,
    learning_rate=0.3,
    plateau_patience=1,
    checkpoint_minutes=0,
)


@pytest.fixture(scope="module")
def whole(tiny_programs, tmp_path_factory):
    """The files of the sweep SIX, trained without a stop."""
    folder = tmp_path_factory.mktemp("whole") / "w"
    make(folder, squares(), SIX)
    lines = (folder / "runs" / "sharp_unet" / "repeat0-fold1" / "metrics.jsonl").read_text().splitlines()
    assert len({json.loads(line)["learning_rate"] for line in lines}) > 1
    return files(folder)


def test_finished_runs_are_skipped(done, dataset):
    before = files(done)
    assert make(done, dataset) == []
    assert files(done) == before


def test_a_run_that_was_cut_off_is_trained_again(done, dataset):
    before = files(done)
    cut = done / "runs" / "unet" / "repeat0-fold1"
    (cut / "record.json").unlink()
    (cut / "metrics.jsonl").write_text('{"epoch": 1')
    events = make(done, dataset)
    assert [event.run.name for event in events if isinstance(event, Started)] == ["unet/repeat0-fold1"]
    assert files(done) == before


def test_older_states_of_a_finished_run_are_deleted(done, dataset):
    """The sweep may have been cut off between writing the record and deleting them."""
    resume = done / "runs" / "unet" / "repeat0-fold1" / "resume"
    (resume / "1.state").write_bytes(b"left over")
    assert make(done, dataset) == []
    assert [path.name for path in resume.iterdir()] == ["2.state"]  # capped by `epochs`, the run may go on


@pytest.mark.parametrize("epochs", [6, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 5, 8))])
def test_a_stopped_sweep_is_resumed_to_the_same_bytes(tmp_path, dataset, whole, epochs):
    config = dataclasses.replace(SIX, checkpoint_minutes=10.0)  # only the states of the stop
    before = stopped_after(epochs, tmp_path / "w", dataset, config)
    states = [len(list(folder.iterdir())) for folder in (tmp_path / "w").glob("runs/*/*/resume")]
    assert set(states) == {1}
    (tmp_path / "w").rename(tmp_path / "moved")
    after = make(tmp_path / "moved", dataset, SIX)
    assert sum(isinstance(event, EpochEnded) for event in (*before, *after)) == 12
    assert files(tmp_path / "moved") == whole
    kept = [path.name for path in (tmp_path / "moved").glob("runs/*/*/resume/*")]
    assert kept == ["6.state"] * 2  # both runs are capped by `epochs`


def test_a_state_of_another_network_is_refused(tmp_path, dataset, monkeypatch):
    stopped_after(1, tmp_path / "w", dataset, SIX)
    wider = models.MODELS["sharp_unet"]._replace(parts=models._unet((4, 16)))
    monkeypatch.setitem(models.MODELS, "sharp_unet", wider)
    with pytest.raises(InputError, match=r"repeat0-fold0/resume is of another run, network or version: delete"):
        make(tmp_path / "w", dataset, SIX)


def test_a_state_of_another_fold_is_refused(tmp_path, dataset):
    """It has learnt from the test images of this one."""
    stopped_after(5, tmp_path / "w", dataset, SIX, devices=2)
    runs = tmp_path / "w" / "runs" / "sharp_unet"
    shutil.rmtree(runs / "repeat0-fold0" / "resume")
    shutil.copytree(runs / "repeat0-fold1" / "resume", runs / "repeat0-fold0" / "resume")
    with pytest.raises(InputError, match=r"repeat0-fold0/resume is of another run, network or version: delete it"):
        make(tmp_path / "w", dataset, SIX)


def test_a_damaged_state_is_named_and_the_one_before_taken(tmp_path, dataset, whole):
    stopped_after(3, tmp_path / "w", dataset, SIX)
    (resume,) = (tmp_path / "w").glob("runs/*/*/resume")
    assert sorted(path.name for path in resume.iterdir()) == ["2.state", "3.state"]
    newest = resume / "3.state"
    newest.write_bytes(newest.read_bytes().translate(bytes(range(255, -1, -1))))
    events = make(tmp_path / "w", dataset, SIX)
    (warning,) = (event.text for event in events if isinstance(event, Warned))
    assert "after epoch 3 is damaged" in warning
    assert [event.epoch.row["epoch"] for event in events if isinstance(event, EpochEnded)][:2] == [3, 4]
    assert files(tmp_path / "w") == whole


def test_side_by_side_runs_are_resumed_on_other_devices_to_the_same_bytes(tmp_path, dataset, whole):
    stopped_after(5, tmp_path / "w", dataset, SIX, devices=2)
    assert len(list((tmp_path / "w").glob("runs/*/*/resume"))) == 2
    make(tmp_path / "w", dataset, SIX)
    assert files(tmp_path / "w") == whole


@pytest.mark.parametrize("name", ["config.json", "folds.json"])
def test_a_workdir_cut_off_at_its_start_is_begun_again(tmp_path, dataset, name):
    workdir.begin(tmp_path, CONFIG, dataset, plan.split(CONFIG, dataset), {})
    (tmp_path / "folds.json").unlink()
    (tmp_path / f".{name}.123").write_text("{")
    workdir.begin(tmp_path, CONFIG, dataset, plan.split(CONFIG, dataset), {})
    assert (tmp_path / "folds.json").exists()
