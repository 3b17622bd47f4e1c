"""A sweep: its events, the same bytes on whatever devices its runs are trained, and the workdirs that it refuses."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock, Timeout

from sharp_unet_jax.config import Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import paper_tables
from sharp_unet_jax.storage import lock
from sharp_unet_jax.sweeps import record, sweep, workdir
from sharp_unet_jax.sweeps.events import Ended, EpochEnded, Started
from sharp_unet_jax.training import epochs, train
from tests.conftest import squares
from tests.edits import edit_record
from tests.tiny_sweep import CONFIG, OF_A_RUN, files, make

pytestmark = pytest.mark.usefixtures("tiny_programs")
ONE = dataclasses.replace(CONFIG, models=("sharp_unet",))


def test_events_come_in_the_plans_order(tmp_path, dataset):
    events = make(tmp_path / "w", dataset)
    kinds = [type(event).__name__ for event in events]
    assert kinds == ["Started", "EpochEnded", "EpochEnded", "Ended"] * 4
    assert [event.number for event in events[::4]] == [1, 2, 3, 4]
    assert [event.run.name for event in events[::4]] == [
        "unet/repeat0-fold0",
        "sharp_unet/repeat0-fold0",
        "unet/repeat0-fold1",
        "sharp_unet/repeat0-fold1",
    ]


def test_an_epoch_that_compiled_says_so(tmp_path, dataset, monkeypatch):
    """The first epoch of a network compiles, and the first epoch after its encoder was frozen."""

    def three_epochs(shared, group, program, run, number):
        for epoch in (1, 2, 3):
            yield EpochEnded(run, train.Epoch({"epoch": epoch}, 1.0, 1.0, None))

    monkeypatch.setattr(sweep, "train_run", three_epochs)
    config = dataclasses.replace(CONFIG, frozen_epochs=1)
    events = sweep.train(config, dataset, tmp_path / "w", jax.devices()[:1])
    assert [event.compiled for event in events] == [True, True, False] * 2 + [False] * 6


def test_a_model_compiles_once_for_all_folds_and_repeats(tmp_path, dataset, monkeypatch):
    built = []
    build = epochs.build
    monkeypatch.setattr(epochs, "build", lambda *args: built.append(build(*args)) or built[-1])
    make(tmp_path / "w", dataset, dataclasses.replace(CONFIG, repeats=2, epochs=1, protocol="nested"))
    assert len(built) == 2
    assert [(p.train_step._cache_size(), p.eval_step._cache_size()) for p in built] == [(1, 1), (1, 1)]


def test_the_same_sweep_leaves_the_same_bytes(done, tmp_path, dataset):
    make(tmp_path / "again", dataset)
    assert files(done) == files(tmp_path / "again")


def same_runs(folder, done):
    """Check that the two runs of `ONE` in `folder` are those of the whole sweep."""
    ours, theirs = files(folder), files(done)
    names = [name for name in ours if name.startswith("runs/")]
    assert len(names) == 2 * len(OF_A_RUN)
    assert {name for name in names if ours[name] != theirs[name]} == set()


def test_a_network_alone_has_the_runs_of_the_sweep(done, tmp_path, dataset):
    make(tmp_path / "alone", dataset, ONE)
    same_runs(tmp_path / "alone", done)


# Batches of 5, which neither 2 nor 4 devices divide; one network, compiled once for each group.
FOUR = dataclasses.replace(ONE, folds=3, batch_size=5)


@pytest.fixture(scope="module")
def on_one_device(tiny_programs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "w"
    make(folder, squares(), FOUR)
    return folder


@pytest.mark.parametrize("per_run", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4))])
def test_groups_of_four_devices_train_runs_side_by_side(tmp_path, on_one_device, dataset, per_run):
    config = dataclasses.replace(FOUR, devices_per_run=per_run)
    events = make(tmp_path / "w", dataset, config, devices=4)
    ours, theirs = (pd.read_csv(folder / "scores.csv") for folder in (tmp_path / "w", on_one_device))
    assert list(ours["model"]) == list(theirs["model"])
    np.testing.assert_allclose(ours["jaccard"], theirs["jaccard"], atol=0.01)
    for path in on_one_device.glob("runs/*/*/metrics.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        same = (tmp_path / "w" / path.relative_to(on_one_device)).read_text().splitlines()
        for row, other in zip(rows, map(json.loads, same), strict=True):
            assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
    if per_run == 1:
        assert files(on_one_device) == files(tmp_path / "w")
    assert {event.record["timing"]["devices"] for event in events if isinstance(event, Ended)} == {per_run}
    on, most = set(), 0
    for event in events:
        on = on | {event.run} if isinstance(event, Started) else on
        most = max(most, len(on))
        on = on - {event.run} if isinstance(event, Ended) else on
    assert (most > 1) == (per_run < 4)


def test_an_error_of_one_group_stops_the_others_at_the_end_of_their_epochs(tmp_path, dataset, monkeypatch):
    config = dataclasses.replace(ONE, epochs=12, patience=12)
    finish = record.finish

    def full(folder, config, dataset, run, *rest):
        if run.fold == 1:
            raise OSError("No space left on device")
        return finish(folder, config, dataset, run, *rest)

    monkeypatch.setattr(record, "finish", full)
    with pytest.raises(OSError, match="No space left"):
        make(tmp_path / "w", dataset, config, devices=2)
    monkeypatch.undo()
    make(tmp_path / "w", dataset, config)
    assert len(pd.read_csv(tmp_path / "w" / "scores.csv")) == 2


def test_a_data_set_that_is_read_as_it_goes_gives_the_same_bytes(done, tmp_path, dataset):
    config = dataclasses.replace(ONE, data=dataclasses.replace(CONFIG.data, resident_gb=0.0))
    make(tmp_path / "streamed", dataset, config)
    same_runs(tmp_path / "streamed", done)


@pytest.mark.parametrize("n", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_shards_of_one_workdir_leave_what_one_process_leaves(done, tmp_path, dataset, n):
    for i in reversed(range(n)):
        list(sweep.train(ONE, dataset, tmp_path / "shards", jax.devices()[:1], shard=(i, n)))
        workdir.collect(tmp_path / "shards", ONE)
    same_runs(tmp_path / "shards", done)
    assert len(pd.read_csv(tmp_path / "shards" / "scores.csv")) == 2


def test_more_models_and_repeats_go_into_the_same_workdir(done, dataset):
    config = dataclasses.replace(CONFIG, repeats=2, max_runs=5)
    events = make(done, dataset, config)
    assert [event.run.name for event in events if isinstance(event, Started)] == ["unet/repeat1-fold0"]
    paper_tables.write(done)
    assert "**5 of 8 runs are finished" in (done / "tables.md").read_text()


def test_fewer_models_leave_the_others_out_of_every_table(done, dataset):
    make(done, dataset, dataclasses.replace(CONFIG, models=("unet",)))
    assert set(pd.read_csv(done / "scores.csv")["model"]) == {"unet"}
    paper_tables.write(done)
    text = (done / "tables.md").read_text()
    assert "sharp" not in text
    assert "are finished" not in text


def test_machines_may_have_the_files_of_a_sweep_in_places_of_their_own(dataset):
    elsewhere = dict.fromkeys(("manual_dir", "data_dir", "images", "masks", "table", "groups"), "/another/place")
    other = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, **elsewhere))
    assert workdir.described(other, dataset, {}) == workdir.described(CONFIG, dataset, {})


def test_processes_that_were_started_otherwise_are_refused_before_anything_is_written(tmp_path, dataset, monkeypatch):
    """With workdirs of their own, nothing else would tell: one network trained at two learning rates."""
    first = workdir.described(dataclasses.replace(CONFIG, learning_rate=0.1), dataset, {})
    other = {"differs": True}  # what another process says when all are asked

    monkeypatch.setattr(sweep.distributed, "processes", lambda devices: [0, 1])
    monkeypatch.setattr(sweep.distributed, "any_process", lambda flag, devices: flag or other["differs"])
    monkeypatch.setattr(sweep.distributed, "broadcast", lambda message, devices: json.dumps(first).encode())
    alike = "the processes of this sweep were not started alike: "
    with pytest.raises(InputError, match=alike + ".*learning_rate=0.001 here, 0.1 in process 0"):
        make(tmp_path / "1", dataset)
    monkeypatch.setattr(sweep.distributed, "broadcast", lambda message, devices: message)
    with pytest.raises(InputError, match=alike + "another process has another config, other data or other weights"):
        make(tmp_path / "0", dataset)
    assert not list(tmp_path.glob("*/config.json"))  # it would refuse the right command
    other["differs"] = False
    monkeypatch.setattr(sweep.distributed, "share", lambda stop: stop.set())  # which shows that it went on
    monkeypatch.setattr(sweep.distributed, "gather", lambda value, devices: value[None])
    with pytest.raises(sweep.Stopped):
        make(tmp_path / "0", dataset)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": 1}, "seed=0"),
        ({"data": Data(builder="squares", size=(16, 32))}, "data.size"),
        ({"grouped": True}, "grouped"),
    ],
)
def test_a_workdir_of_another_config_is_refused(done, dataset, changes, field):
    before = files(done)
    with pytest.raises(InputError, match=field):
        make(done, dataset, dataclasses.replace(CONFIG, **changes))
    assert files(done) == before


def test_a_sweep_from_pretrained_weights_records_their_digest_and_refuses_others(done, tmp_path, dataset):
    weights = tmp_path / "weights"
    shutil.copytree(done / "runs" / "unet" / "repeat0-fold0", weights)
    config = dataclasses.replace(CONFIG, weights=str(weights), max_runs=1)
    make(tmp_path / "from_weights", dataset, config)
    digests = json.loads((tmp_path / "from_weights" / "weights.json").read_text())
    expected = {model: epochs.pretrained(config, model, dataset).sha256 for model in ("unet", "sharp_unet")}
    assert digests == expected
    scratch = (done / "runs" / "unet" / "repeat0-fold0" / "metrics.jsonl").read_text()
    assert (tmp_path / "from_weights" / "runs" / "unet" / "repeat0-fold0" / "metrics.jsonl").read_text() != scratch
    assert f"Started from {weights}" in paper_tables.markdown(tmp_path / "from_weights")

    shutil.rmtree(weights)
    shutil.copytree(done / "runs" / "sharp_unet" / "repeat0-fold1", weights)
    before = files(tmp_path / "from_weights")
    with pytest.raises(InputError, match="whose unet started from other weights"):
        make(tmp_path / "from_weights", dataset, config)
    assert files(tmp_path / "from_weights") == before


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, dataset):
    (tmp_path / "weights.pth").write_bytes(b"PK not a file of weights")
    config = dataclasses.replace(CONFIG, weights=str(tmp_path / "weights.pth"))
    with pytest.raises(InputError, match=r"weights: .*weights.pth"):
        make(tmp_path / "w", dataset, config)
    assert not (tmp_path / "w").exists()


def test_a_folder_of_something_else_is_refused(tmp_path, dataset):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="holds no sweep"):
        make(tmp_path, dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_config_is_checked_and_written_by_one_process_at_a_time(tmp_path, dataset, monkeypatch):
    def begin(folder, *_):
        with pytest.raises(Timeout):
            FileLock(folder / ".locks" / "written").acquire(timeout=0)
        raise InputError("looked at")

    monkeypatch.setattr(workdir, "begin", begin)
    with pytest.raises(InputError, match="looked at"):
        make(tmp_path / "w", dataset)


def test_a_run_that_another_process_trains_is_refused(tmp_path, dataset):
    with (
        lock.making(tmp_path / "w", "unet/repeat0-fold0"),
        pytest.raises(InputError, match="unet/repeat0-fold0 is being trained by another process"),
    ):
        make(tmp_path / "w", dataset)


def test_runs_that_failed_wait_for_those_that_were_never_trained(done, dataset):
    """A job system may end the sweep after each failure, and start it again."""
    edit_record(done / "runs/unet/repeat0-fold0/record.json", status="failed")
    shutil.rmtree(done / "runs/sharp_unet/repeat0-fold1")
    started = [event.run.name for event in make(done, dataset) if isinstance(event, Started)]
    assert started == ["sharp_unet/repeat0-fold1", "unet/repeat0-fold0"]
