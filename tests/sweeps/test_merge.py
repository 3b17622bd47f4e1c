"""The runs of several workdirs brought into one, and the workdirs that are refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from launch import merge as command
from launch.console import environment
from sharp_unet_jax.config import Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import figures, paper_tables, records, write
from sharp_unet_jax.storage.layout import run_folder
from sharp_unet_jax.sweeps import merge, plan, workdir
from tests.conftest import squares
from tests.edits import ENVIRONMENT, edit_record, killed, write_environment
from tests.report import synthetic, whole
from tests.tiny_sweep import CONFIG, files, make, stopped_after

pytestmark = pytest.mark.usefixtures("tiny_programs")


@pytest.fixture
def shards(finished, tmp_path):
    """The finished sweep as three shards would have left it, each in a workdir of its own."""
    folders = []
    for i in range(3):
        folder = tmp_path / f"shard{i}"
        shutil.copytree(finished, folder)
        for number, run in enumerate(plan.runs(CONFIG)):
            if number % 3 != i:
                shutil.rmtree(run_folder(folder, run))
        workdir.collect(folder, CONFIG)
        folders.append(folder)
    return folders


def test_shards_with_workdirs_of_their_own_are_merged(shards, tmp_path, finished, capsys, monkeypatch):
    monkeypatch.setattr(write, "write", lambda workdirs: workdirs[0] / "report")
    command.run([str(tmp_path / "all"), *map(str, shards)])
    assert files(tmp_path / "all") == files(finished)
    printed = capsys.readouterr().out
    assert printed.startswith("4 runs came")
    assert f"report: {tmp_path / 'all' / 'report' / 'report.html'}" in printed
    assert "are finished" not in (tmp_path / "all" / "tables.md").read_text()
    assert make(tmp_path / "all", squares()) == []  # nothing is left to train
    left = [killed(tmp_path / "all" / name) for name in ("folds.json", "runs/unet/repeat0-fold0")]
    assert merge.merge(tmp_path / "all", shards) == 0
    assert not any(path.exists() for path in left)


def test_a_sweep_on_one_split_resumes_and_merges(tmp_path):
    config = dataclasses.replace(CONFIG, split="authors", folds=1, repeats=2, models=("unet",), checkpoint_minutes=0)
    make(tmp_path / "whole", squares(), config)
    first = dataclasses.replace(config, max_runs=1)
    make(tmp_path / "first", squares(), first)
    stopped_after(3, tmp_path / "second", squares(), config)  # two epochs of the first run, one of the second
    make(tmp_path / "second", squares(), config)
    assert merge.merge(tmp_path / "all", [tmp_path / "first", tmp_path / "second"]) == 2
    assert files(tmp_path / "all") == files(tmp_path / "second") == files(tmp_path / "whole")
    scores = (tmp_path / "all" / "scores.csv").read_text().splitlines()
    assert [line.split(",")[3:5] for line in scores[1:]] == [["0", "0"], ["1", "0"]]


@pytest.mark.usefixtures("undrawn")  # the page has pictures of its own
def test_a_merged_sweep_has_a_report_with_pictures_and_names_what_made_it(shards, tmp_path):
    data = squares()
    np.save(tmp_path / "images.npy", data.images)
    np.save(tmp_path / "masks.npy", data.masks)
    names = {"ids": data.ids, "groups": data.groups, "sha256": data.sha256, "settings": {}}
    (tmp_path / "names.json").write_text(json.dumps(names))
    for number, prepared in enumerate(["nowhere", str(tmp_path)]):  # the folder on another machine, and on this one
        (shards[number] / "data.json").write_text(json.dumps({"prepared": prepared}))
    packages = {"jax": "0.10.2", "numpy": "2"}
    other = {"devices": "1 x gpu", "packages": packages | {"jax": "0.12.0"}}
    for shard, found in zip(shards, ({"packages": packages}, other), strict=False):
        commands = ["python -m datasets.build", f"python -m launch.cv --workdir={shard.name}"]
        write_environment(shard, commands=commands, **found)
    command.run([str(tmp_path / "all"), *map(str, shards)])
    merged = json.loads((tmp_path / "all" / "environment.json").read_text())
    assert merged == ENVIRONMENT | {
        "commands": ["python -m datasets.build", *(f"python -m launch.cv --workdir=shard{i}" for i in range(2))],
        "devices": "1 x cpu; 1 x gpu",
        "packages": {"jax": "0.10.2; 0.12.0", "numpy": "2"},
    }
    page = (tmp_path / "all" / "report" / "report.html").read_text()
    assert "1 x cpu; 1 x gpu" in page
    assert "There are no pictures" not in page
    environment.merge(tmp_path / "all", shards)  # again
    assert json.loads((tmp_path / "all" / "environment.json").read_text()) == merged


@pytest.mark.slow
def test_runs_on_crops_are_merged_and_packed(tmp_path, monkeypatch):
    """Their images and predictions have sizes of their own."""
    monkeypatch.setattr(figures, "DPI", 30)
    sizes, data = [(16, 24), (30, 20), (40, 17), (18, 26)], Data(builder="squares", size=(16, 16), fit="crop")
    trained = whole.sweep(tmp_path / "0", synthetic.of_sizes(sizes), synthetic.noisy, data=data, repeats=1)
    shutil.copytree(trained.workdir, tmp_path / "1")
    for number, run in enumerate(trained.planned.values()):
        shutil.rmtree(run_folder(tmp_path / str(number % 2), run))
    command.run([f"--pack={tmp_path / 'packed'}", str(tmp_path / "all"), str(tmp_path / "0"), str(tmp_path / "1")])
    merged, packed = records.load(tmp_path / "all"), records.load(tmp_path / "packed")
    assert len(merged.finished) == len(packed.finished) == 4
    for run in merged.finished:
        assert [image.shape[:2] for image in merged.predictions(run)] == [sizes[int(i)] for i in merged.test_ids(run)]
    page = (tmp_path / "all" / "report" / "report.html").read_text()
    assert "There are no pictures" not in page
    assert "boundaries" in {path.stem for path in (tmp_path / "all" / "report" / "tables").iterdir()}
    assert [each.frame.to_csv() for each in paper_tables.tables([packed])] == [
        each.frame.to_csv() for each in paper_tables.tables([merged])
    ]
    write.write([tmp_path / "packed"])


def part(folder, finished, **changes):
    """Copy the runs of a config's models from the finished sweep; `changes` are the config's fields."""
    config = dataclasses.replace(CONFIG, **changes)
    workdir.begin(folder, config, squares(), plan.split(config, squares()), {})
    for model in config.models:
        shutil.copytree(finished / "runs" / model, folder / "runs" / model)
    return folder


def test_models_and_repeats_of_all_parts_are_merged(finished, tmp_path):
    parts = [
        part(tmp_path / "a", finished, models=("unet",)),
        part(tmp_path / "b", finished, models=("sharp_unet",), repeats=2),
    ]
    assert merge.merge(tmp_path / "m", parts) == 4
    whole = dataclasses.replace(CONFIG, repeats=2)
    assert workdir.read_config(tmp_path / "m") == whole
    workdir.begin(tmp_path / "both", whole, squares(), plan.split(whole, squares()), {})
    assert (tmp_path / "m" / "folds.json").read_bytes() == (tmp_path / "both" / "folds.json").read_bytes()
    ours, theirs = files(tmp_path / "m"), files(finished)
    assert {name for name in theirs if ours[name] != theirs[name]} == {"config.json", "folds.json"}


def test_parts_of_other_sweeps_are_refused_and_nothing_is_written(shards, tmp_path):
    config = json.loads((shards[1] / "config.json").read_text())
    (shards[1] / "config.json").write_text(json.dumps(config | {"seed": 1}))
    with pytest.raises(InputError, match=r"shard1 is of another sweep: it has seed=1, .*shard0 has 0"):
        merge.merge(tmp_path / "all", shards)
    (shards[1] / "config.json").write_text(json.dumps(config))
    folds = json.loads((shards[2] / "folds.json").read_text())
    (shards[2] / "folds.json").write_text(json.dumps(folds | {"sha256": "0"}))
    with pytest.raises(InputError, match=r"shard2 is of another sweep: .*shard0 holds a sweep on other images"):
        merge.merge(tmp_path / "all", shards)
    first, second = folds["folds"]
    first["test"], second["test"] = second["test"], first["test"]
    (shards[2] / "folds.json").write_text(json.dumps(folds))
    with pytest.raises(InputError, match=r"shard2 is of another sweep: .*other images in repeat 0, fold 0"):
        merge.merge(tmp_path / "all", shards)
    assert not (tmp_path / "all").exists()


def test_parts_that_started_from_other_weights_are_refused(shards, tmp_path):
    for number, digest in enumerate("aab"):
        (shards[number] / "weights.json").write_text(json.dumps({"unet": digest}))
    with pytest.raises(InputError, match=r"shard2 is of another sweep: its unet started from other weights"):
        merge.merge(tmp_path / "all", shards)
    merge.merge(tmp_path / "all", shards[:2])
    assert json.loads((tmp_path / "all" / "weights.json").read_text()) == {"unet": "a"}


def test_folds_are_compared_with_those_of_the_part_with_most_repeats(finished, tmp_path):
    """The first part, with one repeat, cannot tell two parts apart that differ in the second repeat."""
    shares = enumerate((1, 2, 2))
    parts = [part(tmp_path / f"{n}", finished, models=("unet",), repeats=repeats) for n, repeats in shares]
    folds = json.loads((parts[2] / "folds.json").read_text())
    last, before = folds["folds"][-1], folds["folds"][-2]
    last["test"], before["test"] = before["test"], last["test"]
    (parts[2] / "folds.json").write_text(json.dumps(folds))
    with pytest.raises(InputError, match="other images in repeat 1"):
        merge.merge(tmp_path / "all", parts)


@pytest.mark.parametrize(("changes", "what"), [({"weights_sha256": "0"}, "weights"), ({"jaccard": 0.99}, "scores")])
def test_a_run_with_other_weights_or_scores_is_refused(shards, tmp_path, finished, changes, what):
    shutil.copytree(finished, tmp_path / "other")
    edit_record(tmp_path / "other" / "runs" / "unet" / "repeat0-fold0" / "record.json", **changes)
    with pytest.raises(
        InputError, match=rf"shard0 and .*other both hold unet/repeat0-fold0, with other {what}: delete"
    ):
        merge.merge(tmp_path / "all", [*shards, tmp_path / "other"])


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no sweep"):
        merge.merge(tmp_path / "all", [tmp_path])


def test_a_target_with_other_files_is_refused_and_kept(shards, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scores.csv").write_text("mine")
    with pytest.raises(InputError, match="mine is not empty and holds no sweep"):
        merge.merge(tmp_path / "mine", shards)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["scores.csv"]


def test_a_damaged_run_is_named_before_anything_is_copied(shards, tmp_path):
    damaged = next(shards[1].rglob("runs/**/per_image.parquet"))
    damaged.write_bytes(b"junk")
    with pytest.raises(InputError, match=r"per_image\.parquet is damaged .*: delete the run's folder"):
        merge.merge(tmp_path / "all", shards)
    assert not (tmp_path / "all").exists()
