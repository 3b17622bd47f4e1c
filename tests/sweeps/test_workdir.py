"""What is brought together from several workdirs, and what is not."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from filelock import FileLock, Timeout

from launch import merge
from launch.console import environment
from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import figures
from sharp_unet_jax.storage import lock
from sharp_unet_jax.storage.layout import run_folder
from sharp_unet_jax.sweeps import sweep, workdir
from tests.conftest import squares
from tests.tiny_sweep import CONFIG, files, make

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Reports are written, but not to be looked at."""
    monkeypatch.setattr(figures, "DPI", 30)


@pytest.fixture
def shards(finished, tmp_path):
    """The finished sweep as three shards would have left it, each in a workdir of its own."""
    folders = []
    for i in range(3):
        folder = tmp_path / f"shard{i}"
        shutil.copytree(finished, folder)
        runs = workdir.plan.runs(CONFIG)
        for number, run in enumerate(runs):
            if number % 3 != i:
                shutil.rmtree(run_folder(folder, run))
        workdir.collect(folder, CONFIG)
        folders.append(folder)
    return folders


def test_shards_of_their_own_workdirs_are_merged(shards, tmp_path, finished, capsys):
    merge.run([str(tmp_path / "all"), *map(str, shards)])
    assert files(tmp_path / "all") == files(finished)
    assert capsys.readouterr().out.startswith("4 runs came")
    assert "are finished" not in (tmp_path / "all" / "tables.md").read_text()
    assert list(sweep.go(CONFIG, squares(), tmp_path / "all", jax.devices()[:1])) == []
    merge.run([str(tmp_path / "all"), *map(str, shards)])
    assert capsys.readouterr().out.startswith("0 runs came")


def test_a_merged_sweep_has_a_report_with_pictures_and_says_what_made_it(shards, tmp_path):
    data = squares()
    np.save(tmp_path / "images.npy", data.images)
    np.save(tmp_path / "masks.npy", data.masks)
    names = {"ids": data.ids, "groups": data.groups, "sha256": data.sha256}
    (tmp_path / "names.json").write_text(json.dumps(names))
    for number, prepared in enumerate(["nowhere", str(tmp_path)]):  # where it lies on another machine, and here
        (shards[number] / "data.json").write_text(json.dumps({"prepared": prepared}))
    made_with = {"python": "3.11.2", "devices": "1 x cpu", "packages": {"jax": "0.10.2", "numpy": "2"}}
    other = made_with | {"devices": "1 x gpu", "packages": {"jax": "0.12.0", "numpy": "2"}}
    for shard, each in zip(shards, (made_with, other), strict=False):
        commands = ["python -m datasets.build", f"python -m launch.cv --workdir={shard.name}"]
        (shard / "environment.json").write_text(json.dumps({"commands": commands} | each))
    merge.run([str(tmp_path / "all"), *map(str, shards)])
    merged = json.loads((tmp_path / "all" / "environment.json").read_text())
    assert merged == {
        "commands": ["python -m datasets.build", *(f"python -m launch.cv --workdir=shard{i}" for i in range(2))],
        "python": "3.11.2",
        "devices": "1 x cpu; 1 x gpu",
        "packages": {"jax": "0.10.2; 0.12.0", "numpy": "2"},
    }
    page = (tmp_path / "all" / "report" / "report.html").read_text()
    assert "1 x cpu; 1 x gpu" in page
    assert "There are no pictures" not in page
    environment.merge(tmp_path / "all", shards)  # again
    assert json.loads((tmp_path / "all" / "environment.json").read_text()) == merged


def test_models_and_repeats_of_all_are_merged(tmp_path):
    first = dataclasses.replace(CONFIG, models=("unet",), epochs=1)
    second = dataclasses.replace(first, models=("sharp_unet",), repeats=2)
    make(tmp_path / "a", squares(), first)
    make(tmp_path / "b", squares(), second)
    make(tmp_path / "both", squares(), dataclasses.replace(second, models=("unet", "sharp_unet"), max_runs=4))
    merge.run([str(tmp_path / "m"), str(tmp_path / "a"), str(tmp_path / "b")])
    config = workdir.read_config(tmp_path / "m")
    assert (config.models, config.repeats) == (("unet", "sharp_unet"), 2)
    ours, theirs = (files(tmp_path / name) for name in ("m", "both"))
    assert ours["folds.json"] == theirs["folds.json"]
    shared = [name for name in theirs if name.startswith("runs/") and name in ours]
    assert len(shared) >= 4 * 3
    assert all(ours[name] == theirs[name] for name in shared)


