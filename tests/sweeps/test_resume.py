"""A sweep that was stopped or cut off goes on to the bytes it would have left anyway."""

import dataclasses

import pytest

from sharp_unet_jax import models
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.sweeps import plan, sweep, workdir
from tests.tiny_sweep import CONFIG, files, make, stopped_after

pytestmark = pytest.mark.usefixtures("tiny_models")


def test_finished_runs_are_skipped(done, dataset):
    before = files(done)
    assert make(done, dataset) == []
    assert files(done) == before


def test_a_run_that_was_cut_off_is_made_again(done, dataset):
    before = files(done)
    cut = done / "runs" / "unet" / "repeat0-fold1"
    (cut / "record.json").unlink()
    (cut / "metrics.jsonl").write_text('{"epoch": 1')
    events = make(done, dataset)
    assert [event.run.name for event in events if isinstance(event, sweep.Started)] == ["unet/repeat0-fold1"]
    assert files(done) == before


SIX = dataclasses.replace(CONFIG, epochs=6, patience=4, plateau_patience=1, max_runs=2, protocol="nested")


@pytest.mark.parametrize("epochs", [1, pytest.param(5, marks=pytest.mark.slow), 6, 8])
def test_a_stopped_sweep_goes_on_to_the_same_bytes(tmp_path, dataset, epochs):
    make(tmp_path / "whole", dataset, SIX)
    before = stopped_after(epochs, tmp_path / "w", dataset, SIX)
    (tmp_path / "w").rename(tmp_path / "moved")
    after = make(tmp_path / "moved", dataset, SIX)
    assert sum(isinstance(event, sweep.EpochEnded) for event in (*before, *after)) == 12
    assert files(tmp_path / "moved") == files(tmp_path / "whole")
    assert not list((tmp_path / "moved").glob("runs/*/*/resume"))


def test_a_state_of_another_network_is_refused(tmp_path, dataset, monkeypatch):
    stopped_after(1, tmp_path / "w", dataset, SIX)
    monkeypatch.setitem(models.MODELS, "unet", models.MODELS["unet"]._replace(parts=models._unet((4, 16))))
    with pytest.raises(InputError, match=r"repeat0-fold0/resume is of another network or version: delete it"):
        make(tmp_path / "w", dataset, SIX)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], marks=pytest.mark.slow),
        lambda data: data.translate(bytes(range(255, -1, -1))),
    ],
)
def test_a_damaged_state_is_named_and_the_one_before_taken(tmp_path, dataset, damage):
    config = dataclasses.replace(SIX, checkpoint_minutes=0)
    make(tmp_path / "whole", dataset, config)
    stopped_after(3, tmp_path / "w", dataset, config)
    (resume,) = (tmp_path / "w").glob("runs/*/*/resume")
    assert sorted(path.name for path in resume.iterdir() if path.is_dir()) == ["2", "3"]
    largest = max((resume / "3").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    largest.write_bytes(damage(largest.read_bytes()))
    events = make(tmp_path / "w", dataset, config)
    (warning,) = (event.text for event in events if isinstance(event, sweep.Warned))
    assert "after epoch 3 is damaged" in warning
    assert [event.epoch.row["epoch"] for event in events if isinstance(event, sweep.EpochEnded)][:2] == [3, 4]
    assert files(tmp_path / "w") == files(tmp_path / "whole")


def test_side_by_side_runs_go_on_to_the_same_bytes(tmp_path, dataset):
    config = dataclasses.replace(SIX, max_runs=None)
    make(tmp_path / "whole", dataset, config)
    stopped_after(5, tmp_path / "w", dataset, config, devices=2)
    assert len(list((tmp_path / "w").glob("runs/*/*/resume"))) == 2
    make(tmp_path / "w", dataset, config, devices=3)
    assert files(tmp_path / "w") == files(tmp_path / "whole")


@pytest.mark.parametrize("name", ["config.json", "folds.json"])
def test_a_workdir_cut_off_at_its_start_is_begun_again(tmp_path, dataset, name):
    workdir.begin(tmp_path, CONFIG, dataset, plan.split(CONFIG, dataset), {})
    (tmp_path / "folds.json").unlink()
    (tmp_path / f".{name}.123").write_text("{")
    workdir.begin(tmp_path, CONFIG, dataset, plan.split(CONFIG, dataset), {})
    assert (tmp_path / "folds.json").exists()
