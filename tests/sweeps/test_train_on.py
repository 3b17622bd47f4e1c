"""A sweep whose runs were capped by `epochs` goes on to a larger number, to the bytes of a sweep that began with it."""

import dataclasses
import json
import shutil

import jax
import pytest

from sharp_unet_jax import models
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.inference import loading
from sharp_unet_jax.report import records
from sharp_unet_jax.storage import checkpoint, lock, resume
from sharp_unet_jax.sweeps import merge, pack, plan, record, sweep, workdir
from sharp_unet_jax.sweeps.events import EpochEnded, Started, Warned
from tests.conftest import squares
from tests.edits import edit_record
from tests.report import synthetic
from tests.tiny_sweep import CONFIG, files, make, stopped_after
from tests.uneven import CROPS, uneven

pytestmark = pytest.mark.usefixtures("tiny_programs")
# Three runs: with 4 epochs the second ends by patience and two are capped, of which 7 epochs let one end by patience.
FEW = dataclasses.replace(
    CONFIG,
    models=("sharp_unet",),
    folds=3,
    protocol="nested",
    epochs=4,
    patience=2,
    learning_rate=0.3,
    plateau_patience=1,
    threshold=0.4,
)
MORE = dataclasses.replace(FEW, epochs=7)
RUNS = tuple(f"repeat0-fold{fold}" for fold in range(3))
CAPPED, ENDED, SLOW = (f"runs/sharp_unet/{run}" for run in RUNS)


@pytest.fixture(scope="module")
def folders(tiny_programs, tmp_path_factory):
    """The sweeps FEW and MORE, each trained at once."""
    folder = tmp_path_factory.mktemp("sweeps")
    make(folder / "few", squares(), FEW)
    make(folder / "more", squares(), MORE)
    ends = [[json.loads((folder / name / run / "record.json").read_text()) for run in (CAPPED, ENDED, SLOW)]
            for name in ("few", "more")]  # fmt: skip
    assert [[end["epochs"] for end in each] for each in ends] == [[4, 3, 4], [7, 3, 6]]
    assert [[end["best_epoch"] + 2 > end["epochs"] for end in each] for each in ends] == [[1, 0, 1], [1, 0, 0]]
    lines = (folder / "more" / SLOW / "metrics.jsonl").read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in lines]
    assert rates[:4] == [0.3] * 4
    assert rates[5] < 0.3  # it drops after the cap of 4 epochs
    return folder


@pytest.fixture
def few(folders, tmp_path):
    return shutil.copytree(folders / "few", tmp_path / "few")


def trained_epochs(events):
    """Return the epochs that were trained, by run."""
    found = {}
    for event in events:
        if isinstance(event, EpochEnded):
            found.setdefault(event.run.name, []).append(event.epoch.row["epoch"])
    return found


def states(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.glob("runs/*/*/resume/*"))


def weights(folder):
    return [checkpoint.digest(checkpoint.load(folder / run / "checkpoint")) for run in (CAPPED, ENDED, SLOW)]


def same(folder, other):
    """Check that two finished sweeps are the same, but for the seconds."""
    ours, theirs = files(folder), files(other)
    assert {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)} == set()
    assert weights(folder) == weights(other)
    assert states(folder) == states(other)


def test_capped_runs_go_on_and_others_are_left_alone(few, folders):
    assert states(few) == [f"{CAPPED}/resume/4.state", f"{SLOW}/resume/4.state"]
    before = {path: path.stat().st_mtime_ns for path in (few / ENDED).rglob("*")}
    events = make(few, squares(), MORE)
    assert trained_epochs(events) == {"sharp_unet/repeat0-fold0": [5, 6, 7], "sharp_unet/repeat0-fold2": [5, 6]}
    assert {path: path.stat().st_mtime_ns for path in (few / ENDED).rglob("*")} == before
    assert states(few) == [f"{CAPPED}/resume/7.state"]
    same(few, folders / "more")
    assert make(few, squares(), MORE) == []