def test_parts_of_other_sweeps_are_refused_and_nothing_is_written(shards, tmp_path):
    config = json.loads((shards[1] / "config.json").read_text())
    (shards[1] / "config.json").write_text(json.dumps(config | {"seed": 1}))
    with pytest.raises(InputError, match=r"shard1 is of another sweep: it has seed=1, .*shard0 has 0"):
        workdir.merge(tmp_path / "all", shards)
    (shards[1] / "config.json").write_text(json.dumps(config))
    folds = json.loads((shards[2] / "folds.json").read_text())
    (shards[2] / "folds.json").write_text(json.dumps(folds | {"sha256": "0"}))
    with pytest.raises(InputError, match=r"shard2 is of another sweep: .*shard0 holds a sweep on other images"):
        workdir.merge(tmp_path / "all", shards)
    folds["folds"][0]["test"] = folds["folds"][1]["test"]
    (shards[2] / "folds.json").write_text(json.dumps(folds))
    with pytest.raises(InputError, match=r"shard2 is of another sweep: .*other images in repeat 0, fold 0"):
        workdir.merge(tmp_path / "all", shards)
    assert not (tmp_path / "all").exists()


def test_a_run_with_other_weights_is_refused(shards, tmp_path, finished):
    shutil.copytree(finished, tmp_path / "other")
    path = tmp_path / "other" / "runs" / "unet" / "repeat0-fold0" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights_sha256": "0"}))
    with pytest.raises(InputError, match=r"shard0 and .*other both hold unet/repeat0-fold0, with other weights"):
        workdir.merge(tmp_path / "all", [*shards, tmp_path / "other"])


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no sweep"):
        workdir.merge(tmp_path / "all", [tmp_path])


