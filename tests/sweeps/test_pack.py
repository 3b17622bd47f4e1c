"""The results of a sweep packed into a few files: nothing is lost, and nothing is left half written."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from launch import merge as command
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import records
from sharp_unet_jax.sweeps import pack, plan
from tests.edits import edit_record, killed, write_environment
from tests.tiny_sweep import CONFIG

pytestmark = pytest.mark.usefixtures("tiny_models")
RUNS = [run.name for run in plan.every(CONFIG)]


@pytest.fixture
def done(with_tables, tmp_path):
    return Path(shutil.copytree(with_tables, tmp_path / "w"))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_packed_results_hold_what_the_workdir_holds(done, tmp_path, capsys):
    write_environment(done)
    command.run([f"--pack={tmp_path / 'packed'}", str(done)])
    assert capsys.readouterr().out == f"4 records are packed in {tmp_path / 'packed'}\n"
    packed = tmp_path / "packed"
    copied = ["config.json", "environment.json", "folds.json", "scores.csv", "tables.md"]
    names = sorted([*copied, "epochs.csv", "per_image.parquet", "runs.jsonl", "sha256.json"])
    assert sorted(path.name for path in packed.iterdir()) == names
    assert all((packed / name).read_bytes() == (done / name).read_bytes() for name in copied)
    records = [json.loads((done / "runs" / run / "record.json").read_text()) for run in RUNS]
    assert lines(packed / "runs.jsonl") == records
    digests = json.loads((packed / "sha256.json").read_text())
    assert digests == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in packed.iterdir()
        if path.name != "sha256.json"
    }
    rows = [{"run": run} | row for run in RUNS for row in lines(done / "runs" / run / "metrics.jsonl")]
    with open(packed / "epochs.csv", newline="") as file:
        found = [
            {key: type(row[key])(text) for key, text in cells.items()}
            for cells, row in zip(csv.DictReader(file), rows, strict=True)
        ]
    assert found == rows  # floats have all their digits
    tables = [pd.read_parquet(done / "runs" / run / "per_image.parquet") for run in RUNS]
    pd.testing.assert_frame_equal(pd.read_parquet(packed / "per_image.parquet"), pd.concat(tables, ignore_index=True))
    assert (packed / "per_image.parquet").stat().st_size < (done / "per_image.parquet").stat().st_size


def test_the_same_workdir_gives_the_same_bytes(done, tmp_path):
    left = killed(tmp_path / "one")
    for name in ("one", "two", "one"):  # the third replaces the first
        pack.pack(tmp_path / name, done)
    assert not left.exists()
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two


def test_shards_are_merged_and_packed_by_one_command(done, tmp_path, monkeypatch):
    monkeypatch.setattr(command.write, "write", lambda workdirs: workdirs[0])
    command.run([str(tmp_path / "all"), str(done), "--pack", str(tmp_path / "packed")])
    assert [record["run"] for record in lines(tmp_path / "packed" / "runs.jsonl")] == RUNS


def test_a_command_without_shards_or_pack_says_what_is_missing(done, capsys):
    with pytest.raises(SystemExit):
        command.run([str(done)])
    assert "name the workdirs to take runs from, or --pack=OUTPUT" in capsys.readouterr().err


def test_failed_and_unfinished_runs_leave_what_they_have(done, tmp_path):
    failed, unfinished = (done / "runs" / run for run in RUNS[:2])
    changes = {"status": "failed", "epoch": 2, "reason": "the loss became NaN"}
    edit_record(failed / "record.json", "jaccard", "dice", **changes)
    (failed / "per_image.parquet").unlink()
    (unfinished / "record.json").unlink()
    assert pack.pack(tmp_path / "packed", done) == 3
    records = lines(tmp_path / "packed" / "runs.jsonl")
    assert [(record["run"], record["status"]) for record in records] == [
        (RUNS[0], "failed"), (RUNS[2], "finished"), (RUNS[3], "finished"),
    ]  # fmt: skip
    epochs = pd.read_csv(tmp_path / "packed" / "epochs.csv")
    assert list(epochs["run"].unique()) == RUNS
    assert set(pd.read_parquet(tmp_path / "packed" / "per_image.parquet")["run"]) == set(RUNS[2:])


def test_without_any_per_image_counts_they_are_left_out(done, tmp_path):
    for path in done.glob("runs/*/*/per_image.parquet"):
        path.unlink()
    pack.pack(tmp_path / "packed", done)
    assert not (tmp_path / "packed" / "per_image.parquet").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"runs/{RUNS[3]}/per_image.parquet", "is missing: delete the run's folder"),
        (f"runs/{RUNS[3]}/metrics.jsonl", "is missing: delete the run's folder"),
        ("tables.md", "is missing: give the sweep's command again"),
        ("folds.json", "is missing: give the sweep's command again"),
        ("config.json", "holds no sweep"),
    ],
)
def test_a_workdir_that_lacks_a_file_is_refused_and_nothing_is_written(done, tmp_path, name, message):
    (done / name).unlink()
    with pytest.raises(InputError, match=message):
        pack.pack(tmp_path / "packed", done)
    assert not list(tmp_path.glob("*packed*"))


def test_damaged_epochs_are_named(done, tmp_path):
    (done / "runs" / RUNS[1] / "metrics.jsonl").write_text('{"epoch": 1')
    with pytest.raises(InputError, match=f"{RUNS[1]}/metrics.jsonl is damaged .*: delete the run's folder"):
        pack.pack(tmp_path / "packed", done)


def test_a_folder_with_other_files_is_refused_and_kept(done, tmp_path):
    pack.pack(tmp_path / "packed", done)
    (tmp_path / "packed" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"packed holds notes.txt, which packed results have not"):
        pack.pack(tmp_path / "packed", done)
    with pytest.raises(InputError, match=r"w holds .*, which packed results have not"):
        pack.pack(done, shutil.copytree(done, tmp_path / "v"))
    assert (tmp_path / "packed" / "notes.txt").read_text() == "mine"


def test_packed_results_that_lost_their_records_are_no_workdir_without_runs(done, tmp_path):
    pack.pack(tmp_path / "packed", done)
    (tmp_path / "packed/runs.jsonl").unlink()
    with pytest.raises(InputError, match=r"runs\.jsonl is missing: bring it back from a copy"):
        _ = records.load(tmp_path / "packed").records


def test_packed_results_that_lost_their_table_of_images_are_refused(done, tmp_path):
    pack.pack(tmp_path / "packed", done)
    (tmp_path / "packed/per_image.parquet").unlink()
    sweep = records.load(tmp_path / "packed")
    assert sweep.has_images
    with pytest.raises(InputError, match=r"per_image\.parquet is missing: bring it back from a copy"):
        _ = sweep.per_image
