"""The files that describe a sweep: written, read back, and refused where they are of another one."""

import dataclasses
import json
import shutil

import pytest

from sharp_unet_jax.config import Config, Data
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import description, run_files
from sharp_unet_jax.sweeps import plan, workdir
from tests.conftest import squares
from tests.edits import edit
from tests.tiny_sweep import CONFIG, make

pytestmark = pytest.mark.usefixtures("tiny_models")


def begin(folder, config=CONFIG, dataset=None):
    dataset = dataset or squares()
    workdir.begin(folder, config, dataset, plan.split(config, dataset), {})


def test_a_config_comes_back_as_it_was(tmp_path):
    config = Config(
        data=Data(builder="folder", size=(16, 24), classes=("a", "b")), loss={"dice": 1.0}, models=("unet",), max_runs=3
    )
    begin(tmp_path, config)
    assert workdir.read_config(tmp_path) == config


def test_a_field_that_a_config_lacks_has_its_default(tmp_path):
    begin(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["deterministic"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    begin(tmp_path)
    with pytest.raises(InputError, match="deterministic=False, not True"):
        begin(tmp_path, dataclasses.replace(CONFIG, deterministic=True))


def test_a_field_of_a_newer_version_is_refused(tmp_path):
    begin(tmp_path)
    edit(tmp_path / "config.json", label_smoothing=0.1)
    with pytest.raises(InputError, match=r"config.json is of another version.*it sets label_smoothing"):
        begin(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["label_smoothing"] == 0.1


def test_a_damaged_config_is_named(tmp_path):
    begin(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json is damaged .*: bring it back from a copy, or name another"):
        begin(tmp_path)


@pytest.mark.parametrize(("name", "key"), [("folds.json", "sha256"), ("runs/unet/repeat0-fold0/record.json", "status")])
def test_a_file_that_has_lost_a_key_is_named(done, dataset, name, key):
    edit(done / name, key)
    with pytest.raises(InputError, match=f"{name} is damaged .*required field `{key}`"):
        make(done, dataset)


def test_without_its_folds_nothing_tells_the_images_of_a_workdirs_runs(done):
    (done / "folds.json").unlink()
    with pytest.raises(InputError, match=r"has lost its folds\.json: bring it back"):
        begin(done, dataset=squares(seed=7))
    with pytest.raises(InputError, match=r"there is no folds\.json"):
        workdir.read_folds(done)
    shutil.rmtree(done / "runs")  # a sweep that was cut off between the two files
    begin(done)
    assert (done / "folds.json").exists()


def test_a_run_without_a_record_has_none(done):
    run = plan.every(CONFIG)[0]
    assert run_files.read_record(description.read(done), run)["run"] == run.name
    (done / "runs" / run.name / "record.json").unlink()
    assert run_files.read_record(description.read(done), run) is None


def test_images_may_move_to_a_folder_of_another_name(done, dataset):
    moved = dataclasses.replace(dataset, name="folder/elsewhere")
    assert make(done, moved) == []  # no run is left to train
    assert {row.partition(",")[0] for row in (done / "scores.csv").read_text().splitlines()[1:]} == {"folder/elsewhere"}


def test_without_a_finished_run_there_is_no_table_of_images(done):
    workdir.collect(done, dataclasses.replace(CONFIG, models=("attention_unet",)))
    assert not (done / "per_image.parquet").exists()