def test_a_target_with_other_files_is_refused_and_kept(shards, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scores.csv").write_text("mine")
    with pytest.raises(InputError, match="mine is not empty and holds no sweep"):
        workdir.merge(tmp_path / "mine", shards)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["scores.csv"]


def test_a_damaged_run_is_named_before_anything_is_copied(shards, tmp_path):
    damaged = next(shards[1].rglob("runs/**/per_image.parquet"))
    damaged.write_bytes(b"junk")
    with pytest.raises(InputError, match=r"per_image\.parquet is damaged .*: delete the run's folder"):
        workdir.merge(tmp_path / "all", shards)
    assert not (tmp_path / "all").exists()


def test_a_config_comes_back_as_it_was(tmp_path):
    config = Config(
        data=Data(builder="folder", size=(16, 24), classes=("a", "b")), loss={"dice": 1.0}, models=("unet",), max_runs=3
    )
    splits = workdir.plan.split(config, squares())
    workdir.begin(tmp_path, config, squares(), splits, {})
    assert workdir.read_config(tmp_path) == config


def test_a_sweep_begun_before_a_field_was_there_goes_on(tmp_path):
    splits = workdir.plan.split(CONFIG, squares())
    workdir.begin(tmp_path, CONFIG, squares(), splits, {})
    config = json.loads((tmp_path / "config.json").read_text())
    del config["deterministic"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    workdir.begin(tmp_path, CONFIG, squares(), splits, {})
    with pytest.raises(InputError, match="deterministic=False, not True"):
        workdir.begin(tmp_path, dataclasses.replace(CONFIG, deterministic=True), squares(), splits, {})


def test_a_field_of_a_newer_version_is_refused(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "w")
    config = json.loads((tmp_path / "w" / "config.json").read_text())
    (tmp_path / "w" / "config.json").write_text(json.dumps(config | {"label_smoothing": 0.1}))
    with pytest.raises(InputError, match=r"config.json is of another version.*it sets label_smoothing"):
        list(sweep.go(CONFIG, squares(), tmp_path / "w", jax.devices()[:1]))
    assert json.loads((tmp_path / "w" / "config.json").read_text())["label_smoothing"] == 0.1


def test_without_its_folds_nothing_tells_what_a_workdirs_runs_were_made_of(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "w")
    (tmp_path / "w" / "folds.json").unlink()
    with pytest.raises(InputError, match=r"has lost its folds\.json: bring it back"):
        list(sweep.go(CONFIG, squares(seed=7), tmp_path / "w", jax.devices()[:1]))
    with pytest.raises(InputError, match=r"there is no folds\.json"):
        workdir.merge(tmp_path / "all", [tmp_path / "w"])
    shutil.rmtree(tmp_path / "w" / "runs")  # a sweep that was cut off between the two files
    workdir.begin(tmp_path / "w", CONFIG, squares(), workdir.plan.split(CONFIG, squares()), {})
    assert (tmp_path / "w" / "folds.json").exists()


@pytest.mark.parametrize(("name", "key"), [("folds.json", "sha256"), ("record.json", "status")])
def test_a_file_that_has_lost_a_key_is_named(finished, tmp_path, name, key):
    shutil.copytree(finished, tmp_path / "w")
    (path,) = (
        (tmp_path / "w").glob(name) if name == "folds.json" else list((tmp_path / "w").glob(f"runs/*/*/{name}"))[:1]
    )
    tree = json.loads(path.read_text())
    del tree[key]
    path.write_text(json.dumps(tree))
    with pytest.raises(InputError, match=f"is damaged .*it has no {key}"):
        list(sweep.go(CONFIG, squares(), tmp_path / "w", jax.devices()[:1]))


def test_folds_are_compared_with_those_of_the_sweep_with_most_repeats(finished, tmp_path):
    """A first part with one repeat let two others pass that differ in the second."""
    parts = []
    for name, repeats in (("one", 1), ("two", 2), ("other", 2)):
        shutil.copytree(finished, part := tmp_path / name)
        shutil.rmtree(part / "runs")
        config = dataclasses.replace(CONFIG, repeats=repeats)
        for path in ("config.json", "folds.json"):
            (part / path).unlink()
        workdir.begin(part, config, squares(), workdir.plan.split(config, squares()), {})
        parts.append(part)
    folds = json.loads((parts[2] / "folds.json").read_text())
    last, before = folds["folds"][-1], folds["folds"][-2]
    last["test"], before["test"] = before["test"], last["test"]
    (parts[2] / "folds.json").write_text(json.dumps(folds))
    with pytest.raises(InputError, match="other images in repeat 1"):
        workdir.merge(tmp_path / "all", parts)


def test_a_run_with_other_scores_is_refused(finished, tmp_path):
    shutil.copytree(finished, other := tmp_path / "other")
    path = next(other.glob("runs/*/*/record.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"jaccard": 0.99}))
    with pytest.raises(InputError, match="with other scores: delete one"):
        workdir.merge(tmp_path / "all", [finished, other])


def test_records_made_before_scoring_was_noted_are_merged(finished, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(finished, tmp_path / name)
        for path in (tmp_path / name).glob("runs/*/*/record.json"):
            record = json.loads(path.read_text())
            del record["scoring"]
            path.write_text(json.dumps(record))
    assert workdir.merge(tmp_path / "all", [tmp_path / "one", tmp_path / "two"]) == 4


def test_the_config_is_checked_and_written_by_one_process_at_a_time(tmp_path, monkeypatch):
    def begin(folder, *_):
        with pytest.raises(Timeout):
            FileLock(folder / ".locks" / "written").acquire(timeout=0)
        raise InputError("looked at")

    monkeypatch.setattr(workdir, "begin", begin)
    with pytest.raises(InputError, match="looked at"):
        list(sweep.go(CONFIG, squares(), tmp_path / "w", jax.devices()[:1]))


def test_a_run_that_another_process_makes_is_not_made(tmp_path):
    with (
        lock.making(tmp_path / "w", "unet/repeat0-fold0"),
        pytest.raises(InputError, match="unet/repeat0-fold0 is being made by another process"),
    ):
        list(sweep.go(CONFIG, squares(), tmp_path / "w", jax.devices()[:1]))
