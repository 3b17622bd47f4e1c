"""The next commands, with the user's paths."""

import shlex

import pytest

from sharp_unet_jax.report import next_commands, records
from tests.conftest import squares
from tests.edits import write_environment
from tests.report import sweep_writer, whole


def test_commands_have_the_paths_the_best_model_and_more_repeats(tmp_path):
    folder = tmp_path / "my sweep"
    whole.sweep(folder, squares(n=8), repeats=1)
    given = shlex.join(["python", "-m", "launch.cv", "--config=demo.py", "--config.repeats=1", f"--workdir={folder}"])
    write_environment(folder, commands=["python -m launch.cv --shard=0/2", given])
    predict, export, more = (shlex.split(step.command) for step in next_commands.steps(records.load(folder)))
    assert {f"--run={folder}", "--model=sharp_unet"} <= {*predict} & {*export}  # `shifted` is better for it
    assert f"--output={folder}/sharp_unet.onnx" in export
    own = ["--config.repeats=3", f"--workdir={folder}"]
    assert more == [
        "python",
        "-m",
        "launch.cv",
        "--config=demo.py",
        *own,
        "--config.models=unet,sharp_unet",
        "--config.epochs=4",
    ]


def test_more_repeats_of_a_merged_sweep_are_of_all_its_networks_in_its_own_workdir(tmp_path):
    whole.sweep(tmp_path / "all", squares(n=8), repeats=1)
    parts = [f"python -m launch.cv --config=demo.py --config.models={name} --workdir={name}" for name in ("unet", "b")]
    write_environment(tmp_path / "all", commands=parts)
    sweep = records.load(tmp_path / "all")
    *_, more = next_commands.steps(sweep)
    models = ",".join(sweep.config["models"])
    own = ["--config.repeats=3", f"--workdir={tmp_path / 'all'}", f"--config.models={models}", "--config.epochs=4"]
    assert shlex.split(more.command) == ["python", "-m", "launch.cv", "--config=demo.py", *own]


@pytest.mark.parametrize("given", [["--config.repeats", "1", "--shard", "1/4"], ["--shard=1/4", "--config.max_runs=3"]])
def test_more_repeats_are_of_all_runs(tmp_path, given):
    whole.sweep(tmp_path / "w", squares(n=8), repeats=1)
    command = shlex.join(["python", "-m", "launch.cv", *given, "--config=demo.py"])
    write_environment(tmp_path / "w", commands=[command])
    *_, more = next_commands.steps(records.load(tmp_path / "w"))
    own = ["--config.repeats=3", f"--workdir={tmp_path / 'w'}"]
    assert shlex.split(more.command) == ["python", "-m", "launch.cv", "--config=demo.py", *own]


def test_packed_results_have_none_and_without_a_command_there_are_no_more_repeats(tmp_path):
    sweep = whole.sweep(tmp_path / "w", squares(n=8), repeats=1)
    assert len(next_commands.steps(sweep)) == 2
    assert next_commands.steps(records.load(sweep_writer.pack(sweep.workdir, tmp_path / "packed"))) == []
