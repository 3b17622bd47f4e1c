"""The files of a run: its record, scores and weights, and how the two protocols decide."""

import dataclasses
import json
import tracemalloc
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest

from sharp_unet_jax import metrics, ragged
from sharp_unet_jax.ragged import Ragged
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps import plan, run
from sharp_unet_jax.sweeps.events import Ended, Started
from sharp_unet_jax.training import epochs, train
from tests.conftest import squares
from tests.tiny_sweep import CONFIG, OF_A_RUN, make
from tests.uneven import CROPS, uneven

pytestmark = pytest.mark.usefixtures("tiny_programs")


def records(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("runs/*/*/record.json"))]


def test_a_workdir_holds_what_the_manual_promises(done, dataset):
    scores = (done / "scores.csv").read_text().splitlines()
    columns = "dataset,model,protocol,repeat,fold,jaccard,dice,best_epoch,epochs,sensitivity,precision,specificity"
    assert scores[0] == columns
    assert [line.split(",")[:5] for line in scores[1:]] == sorted(line.split(",")[:5] for line in scores[1:])
    assert len(scores) == 5
    folds = json.loads((done / "folds.json").read_text())
    assert sorted(folds["folds"][0]["test"] + folds["folds"][1]["test"]) == list(dataset.ids)
    assert json.loads((done / "config.json").read_text())["data"]["size"] == [16, 24]
    folder = done / "runs" / "sharp_unet" / "repeat0-fold1"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {path.name for path in folder.iterdir()} == {*OF_A_RUN, "checkpoint", "resume"}  # it is capped
    assert [path.name for path in done.glob("**/.*")] == [".locks"]


