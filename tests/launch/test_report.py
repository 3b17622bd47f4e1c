"""The command, the report at the end of a sweep, and what a sweep was made with."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from rich.console import Console

from launch import cv, report
from launch.console import environment
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.report import write
from tests.edits import write_environment
from tests.report import whole

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template") / "w"
    whole.sweep(folder, repeats=1)
    return folder


@pytest.fixture
def workdir(template, tmp_path):
    """A finished sweep of two networks on two folds."""
    return Path(shutil.copytree(template, tmp_path / "w"))


def test_the_command_prints_where_the_report_is(workdir, capsys):
    report.run([str(workdir), "--title=Our lesions", "--note=Made by **J. Doe** & Co."])
    assert capsys.readouterr().out == f"report: {workdir / 'report' / 'report.html'}\n"
    html = (workdir / "report" / "report.html").read_text()
    assert html.count("Our lesions") == 2  # in <title> and <h1>
    assert "Made by <strong>J. Doe</strong> &amp; Co." in html


def test_bad_input_is_one_line_and_exit_code_1(tmp_path):
    command = [sys.executable, "-m", "launch.report", str(tmp_path)]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == f"error: {tmp_path} holds no sweep: there is no config.json\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("record.json", b"{", "record.json is damaged .*: delete the run's folder"),
        ("per_image.parquet", b"junk", "per_image.parquet is damaged"),
        ("per_image.parquet", None, "per_image.parquet is missing: delete the run's folder"),
        ("metrics.jsonl", b'{"epoch": 1', "metrics.jsonl is damaged"),
        ("predictions.npz", b"PK", "predictions.npz is damaged"),
        ("environment.json", b"{", "environment.json is damaged .*: delete it"),
        ("folds.json", b"[]", r"folds.json is damaged \(Expected `object`, got `array`\): bring it back"),
        ("config.json", b"{}", r"config.json is damaged \(Object missing required field `data`"),
    ],
)
def test_a_damaged_file_is_named(workdir, name, content, message):
    path = workdir / name if name in ("environment.json", "folds.json", "config.json") else None
    path = path or next((workdir / "runs").rglob(name))
    path.unlink(missing_ok=True) if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        report.run([str(workdir)])
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_sweep_with_a_damaged_environment_gets_its_tables(tmp_path):
    (tmp_path / "environment.json").write_text("{")
    environment.write(tmp_path, "launch.cv", ["--config=a.py"], environment.facts(jax.devices()))
    (command,) = json.loads((tmp_path / "environment.json").read_text())["commands"]
    assert command == "python -m launch.cv --config=a.py"


def test_runs_of_two_versions_name_both_and_a_command_that_trained_none_adds_no_version(tmp_path):
    path, packages = tmp_path / "environment.json", {"jax": "0.9.0"}
    old = write_environment(tmp_path, commands=["a"], commit="0000", devices="8 x NVIDIA H100", packages=packages)
    environment.write(tmp_path, "launch.cv", [], environment.facts(jax.devices()), trained=False)
    assert json.loads(path.read_text()) == old | {"commands": ["a", "python -m launch.cv"]}
    environment.write(tmp_path, "launch.cv", [], environment.facts(jax.devices()))
    both = json.loads(path.read_text())
    assert both["commit"].startswith("0000; ")
    assert both["devices"].startswith("8 x NVIDIA H100; ")
    assert both["packages"]["jax"] == f"0.9.0; {jax.__version__}"


@pytest.mark.slow  # tests/launch/test_explain.py has the same of another command
def test_a_home_is_found_behind_an_equals_sign(workdir, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    report.run(["~/w", "--output=~/out"])
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.usefixtures("tiny_models")
def test_a_sweep_ends_with_its_report_and_what_it_was_made_with(tmp_path, monkeypatch, dataset):
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    settings = ["--config.max_runs=1", "--config.epochs=1", "--config.data.size=16,24"]
    console = Console(width=160, record=True)
    assert cv.run(["--config=demo.py", f"--workdir={tmp_path / 'w'}", *settings], console) == 0
    assert "report.html" in console.export_text()
    page = (tmp_path / "w" / "report" / "report.html").read_text()
    made_with = json.loads((tmp_path / "w" / "environment.json").read_text())
    (command,) = made_with["commands"]
    assert command.startswith("python -m launch.cv --config=demo.py --workdir=")
    assert command in page
    assert made_with["packages"]["jax"] in page
    path = tmp_path / "w" / "environment.json"
    path.write_text(json.dumps(made_with | {"commit": "0000"}))
    assert cv.run(["--config=demo.py", f"--workdir={tmp_path / 'w'}", *settings], console) == 0  # trains nothing
    assert json.loads(path.read_text())["commit"] == "0000"
    for _ in range(2):  # the same command twice is listed once
        environment.write(tmp_path / "w", "launch.cv", ["--config=a b.py"], environment.facts(jax.devices()))
    commands = json.loads((tmp_path / "w" / "environment.json").read_text())["commands"]
    assert commands == [command, "python -m launch.cv '--config=a b.py'"]


def test_a_report_that_fails_is_one_line(tmp_path, monkeypatch):
    def fail(workdirs):
        raise RuntimeError("no\nroom")

    monkeypatch.setattr(write, "write", fail)
    console = Console(width=300, record=True)
    cv._report(tmp_path, console)
    (line,) = console.export_text().splitlines()
    assert line == f"warning: the report was not written (no room); then give python -m launch.report {tmp_path}"


@pytest.mark.usefixtures("tiny_models")
def test_a_command_that_is_killed_is_on_record_with_the_code_that_it_began_with(tmp_path, monkeypatch, dataset):
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    commits = iter(["began", "pulled meanwhile"])
    monkeypatch.setattr(environment, "_commit", lambda: next(commits))

    def killed(events, *_, **options):
        next(iter(events))
        raise KeyboardInterrupt

    monkeypatch.setattr("launch.console.progress.show", killed)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        cv.run(["--config=demo.py", f"--workdir={tmp_path / 'w'}", "--config.max_runs=1"], Console(quiet=True))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    found = json.loads((tmp_path / "w" / "environment.json").read_text())
    assert found["commit"] == "began"
    assert found["commands"] == [f"python -m launch.cv --config=demo.py --workdir={tmp_path / 'w'} --config.max_runs=1"]