@pytest.mark.slow
def test_in_several_steps_and_on_two_devices(few, folders):
    for epochs in (5, 7):
        make(few, squares(), dataclasses.replace(MORE, epochs=epochs), devices=2)
    same(few, folders / "more")


@pytest.mark.parametrize("harm", ["gone", pytest.param("damaged", marks=pytest.mark.slow)])
def test_without_its_state_a_run_is_trained_again_from_its_start(few, folders, harm):
    state = few / CAPPED / "resume" / "4.state"
    shutil.rmtree(state.parent) if harm == "gone" else state.write_bytes(state.read_bytes()[:-1] + b"!")
    events = make(few, squares(), MORE)
    (text,) = (event.text for event in events if isinstance(event, Warned))
    said = {
        "gone": "sharp_unet/repeat0-fold0 has no saved state to go on from: it is trained again from its start",
        "damaged": f"{state.parent}: the state after epoch 4 is damaged (its bytes have changed), starting again",
    }
    assert text == said[harm]
    assert trained_epochs(events)["sharp_unet/repeat0-fold0"] == [1, 2, 3, 4, 5, 6, 7]
    same(few, folders / "more")


@pytest.mark.parametrize("epochs", [4, pytest.param(7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("gone", [["record.json"], ["record.json", "per_image.parquet", "predictions.npz"]])
def test_a_kill_after_the_state_was_saved_loses_nothing(few, folders, gone, epochs):
    """Both when a run is capped, before its record is written, and when it goes on, after its old one is deleted."""
    for name in gone:
        (few / CAPPED / name).unlink()
    events = make(few, squares(), dataclasses.replace(FEW, epochs=epochs))
    assert trained_epochs(events).get("sharp_unet/repeat0-fold0", []) == [5, 6, 7][: epochs - 4]
    same(few, folders / {4: "few", 7: "more"}[epochs])


@pytest.mark.parametrize("ended", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_stop_on_the_way_is_resumed(few, folders, ended):
    """After one epoch the first run is between its two numbers; after four the last run is."""
    before = stopped_after(ended, few, squares(), dataclasses.replace(MORE, checkpoint_minutes=0))
    assert not (few / CAPPED / "record.json").exists() or ended == 4
    after = make(few, squares(), MORE)
    assert sum(isinstance(event, EpochEnded) for event in (*before, *after)) == 5
    same(few, folders / "more")


def test_a_state_that_is_refused_costs_no_finished_run_its_files(few, monkeypatch):
    monkeypatch.setitem(models.MODELS, "sharp_unet", models.MODELS["sharp_unet"]._replace(parts=models._unet((4, 16))))
    before = {name: content for name, content in files(few).items() if name.startswith("runs")}
    with pytest.raises(InputError, match=r"fold0/resume is of another run, network or version: delete it to start"):
        make(few, squares(), MORE)
    assert {name: content for name, content in files(few).items() if name.startswith("runs")} == before


def begin(folder, config):
    workdir.begin(folder, config, squares(), plan.split(config, squares()), {})
    workdir.collect(folder, config)


def test_until_they_have_gone_on_capped_runs_are_not_finished(few, folders):
    """Scores of two numbers of epochs are never mixed; the smaller number brings the sweep back as it was."""
    begin(few, MORE)
    assert [line.split(",")[4] for line in (few / "scores.csv").read_text().splitlines()[1:]] == ["1"]
    assert list(records.load(few).finished) == ["sharp_unet/repeat0-fold1"]
    assert [run.name for run in loading.load_all(few)] == ["sharp_unet/repeat0-fold1"]
    with pytest.raises(InputError, match="repeat0-fold0 is not finished: give its sweep's command again"):
        loading.load(few / CAPPED)
    (few / "tables.md").touch()
    assert pack.pack(few.parent / "packed", few) == 1
    assert list(records.load(few.parent / "packed").finished) == ["sharp_unet/repeat0-fold1"]
    assert make(few, squares(), FEW) == []
    (few / "tables.md").unlink()
    same(few, folders / "few")


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
def test_a_schedule_that_ends_with_the_epochs_allows_no_other_number(tmp_path, schedule):
    config = dataclasses.replace(FEW, schedule=schedule, warmup=1.0)
    begin(tmp_path / "w", config)
    before = (tmp_path / "w" / "config.json").read_bytes()
    for epochs in (3, 5):
        with pytest.raises(InputError) as error:
            begin(tmp_path / "w", dataclasses.replace(config, epochs=epochs))
        assert str(error.value) == (
            f"{tmp_path / 'w'} holds a sweep with epochs=4, not {epochs}, and with schedule={schedule} every epoch "
            "depends on it: name another --workdir, or give the config it was started with"
        )
    assert (tmp_path / "w" / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("schedule", "best_epoch", "status", "kept"),
    [
        ("plateau", 3, "finished", ["4.state"]),
        ("constant", 3, "finished", ["4.state"]),
        ("plateau", 2, "finished", []),
        ("cosine", 3, "finished", []),
        ("poly", 3, "finished", []),
        ("plateau", 3, "failed", []),
    ],
)
def test_the_last_state_of_a_capped_run_alone_is_kept(tmp_path, schedule, best_epoch, status, kept):
    for epoch in (3, 4):
        resume.save(tmp_path / "resume", epoch, [1.0], {})
    config, rows = dataclasses.replace(FEW, schedule=schedule), [{}] * 4
    ended = {"capped": record.capped(config, rows, best_epoch)} if status == "finished" else {}
    record.tidy(tmp_path, config, {"status": status} | ended)
    assert [path.name for path in tmp_path.glob("resume/*")] == kept
    assert (tmp_path / "resume").exists() == bool(kept)


def test_fewer_epochs_than_a_run_has_are_refused(few):
    before = files(few)
    for epochs, name in ((3, "fold0"), (2, "fold0")):
        with pytest.raises(InputError, match=rf"holds sharp_unet/repeat0-{name} with 4 epochs: give epochs=4 or more"):
            make(few, squares(), dataclasses.replace(FEW, epochs=epochs))
    assert files(few) == before
    for run in (CAPPED, SLOW):
        shutil.rmtree(few / run)
    begin(few, dataclasses.replace(FEW, epochs=3))  # the last run ended by patience after three
    with pytest.raises(InputError, match=r"holds sharp_unet/repeat0-fold1 with 3 epochs: give epochs=3 or more, not 2"):
        begin(few, dataclasses.replace(FEW, epochs=2))


def test_fewer_epochs_than_a_saved_state_has_are_refused(few):
    stopped_after(1, few, squares(), MORE)
    with pytest.raises(InputError, match=r"holds sharp_unet/repeat0-fold0 with 5 epochs: give epochs=5 or more, not 4"):
        make(few, squares(), FEW)


def test_a_shard_with_fewer_epochs_than_one_that_runs_is_refused(tmp_path):
    """It would write a smaller number beside runs that get more."""
    begin(tmp_path / "w", MORE)
    with lock.held(tmp_path / "w", (0, 2)), pytest.raises(InputError) as error:
        next(sweep.train(FEW, squares(), tmp_path / "w", jax.devices()[:1], shard=(1, 2)))
    assert str(error.value) == (
        f"{tmp_path / 'w'}: another shard is running there with epochs=7, not 4: give all shards the same epochs"
    )
    assert workdir.read_config(tmp_path / "w").epochs == 7
    begin(tmp_path / "w", FEW)  # on its own it may


@pytest.mark.parametrize(
    ("field", "there", "here"),
    [
        ("repeats", 2, 1),
        ("repeats", 1, 2),
        ("models", ("sharp_unet", "unet"), ("unet", "sharp_unet")),
        ("models", ("unet",), ("unet", "sharp_unet")),
        ("max_runs", 3, None),
    ],
)
def test_a_shard_with_another_plan_than_one_that_runs_is_refused(tmp_path, field, there, here):
    """Some runs would be trained by both, and others by none."""
    begin(tmp_path / "w", dataclasses.replace(FEW, **{field: there}))
    with lock.held(tmp_path / "w", (0, 2)), pytest.raises(InputError) as error:
        next(
            sweep.train(
                dataclasses.replace(FEW, **{field: here}), squares(), tmp_path / "w", jax.devices()[:1], shard=(1, 2)
            )
        )
    assert f"with {field}={there!r}, not {here!r}: give all shards the same {field}" in str(error.value)
    assert getattr(workdir.read_config(tmp_path / "w"), field) == there


def test_a_config_that_was_edited_to_fewer_epochs_is_told(few):
    path = few / "config.json"
    path.write_text(path.read_text().replace('"epochs": 4', '"epochs": 3'))
    with pytest.raises(InputError, match=r"config.json is not what .*fold0 was trained with .it has epochs=3, the rec"):
        records.load(few).finished  # noqa: B018


def test_a_run_that_ended_by_a_rule_of_its_own_is_finished(few):
    """`docs/extending.md` shows such a rule: neither patience nor the number of epochs has ended the run."""
    for run in (CAPPED, SLOW):
        assert json.loads((few / run / "record.json").read_text())["capped"]
        edit_record(few / run / "record.json", capped=False)
    begin(few, MORE)
    assert len(records.load(few).finished) == 3


def test_capped_runs_are_not_merged_with_those_that_went_on(few, folders, tmp_path):
    for target, sources in (("all", [few, folders / "more"]), ("other", [folders / "more", few])):
        with pytest.raises(InputError) as error:
            merge.merge(tmp_path / target, sources)
        assert str(error.value) == (
            f"{few} holds sharp_unet/repeat0-fold0 capped by epochs=4, but another part has epochs=7: give the command "
            f"of {few} again with --config.epochs=7"
        )
        assert not (tmp_path / target).exists()
    for run in (CAPPED, SLOW):
        shutil.rmtree(few / run)  # all that are left agree
    parts = [few, shutil.copytree(folders / "more", tmp_path / "more", ignore=shutil.ignore_patterns("*fold1"))]
    assert merge.merge(tmp_path / "all", parts) == 3
    same(tmp_path / "all", folders / "more")
    assert make(tmp_path / "all", squares(), MORE) == []


@pytest.mark.slow
def test_merged_runs_go_on(few, folders, tmp_path):
    merge.merge(tmp_path / "all", [few])
    make(tmp_path / "all", squares(), MORE)
    same(tmp_path / "all", folders / "more")


RESIZED = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, score="native"), warmup=0.5)
ON_CROPS = dataclasses.replace(
    CROPS, data=dataclasses.replace(CROPS.data, score="native", validate="crops"), schedule="constant"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "data"), [(RESIZED, synthetic.with_native), (ON_CROPS, uneven)], ids=["resized", "crops"]
)
def test_every_part_of_a_recipe_goes_on(tmp_path, config, data):
    """Average weights, an encoder that is frozen beyond the cap, and scores that are made after the training."""
    config = dataclasses.replace(config, models=("sharp_unet",), max_runs=1, ema=0.9, frozen_epochs=2, epochs=1)
    more = dataclasses.replace(config, epochs=3)
    for each in (config, more):
        make(tmp_path / "w", data(), each)
    make(tmp_path / "whole", data(), more)
    assert files(tmp_path / "w") == files(tmp_path / "whole")


def test_a_run_that_diverges_on_the_way_leaves_nothing_of_the_smaller_number(few, monkeypatch):
    """Neither scores nor weights lie beside the record of the failure."""
    finish = record.finish

    def failing(folder, config, dataset, run, split, result, *rest):
        return finish(folder, config, dataset, run, split, record.train.DivergedError(5, "the training loss"), *rest)

    monkeypatch.setattr(record, "finish", failing)
    events = make(few, squares(), dataclasses.replace(MORE, max_runs=1))
    assert isinstance(events[0], Started)
    assert json.loads((few / CAPPED / "record.json").read_text())["status"] == "failed"
    assert sorted(path.name for path in (few / CAPPED).iterdir()) == ["metrics.jsonl", "record.json"]