def test_a_record_says_what_ran(done, dataset):
    folder = done / "runs" / "sharp_unet" / "repeat0-fold1"
    record = json.loads((folder / "record.json").read_text())
    kernel = record.pop("kernel")
    assert (kernel.pop("scale"), kernel) == (
        pytest.approx(72**0.5),
        {"name": "laplacian", "padding": "zero", "sum": 0.0},
    )
    assert {name: record[name] for name in ("status", "run", "dataset", "model", "network", "encoder", "skip")} == {
        "status": "finished",
        "run": "sharp_unet/repeat0-fold1",
        "dataset": "squares",
        "model": "sharp_unet",
        "network": "unet",
        "encoder": "unet",
        "skip": "sharp",
    }
    rules = {"data.size": [16, 24], "data.score": "trained", "threshold": 0.5, "empty": "one"}
    assert rules.items() <= record["config"].items()
    assert record["scoring"] == {"images": 6, "dropped": 0}
    assert (record["images"], record["channels"]) == ({"train": 6, "validation": 6, "test": 6}, 3)
    tree = checkpoint.load(folder / "checkpoint")
    assert record["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(tree["params"]))
    assert record["weights_sha256"] == checkpoint.digest(tree)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for place, epoch in ((record, record["best_epoch"]), (record["last"], 2)):
        assert {name: place[name] for name in metrics.OVERLAPS} == {
            name: rows[epoch - 1][f"test_{name}"] for name in metrics.OVERLAPS
        }
    assert set(record["timing"]) == {
        "device", "devices", "jax", "first_epoch_seconds", "train_images_per_second",
        "train_seconds", "eval_seconds", "predict_seconds",
    }  # fmt: skip
    assert len({record["weights_sha256"] for record in records(done)}) == 4
    plain = json.loads((done / "runs" / "unet" / "repeat0-fold0" / "record.json").read_text())
    assert [plain[name] for name in ("network", "encoder", "skip", "kernel")] == ["unet", "unet", "plain", None]
    assert plain["parameters"] == record["parameters"]  # twins


def test_scores_follow_from_the_per_image_counts(done, dataset):
    table = pd.read_parquet(done / "per_image.parquet")
    assert list(table.columns) == [
        "run", "image_id", "class", "intersection", "union", "truth", "predicted",
        "jaccard", "dice", "sensitivity", "precision", "specificity",
    ]  # fmt: skip
    assert len(table) == 2 * 12 * 2  # models, images, classes
    foreground = table[table["class"] == "square"]
    expected = {image: int((mask == 1).sum()) for image, mask in zip(dataset.ids, dataset.masks, strict=True)}
    assert (foreground["truth"] == foreground["image_id"].map(expected)).all()
    found = foreground["intersection"]
    by_hand = {
        "jaccard": found / foreground["union"],
        "dice": 2 * found / (foreground["truth"] + foreground["predicted"]),
        "sensitivity": found / foreground["truth"],
        "precision": (found / foreground["predicted"]).fillna(0),  # 0/0 scores 0: there is something to find
        "specificity": 1 - (foreground["predicted"] - found) / (16 * 24 - foreground["truth"]),
    }
    scores = pd.read_csv(done / "scores.csv")
    for name, values in by_hand.items():
        means = values.groupby(foreground["run"]).mean()
        for row in scores.itertuples():
            expected = pytest.approx(getattr(row, name), abs=1e-6)
            assert means[f"{row.model}/repeat{row.repeat}-fold{row.fold}"] == expected


def test_the_checkpoint_holds_the_reported_weights(done, dataset):
    tree = checkpoint.load(done / "runs" / "unet" / "repeat0-fold0" / "checkpoint")
    devices = jax.devices()[:1]
    program = epochs.build(CONFIG, "unet", dataset, epochs.put(dataset, devices), devices)
    fresh = program.init(0)

    def names(tree):
        return [jax.tree_util.keystr(path).replace("'", "") for path, _ in jax.tree.leaves_with_path(tree)]

    assert names(tree["params"]) == names(fresh.params)
    params = jax.tree.unflatten(jax.tree.structure(fresh.params), jax.tree.leaves(tree["params"]))
    test = plan.split(CONFIG, dataset)[0, 0].test
    _, counts = train.evaluate(program, fresh._replace(params=params), test)
    table = pd.read_parquet(done / "runs" / "unet" / "repeat0-fold0" / "per_image.parquet")
    np.testing.assert_array_equal(counts[:, 1, 2], table[table["class"] == "square"]["predicted"])


@pytest.mark.parametrize("on_crops", [True, False])
def test_the_predictions_of_a_fold_are_in_memory_once(monkeypatch, on_crops):
    sizes = [(80 + k, 100) if on_crops else (100, 100) for k in range(60)]
    data = uneven(sizes) if on_crops else squares(n=60, size=(100, 100))
    config = dataclasses.replace(CROPS if on_crops else CONFIG, predictions=True)
    test = np.arange(50)[::-1]

    def predict(program, result, indices):
        for index in indices:
            yield np.random.default_rng(index).random((*sizes[index], 1), np.float32)

    monkeypatch.setattr(train, "predict", predict)
    tracemalloc.start()
    try:
        _, kept = run._predicted(SimpleNamespace(config=config, dataset=data), None, None, test)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    images = [np.rint(255 * each).astype(np.uint8) for each in predict(None, None, test)]
    if on_crops:
        assert isinstance(kept, Ragged)
        np.testing.assert_array_equal(kept.flat, ragged.of(images).flat)
        np.testing.assert_array_equal(kept.sizes, ragged.of(images).sizes)
    else:
        np.testing.assert_array_equal(kept, np.stack(images))
    assert peak < 1.5 * kept.nbytes  # one image lies there as floats, too


def test_epochs_that_compiled_do_not_tell_the_speed():
    timing = run._timing([(60.0, 2.0), (1.0, 1.0), (30.0, 1.0), (1.0, 1.0), (1.0, 1.0)], jax.devices()[:1], 100)
    assert timing["train_images_per_second"] == 100
    assert timing["first_epoch_seconds"] == 62
    assert timing["train_seconds"] == 93


def test_nothing_to_score_is_null_and_never_the_best(tmp_path, dataset):
    """Under empty="nan" an untrained network that finds nothing on empty masks has no score."""
    masks = np.where(np.arange(12)[:, None, None] < 2, dataset.masks, 0).astype(np.uint8)
    config = dataclasses.replace(CONFIG, empty="nan", folds=6, epochs=1, models=("unet",))
    make(tmp_path / "w", dataclasses.replace(dataset, masks=masks), config)
    unscored = [record for record in records(tmp_path / "w") if record["jaccard"] is None]
    assert unscored
    assert all(record["scoring"]["images"] == 0 for record in unscored)
    assert "NaN" not in "".join(path.read_text() for path in (tmp_path / "w").glob("runs/*/*/*.json*"))
    assert len(pd.read_csv(tmp_path / "w" / "scores.csv")["jaccard"].dropna()) == 6 - len(unscored)


def test_a_run_that_diverges_is_recorded_and_the_sweep_goes_on(tmp_path, dataset):
    config = dataclasses.replace(CONFIG, learning_rate=1e30, epochs=6)
    events = make(tmp_path / "w", dataset, config)
    ends = [event.record for event in events if isinstance(event, Ended)]
    assert [record["status"] for record in ends] == ["failed"] * 4
    assert all(record["epoch"] >= 1 and "NaN" in record["reason"] for record in ends)
    assert [record["skip"] for record in records(tmp_path / "w")] == ["sharp", "sharp", "plain", "plain"]
    assert all({"network", "encoder", "kernel", "channels"} <= record.keys() for record in ends)
    assert len((tmp_path / "w" / "scores.csv").read_text().splitlines()) == 1
    again = make(tmp_path / "w", dataset, config)
    assert sum(isinstance(event, Started) for event in again) == 4


def test_a_run_that_diverges_is_trained_again_if_asked(tmp_path, dataset):
    config = dataclasses.replace(CONFIG, learning_rate=1e30, max_runs=1, retries=1)
    events = make(tmp_path / "w", dataset, config)
    kinds = [type(event).__name__ for event in events]
    assert [kind for kind in kinds if kind != "EpochEnded"] == ["Started", "Warned", "Started", "Ended"]
    assert events[-1].record["status"] == "failed"


def test_one_run_that_diverges_is_recorded_left_out_and_trained_again(done, tmp_path, dataset, monkeypatch):
    fit = train.fit
    config, unlucky, begun = dataclasses.replace(CONFIG, models=("unet",)), Run(0, 1, "unet"), []

    def diverges(program, split, config, *, binary, seed, start=None):
        begun.append(seed)
        epochs = fit(program, split, config, binary=binary, seed=seed, start=start)
        if begun.count(seed) == 1 and seed == plan.seed(config, unlucky):
            yield next(epochs)
            raise train.DivergedError(2, "the training loss")
        return (yield from epochs)

    monkeypatch.setattr(train, "fit", diverges)
    ends = [event for event in make(tmp_path / "v", dataset, config) if isinstance(event, Ended)]
    assert {event.run: event.record["status"] for event in ends} == {Run(0, 0, "unet"): "finished", unlucky: "failed"}
    assert len(pd.read_csv(tmp_path / "v" / "scores.csv")) == 1
    again = make(tmp_path / "v", dataset, config)
    assert [event.run for event in again if isinstance(event, Started)] == [unlucky]
    name = f"runs/{unlucky.name}/record.json"
    assert (tmp_path / "v" / name).read_text().split('"timing"')[0] == (done / name).read_text().split('"timing"')[0]


def test_nested_decides_nothing_on_the_test_fold_and_measures_the_optimism(tmp_path, dataset):
    config = dataclasses.replace(
        CONFIG, models=("sharp_unet",), protocol="nested", grouped=True, epochs=4, learning_rate=1e-2
    )
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
    paths = list(done.glob("runs/*/*/metrics.jsonl"))
    assert len(paths) == 4
    for path in paths:
        for row in map(json.loads, path.read_text().splitlines()):
            assert row["validation_loss"] == row["test_loss"]
