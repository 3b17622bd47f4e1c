"""Records read from a workdir and from packed results, against the files that the tests wrote."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import records
from sharp_unet_jax.report.records import Kernel, Model
from tests.conftest import squares
from tests.edits import edit, edit_record, follow, seal
from tests.report import sweep_writer, whole
from tests.report.sweep_writer import scores


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "w"
    whole.sweep(folder, squares(n=8), models=("sharp_unet", "unet"))
    return folder


@pytest.fixture
def workdir(written, tmp_path):
    return shutil.copytree(written, tmp_path / "w")


def test_runs_come_in_the_plans_order(workdir):
    sweep = records.load(workdir)
    plan = [f"{model}/repeat{r}-fold{f}" for r in range(2) for f in range(2) for model in ("sharp_unet", "unet")]
    assert list(sweep.planned) == list(sweep.records) == list(sweep.finished) == list(sweep.runs.index) == plan
    assert list(dict.fromkeys(sweep.per_image["run"])) == list(dict.fromkeys(sweep.epochs["run"])) == plan
    assert list(sweep.models) == ["sharp_unet", "unet"]


def test_models_are_what_the_records_say(tmp_path):
    models = {"sharp_unet_resnet50": scores(0.7), "unet": scores(0.7)}
    sweep = sweep_writer.write(tmp_path, models)
    kernel = Kernel("laplacian", "zero", 0.0, pytest.approx(72**0.5))
    assert sweep.models == {
        "sharp_unet_resnet50": Model("unet_resnet50", "resnet50", "sharp", kernel),
        "unet": Model("unet", "unet", "plain", None),
    }


def test_failed_and_missing_runs_are_told_apart(tmp_path):
    sweep = sweep_writer.write(
        tmp_path,
        {"unet": scores(0.7, shape=(1, 4, 2))},
        failed=("unet/repeat0-fold1",),
        missing=("unet/repeat0-fold2",),
    )
    assert list(sweep.finished) == ["unet/repeat0-fold0", "unet/repeat0-fold3"]
    assert sweep.failed == ["unet/repeat0-fold1"]
    assert list(sweep.records) == ["unet/repeat0-fold0", "unet/repeat0-fold1", "unet/repeat0-fold3"]


def test_runs_that_the_config_does_not_name_are_left_out(workdir):
    config = json.loads((workdir / "config.json").read_text())
    (workdir / "config.json").write_text(json.dumps(config | {"repeats": 1, "models": ["unet"]}))
    sweep = records.load(workdir)
    assert list(sweep.finished) == ["unet/repeat0-fold0", "unet/repeat0-fold1"]
    assert set(sweep.per_image["run"]) == set(sweep.finished)


def test_rows_are_those_of_the_files_with_model_repeat_fold_and_group(workdir):
    sweep = records.load(workdir)
    run = "unet/repeat1-fold0"
    rows = sweep.per_image[sweep.per_image["run"] == run].reset_index(drop=True)
    stored = pd.read_parquet(workdir / "runs" / run / "per_image.parquet")
    pd.testing.assert_frame_equal(rows[[*stored]], stored)
    assert rows[["model", "repeat", "fold"]].drop_duplicates().to_numpy().tolist() == [["unet", 1, 0]]
    assert rows["group"].tolist() == [sweep.groups[image] for image in stored["image_id"]]
    assert sweep.groups["003"] == "g1"
    epochs = sweep.epochs[sweep.epochs["run"] == run]
    lines = [json.loads(line) for line in (workdir / "runs" / run / "metrics.jsonl").read_text().splitlines()]
    assert epochs["validation_jaccard"].tolist() == [line["validation_jaccard"] for line in lines]
    assert sweep.test_ids(run) == list(dict.fromkeys(stored["image_id"]))


def test_a_value_that_was_not_a_number_is_nan(workdir):
    path = workdir / "runs/unet/repeat0-fold0/metrics.jsonl"
    first, rest = path.read_text().split("\n", 1)
    path.write_text(json.dumps(json.loads(first) | {"validation_jaccard": None}) + f"\n{rest}")
    follow(workdir)
    epochs = records.load(workdir).epochs
    assert epochs["validation_jaccard"].dtype == float
    found = epochs.loc[epochs["run"] == "unet/repeat0-fold0", "validation_jaccard"]
    assert np.isnan(found).tolist() == [True, *[False] * (len(found) - 1)]


def test_packed_results_read_like_their_workdir(workdir, tmp_path):
    ours, packed = records.load(workdir), records.load(sweep_writer.pack(workdir, tmp_path / "packed"))
    assert (ours.packed, packed.packed) == (False, True)
    assert list(packed.finished.items()) == list(ours.finished.items())
    assert packed.models == ours.models
    for name in ("runs", "per_image", "epochs"):
        expected = getattr(ours, name)
        pd.testing.assert_frame_equal(getattr(packed, name)[[*expected]], expected)
    assert ours.prepared is not None
    assert packed.prepared is None
    assert packed.predictions("unet/repeat0-fold0") is None
    assert packed.scored("unet/repeat0-fold0") is None


def test_numbers_of_epochs_are_read_exactly(workdir, tmp_path):
    path = workdir / "runs/unet/repeat0-fold0/metrics.jsonl"
    values = np.random.default_rng(0).random(200).tolist()
    path.write_text("".join(json.dumps({"epoch": e, "validation_jaccard": v}) + "\n" for e, v in enumerate(values, 1)))
    edit(workdir / "config.json", epochs=200)
    for record in workdir.glob("runs/*/*/record.json"):
        edit_record(record, capped=False)
    edit_record(path.with_name("record.json"), epochs=200)
    follow(workdir)
    for folder in (workdir, sweep_writer.pack(workdir, tmp_path / "packed")):
        epochs = records.load(folder).epochs
        assert epochs.loc[epochs["run"] == "unet/repeat0-fold0", "validation_jaccard"].tolist() == values


def test_packed_results_without_scores_of_images(workdir, tmp_path):
    packed = sweep_writer.pack(workdir, tmp_path / "packed")
    assert records.load(packed).has_images
    (packed / "per_image.parquet").unlink()
    seal(packed)
    sweep = records.load(packed)
    assert not sweep.has_images
    assert len(sweep.runs) == 8


@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        ("runs.jsonl", "{", r"runs\.jsonl is damaged .*: bring it back from a copy"),
        ("runs.jsonl", '{"status": "finished"}', r"runs\.jsonl is damaged \(Object missing required field `run`\)"),
        ("epochs.csv", "run,epoch\n", r"epochs\.csv is damaged \(it lacks sharp_unet/repeat0-fold0\)"),
        ("epochs.csv", None, r"epochs\.csv is missing"),
        ("per_image.parquet", "x", r"per_image\.parquet is damaged .*: bring it back"),
    ],
)
def test_a_damaged_file_of_packed_results_is_named(workdir, tmp_path, file, content, line):
    packed = sweep_writer.pack(workdir, tmp_path / "packed")
    (packed / file).write_text(content) if content else (packed / file).unlink()
    if content:
        seal(packed)
    sweep = records.load(packed)
    with pytest.raises(InputError, match=line):
        _ = sweep.runs, sweep.epochs, sweep.per_image


@pytest.mark.parametrize("field", ["network", "config", "folds_sha256", "parameters", "timing", "record_sha256"])
def test_a_record_that_lacks_a_field_is_refused(workdir, field):
    (edit if field == "record_sha256" else edit_record)(workdir / "runs/unet/repeat0-fold0/record.json", field)
    with pytest.raises(InputError, match=rf"record\.json is damaged .Object missing required field `{field}`"):
        _ = records.load(workdir).runs


@pytest.mark.parametrize("name", ["runs.jsonl", "folds.json", None])
def test_packed_results_without_their_digests_are_refused(workdir, tmp_path, name):
    packed = sweep_writer.pack(workdir, tmp_path / "packed")
    edit(packed / "sha256.json", name) if name else (packed / "sha256.json").unlink()
    with pytest.raises(InputError, match=rf"sha256\.json is {f'damaged .it lacks {name}' if name else 'missing'}"):
        records.load(packed)


def test_prepared_images_of_other_data_are_not_shown(workdir):
    assert records.load(workdir).prepared is not None
    folds = json.loads((workdir / "folds.json").read_text())
    (workdir / "folds.json").write_text(json.dumps(folds | {"sha256": "0"}))
    follow(workdir)
    assert records.load(workdir).prepared is None


@pytest.mark.parametrize("part", ["images", "masks"])
def test_prepared_images_and_masks_with_a_pixel_changed_are_not_shown(workdir, part):
    path = Path(json.loads((workdir / "data.json").read_text())["prepared"]) / f"{part}.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert records.load(workdir).prepared is None
    path.write_bytes(content)
    assert records.load(workdir).prepared is not None


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"junk"])
def test_prepared_files_that_are_damaged_are_not_shown(workdir, content):
    path = Path(json.loads((workdir / "data.json").read_text())["prepared"]) / "masks.npy"
    whole = path.read_bytes()
    for damaged in (content, whole.replace(b"|u1", b"|i1"), whole.replace(b"|u1", b"|O1"), whole.replace(b"(", b"[")):
        path.write_bytes(damaged)
        assert records.load(workdir).prepared is None
    path.write_bytes(whole)  # other tests share it
