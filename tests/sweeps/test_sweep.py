"""A sweep: what it leaves, the same bytes whoever makes it, and what it refuses."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest

from sharp_unet_jax.config import Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import paper_tables
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.sweeps import plan, sweep, workdir
from sharp_unet_jax.training import epochs, train
from tests.conftest import shrink_models, squares
from tests.tiny_sweep import CONFIG, OF_A_RUN, files, make

pytestmark = pytest.mark.usefixtures("tiny_models")


def test_events_tell_the_story(tmp_path, dataset):
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


def test_an_epoch_that_compiled_says_so(tmp_path, dataset, normed):
    """A network's first, and the first after its encoder was frozen: their seconds say nothing of the next epochs'."""
    config = dataclasses.replace(CONFIG, models=("unet", normed), epochs=3, frozen_epochs=1)
    epochs = [event for event in make(tmp_path / "w", dataset, config) if isinstance(event, sweep.EpochEnded)]
    assert [event.compiled for event in epochs] == [True, True, False] * 2 + [False] * 6


def test_epochs_that_compiled_do_not_tell_the_speed():
    timing = sweep._timing([(60.0, 2.0), (1.0, 1.0), (30.0, 1.0), (1.0, 1.0), (1.0, 1.0)], jax.devices()[:1], 100)
    assert timing["train_images_per_second"] == 100
    assert timing["first_epoch_seconds"] == 62
    assert timing["train_seconds"] == 93


def test_each_model_compiles_once_for_all_folds_and_repeats(tmp_path, dataset, monkeypatch):
    built = []
    build = epochs.build
    monkeypatch.setattr(epochs, "build", lambda *args: built.append(build(*args)) or built[-1])
    make(tmp_path / "w", dataset, dataclasses.replace(CONFIG, folds=3, repeats=2, epochs=1, protocol="nested"))
    assert len(built) == 2
    assert [(p.train_step._cache_size(), p.eval_step._cache_size()) for p in built] == [(1, 1), (1, 1)]


def test_workdir_holds_what_documents_promise(done, dataset):
    scores = (done / "scores.csv").read_text().splitlines()
    assert scores[0] == "dataset,model,protocol,repeat,fold,jaccard,dice,best_epoch,epochs"
    assert [line.split(",")[:5] for line in scores[1:]] == sorted(line.split(",")[:5] for line in scores[1:])
    assert len(scores) == 5
    folds = json.loads((done / "folds.json").read_text())
    assert sorted(folds["folds"][0]["test"] + folds["folds"][1]["test"]) == list(dataset.ids)
    assert json.loads((done / "config.json").read_text())["data"]["size"] == [16, 24]
    run = done / "runs" / "sharp_unet" / "repeat0-fold1"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {path.name for path in run.iterdir()} == {*OF_A_RUN, "checkpoint", "timing.json"}
    assert json.loads((run / "record.json").read_text())["scoring"] == {
        "size": [16, 24],
        "threshold": 0.5,
        "empty": "one",
        "images": 6,
        "dropped": 0,
    }
    assert [path.name for path in done.glob("**/.*")] == [".locks"]


def test_scores_follow_from_the_per_image_counts(done, dataset):
    table = pd.read_parquet(done / "per_image.parquet")
    assert list(table.columns) == [
        "run", "image_id", "class", "intersection", "union", "truth", "predicted", "jaccard", "dice",
    ]  # fmt: skip
    assert len(table) == 2 * 12 * 2  # models, images, classes
    foreground = table[table["class"] == "square"]
    expected = {image: int((mask == 1).sum()) for image, mask in zip(dataset.ids, dataset.masks, strict=True)}
    assert (foreground["truth"] == foreground["image_id"].map(expected)).all()
    jaccard = foreground["intersection"] / foreground["union"]
    means = jaccard.groupby(foreground["run"]).mean()
    scores = pd.read_csv(done / "scores.csv")
    for row in scores.itertuples():
        assert means[f"{row.model}/repeat{row.repeat}-fold{row.fold}"] == pytest.approx(row.jaccard, abs=1e-6)


def test_the_checkpoint_holds_the_reported_weights(done, dataset):
    tree = checkpoint.load(done / "runs" / "unet" / "repeat0-fold0" / "checkpoint")
    devices = jax.devices()[:1]
    program = epochs.build(CONFIG, "unet", dataset, epochs.put(dataset, devices), devices)
    fresh = program.init(0)
    names = lambda tree: [jax.tree_util.keystr(path).replace("'", "") for path, _ in jax.tree.leaves_with_path(tree)]  # noqa: E731
    assert names(tree["params"]) == names(fresh.params)
    params = jax.tree.unflatten(jax.tree.structure(fresh.params), jax.tree.leaves(tree["params"]))
    test = plan.split(CONFIG, dataset)[0, 0].test
    _, counts = train.evaluate(program, fresh._replace(params=params), test)
    table = pd.read_parquet(done / "runs" / "unet" / "repeat0-fold0" / "per_image.parquet")
    np.testing.assert_array_equal(counts[:, 1, 2], table[table["class"] == "square"]["predicted"])


def test_the_same_sweep_leaves_the_same_bytes(done, tmp_path, dataset):
    make(tmp_path / "again", dataset)
    assert files(done) == files(tmp_path / "again")


def test_a_run_alone_is_the_run_of_the_sweep(done, tmp_path, dataset):
    config = dataclasses.replace(CONFIG, models=("sharp_unet",))
    make(tmp_path / "alone", dataset, config)
    name = "runs/sharp_unet/repeat0-fold1/record.json"
    assert files(tmp_path / "alone")[name] == files(done)[name]


# A batch that neither 4 nor 8 devices divide; four runs of one network, which compiles once for each way to share.
EIGHT = dataclasses.replace(CONFIG, models=("sharp_unet",), folds=4, epochs=3, batch_size=6)


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        folder = tmp_path_factory.mktemp("one") / "w"
        make(folder, squares(), EIGHT)
    return folder


@pytest.mark.parametrize("per_run", [1, 2, pytest.param(4, marks=pytest.mark.slow), 8])
def test_groups_of_devices_train_runs_side_by_side(tmp_path, on_one_device, dataset, per_run):
    config = dataclasses.replace(EIGHT, devices_per_run=per_run)
    events = make(tmp_path / "w", dataset, config, devices=8)
    ours, theirs = (pd.read_csv(folder / "scores.csv") for folder in (tmp_path / "w", on_one_device))
    assert list(ours["model"]) == list(theirs["model"])
    np.testing.assert_allclose(ours["jaccard"], theirs["jaccard"], atol=0.01)
    for path in on_one_device.glob("runs/*/*/metrics.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        same = (tmp_path / "w" / path.relative_to(on_one_device)).read_text().splitlines()
        for row, other in zip(rows, map(json.loads, same), strict=True):
            assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
    if per_run == 1:
        before, after = files(on_one_device), files(tmp_path / "w")
        assert before == after
    timing = json.loads((tmp_path / "w" / "runs" / "sharp_unet" / "repeat0-fold0" / "timing.json").read_text())
    assert timing["devices"] == per_run
    on, most = set(), 0
    for event in events:
        on = on | {event.run} if isinstance(event, sweep.Started) else on
        most = max(most, len(on))
        on = on - {event.run} if isinstance(event, sweep.Ended) else on
    assert (most > 1) == (per_run < 8)


def test_devices_left_over_have_no_work():
    assert sweep.groups(list("abcdefgh"), 3) == [["a", "b", "c"], ["d", "e", "f"]]


def test_an_error_of_one_group_stops_the_others_at_the_end_of_their_epochs(tmp_path, dataset, monkeypatch):
    finish = workdir.finish

    def full(folder, config, dataset, run, *rest):
        if run.model == "sharp_unet":
            raise OSError("No space left on device")
        return finish(folder, config, dataset, run, *rest)

    config = dataclasses.replace(CONFIG, epochs=40, patience=40)
    monkeypatch.setattr(workdir, "finish", full)
    with pytest.raises(OSError, match="No space left"):
        make(tmp_path / "w", dataset, config, devices=2)
    monkeypatch.undo()
    shrink_models(monkeypatch)
    make(tmp_path / "w", dataset, config)
    assert len(pd.read_csv(tmp_path / "w" / "scores.csv")) == 4


def test_a_data_set_that_is_read_as_it_goes_gives_the_same_bytes(done, tmp_path, dataset):
    config = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, resident_gb=0.0))
    make(tmp_path / "w", dataset, config)
    changed = {"config.json"}
    assert {k: v for k, v in files(tmp_path / "w").items() if k not in changed} == {
        k: v for k, v in files(done).items() if k not in changed
    }


def test_the_record_holds_the_digest_of_the_weights(done):
    for path in done.glob("runs/*/*/record.json"):
        record = json.loads(path.read_text())
        assert record["weights_sha256"] == checkpoint.digest(checkpoint.load(path.parent / "checkpoint"))
    assert len({json.loads(path.read_text())["weights_sha256"] for path in done.glob("runs/*/*/record.json")}) == 4


@pytest.mark.parametrize("n", [2, 3, 5])
def test_shards_of_one_workdir_leave_what_one_process_leaves(done, tmp_path, dataset, n):
    for i in reversed(range(n)):
        list(sweep.go(CONFIG, dataset, tmp_path / "w", jax.devices()[:1], shard=(i, n)))
        workdir.collect(tmp_path / "w", CONFIG)
    assert files(tmp_path / "w") == files(done)


def test_more_models_and_repeats_go_into_the_same_workdir(done, dataset):
    config = dataclasses.replace(CONFIG, repeats=2, max_runs=5)
    events = make(done, dataset, config)
    assert [event.run.name for event in events if isinstance(event, sweep.Started)] == ["unet/repeat1-fold0"]
    paper_tables.write(done)
    assert "**5 of 8 runs are finished" in (done / "tables.md").read_text()


def test_fewer_models_leave_the_others_out_of_every_table(done, dataset):
    make(done, dataset, dataclasses.replace(CONFIG, models=("unet",)))
    assert set(pd.read_csv(done / "scores.csv")["model"]) == {"unet"}
    paper_tables.write(done)
    text = (done / "tables.md").read_text()
    assert "sharp" not in text
    assert "are finished" not in text


def test_nothing_to_score_is_null_and_never_the_best(tmp_path, dataset):
    """Under empty="nan" an untrained network that finds nothing on empty masks has no score."""
    masks = np.where(np.arange(12)[:, None, None] < 2, dataset.masks, 0).astype(np.uint8)
    config = dataclasses.replace(CONFIG, empty="nan", folds=6, epochs=1, models=("unet",))
    make(tmp_path / "w", dataclasses.replace(dataset, masks=masks), config)
    records = [json.loads(path.read_text()) for path in (tmp_path / "w").glob("runs/*/*/record.json")]
    unscored = [record for record in records if record["jaccard"] is None]
    assert unscored
    assert all(record["scoring"]["images"] == 0 for record in unscored)
    assert "NaN" not in "".join(path.read_text() for path in (tmp_path / "w").glob("runs/*/*/*.json*"))


def test_a_damaged_config_is_named(done, dataset):
    (done / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json is damaged"):
        make(done, dataset)


def test_a_run_that_diverges_is_recorded_and_the_sweep_goes_on(tmp_path, dataset):
    config = dataclasses.replace(CONFIG, learning_rate=1e30, epochs=6)
    events = make(tmp_path / "w", dataset, config)
    ends = [event.record for event in events if isinstance(event, sweep.Ended)]
    assert [record["status"] for record in ends] == ["failed"] * 4
    assert all(record["epoch"] >= 1 and "NaN" in record["reason"] for record in ends)
    assert len((tmp_path / "w" / "scores.csv").read_text().splitlines()) == 1
    again = make(tmp_path / "w", dataset, config)
    assert sum(isinstance(event, sweep.Started) for event in again) == 4


def test_a_run_that_diverges_is_made_again_if_asked(tmp_path, dataset):
    config = dataclasses.replace(CONFIG, learning_rate=1e30, max_runs=1, retries=1)
    events = make(tmp_path / "w", dataset, config)
    kinds = [type(event).__name__ for event in events]
    assert [kind for kind in kinds if kind != "EpochEnded"] == ["Started", "Warned", "Started", "Ended"]
    assert events[-1].record["status"] == "failed"


def test_nested_decides_nothing_on_the_test_fold_and_measures_the_optimism(tmp_path, dataset):
    config = dataclasses.replace(CONFIG, protocol="nested", grouped=True, epochs=4, learning_rate=1e-2)
    make(tmp_path / "w", dataset, config)
    groups = dict(zip(dataset.ids, dataset.groups, strict=True))
    for cell in json.loads((tmp_path / "w" / "folds.json").read_text())["folds"]:
        assert not {groups[i] for i in cell["test"]} & {groups[i] for i in cell["validation"]}
    for path in (tmp_path / "w").glob("runs/*/*/record.json"):
        record = json.loads(path.read_text())
        rows = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
        assert record["best_epoch"] == 1 + int(np.argmin([row["validation_loss"] for row in rows]))
        assert record["jaccard"] == rows[record["best_epoch"] - 1]["test_jaccard"]
        assert record["best_on_test"]["jaccard"] == max(row["test_jaccard"] for row in rows) >= record["jaccard"]
        assert record["last"]["epoch"] == len(rows)


def test_paper_validates_on_the_test_fold(done):
    for path in done.glob("runs/*/*/metrics.jsonl"):
        for row in map(json.loads, path.read_text().splitlines()):
            assert row["validation_loss"] == row["test_loss"]


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


def test_a_workdir_of_other_data_is_refused(done):
    with pytest.raises(InputError, match="other images or masks"):
        make(done, squares(seed=1))


def test_a_sweep_from_pretrained_weights_says_whose_and_refuses_others(done, tmp_path, dataset):
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
