"""The command: every shipped config runs, and what goes wrong is one line and an exit code."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pandas as pd
import pytest
from rich.console import Console

from launch import cv
from launch.console import config as configs
from launch.console import dataset
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.sweeps.events import Ended, Stopped
from tests.conftest import squares
from tests.launch.console.test_config import NAMES
from tests.tiny_sweep import files
from tests.uneven import uneven

ROOT = Path(__file__).parents[2]
CLASSES = {"covid": 4}
CHANNELS = {"isbi": 1, "sharp_lab": 1, "zoo": 1, "covid": 1, "lung": 1}


@pytest.fixture
def console():
    return Console(width=160, record=True, quiet=False)


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Leave out the report: it takes seconds and has tests of its own."""
    monkeypatch.setattr(cv, "_report", lambda folder, console: None)


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(
    "name", [n if n in ("folder", "published/isbi") else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_every_shipped_config_runs(name, tmp_path, monkeypatch, console):
    """The shipped config with fewer pixels and runs, on images with the data set's channels and classes."""
    shipped = configs.load(name)

    def load(data, console) -> Dataset:
        assert data.builder == shipped.data.builder
        known = name.removeprefix("published/")
        form = {"classes": CLASSES.get(known, 2), "channels": CHANNELS.get(known, 3)}
        toy = uneven(**form) if data.fit == "crop" else squares(n=12, size=data.size, **form)
        return dataclasses.replace(toy, name=data.builder)

    monkeypatch.setattr(dataset, "load", load)
    arguments = [f"--config={name}.py", f"--workdir={tmp_path / 'w'}", "--config.data.size=16,24"]
    arguments += ["--config.weights="]  # those of best.py are fetched
    assert cv.run([*arguments, "--config.max_runs=2", "--config.epochs=1"], console) == 0
    scores = pd.read_csv(tmp_path / "w" / "scores.csv")
    assert set(scores["model"]) == set(shipped.models[:2])
    assert (scores["dataset"] == shipped.data.builder).all()
    text = console.export_text()
    assert "run 2 of 2" in text
    assert "Jaccard (%)" in text
    assert (tmp_path / "w" / "tables.md").is_file()


@pytest.mark.usefixtures("tiny_models")
def test_a_sweep_with_a_failed_run_ends_in_exit_code_1(tmp_path, monkeypatch, console, dataset):
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    arguments = ["--config=demo.py", f"--workdir={tmp_path / 'w'}", "--config.learning_rate=1e30"]
    assert cv.run([*arguments, "--config.max_runs=1"], console) == 1
    text = console.export_text()
    assert "loss became NaN or infinite in epoch" in text
    assert "1 of 1 runs failed: unet/repeat0-fold0" in text


@pytest.mark.usefixtures("tiny_programs")
def test_a_larger_number_of_epochs_trains_capped_runs_on(tmp_path, monkeypatch, console, dataset):
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    arguments = ["--config=demo.py", "--config.max_runs=1", "--config.patience=3"]
    assert cv.run([*arguments, f"--workdir={tmp_path / 'w'}", "--config.epochs=1"], console) == 0
    told = (
        "1 of 1 runs were capped by epochs=1, 1 of them with the best epoch among the last 3: the same command with a"
    )
    assert told in console.export_text()
    for name in ("w", "whole"):
        assert cv.run([*arguments, f"--workdir={tmp_path / name}", "--config.epochs=2"], console) == 0
    assert files(tmp_path / "w") == files(tmp_path / "whole")
    with pytest.raises(InputError, match="unet/repeat0-fold0 with 2 epochs: give epochs=2 or more, not 1"):
        cv.run([*arguments, f"--workdir={tmp_path / 'w'}", "--config.epochs=1"], console)


@pytest.mark.usefixtures("tiny_models")
def test_sigterm_saves_and_the_same_command_goes_on(tmp_path, monkeypatch, console, dataset):
    """SIGTERM goes to a real process; the command that goes on runs in this one."""
    arguments = ["--config=demo.py", f"--workdir={tmp_path / 'w'}", "--config.max_runs=1", "--config.epochs=40"]
    arguments += ["--config.patience=40", "--config.batch_size=1"]
    command = [sys.executable, "-m", "tests.launch.tiny_cv", *arguments]
    metrics = tmp_path / "w" / "runs" / "unet" / "repeat0-fold0" / "metrics.jsonl"
    environment = os.environ | {"DEVICES": "1", "JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (metrics.exists() and metrics.read_text()):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 75, errors
    assert "stopped in unet/repeat0-fold0; what was done is saved" in output
    before = metrics.read_text().splitlines()
    assert 1 <= len(before) < 40
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    assert cv.run(arguments, console) == 0
    lines = metrics.read_text().splitlines()
    assert len(lines) == 40
    assert lines[: len(before)] == before


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.slow
def test_ctrl_c_is_answered_within_a_second_and_a_second_one_ends_the_command(tmp_path, monkeypatch, console):
    """A training step takes seconds here: a thread that waits for it handles no signal."""
    height, workdir = 2000, tmp_path / "w"
    arguments = ["--config=demo.py", "--config.models=unet", "--config.max_runs=1", "--config.epochs=2"]
    arguments += ["--config.batch_size=12", "--config.checkpoint_minutes=0"]
    command = [sys.executable, "-m", "tests.launch.tiny_cv", *arguments, f"--workdir={workdir}"]
    environment = os.environ | {"DEVICES": "1", "JAX_PLATFORMS": "cpu", "HEIGHT": str(height)}
    run = workdir / "runs" / "unet" / "repeat0-fold0"
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (run / "resume" / "1.state").exists():
            time.sleep(0.01)
        time.sleep(0.3)  # until the second epoch's step runs
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert any("stopping at the end of the epoch; Ctrl-C again to stop at once" in line for line in process.stdout)
        answered = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=300) == 130
        ended = time.monotonic()
    assert answered - asked < 1
    assert ended - answered < 1
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 1
    data = squares(size=(height, 24))
    monkeypatch.setattr("launch.console.dataset.load", lambda *_: data)
    for folder in (workdir, tmp_path / "whole"):
        assert cv.run([*arguments, f"--workdir={folder}"], console) == 0
    assert files(workdir) == files(tmp_path / "whole")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells a process's signals and libraries on Linux")
def test_sigterm_is_handled_before_jax_is_imported(tmp_path):
    """A job system may stop a job that has just started: it is to be given the same command again."""
    config = tmp_path / "slow.py"
    config.write_text("import time\n\ntime.sleep(300)\n")  # read before JAX is imported; the signal comes meanwhile
    command = [sys.executable, "-m", "launch.cv", f"--config={config}", f"--workdir={tmp_path / 'w'}"]
    with subprocess.Popen(command, cwd=ROOT) as process:
        of_process = Path("/proc") / str(process.pid)
        while process.poll() is None and not caught(of_process) >> signal.SIGTERM - 1 & 1:
            time.sleep(0.001)
        assert "jaxlib" not in (of_process / "maps").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 75


def caught(of_process):
    """Return the signals that a process handles, one bit each."""
    (mask,) = re.findall(r"(?m)^SigCgt:\s+(\w+)", (of_process / "status").read_text())
    return int(mask, 16)


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_stopped_sweep_leaves_the_tables_of_what_is_finished(tmp_path, monkeypatch, console, dataset, number, code):
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)

    def show(events, console, epochs, groups, networks):
        assert networks == 2
        for event in events:
            if isinstance(event, Ended):
                signal.raise_signal(number)

    monkeypatch.setattr("launch.console.progress.show", show)
    arguments = ["--config=demo.py", f"--workdir={tmp_path / 'w'}", "--config.epochs=1", "--config.batch_size=8"]
    assert cv.run([*arguments, "--config.devices_per_run=8"], console) == code  # one run at a time
    assert "1 of 6 runs are finished" in (tmp_path / "w" / "tables.md").read_text()


@pytest.fixture
def untrained(tmp_path, monkeypatch, dataset):
    """Return a function that runs the command on a sweep whose training gives a result or raises an error."""

    def run(console, result):
        def train(*_):
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
        monkeypatch.setattr(cv, "_train", train)
        return cv.run(["--config=demo.py", f"--workdir={tmp_path / 'w'}"], console)

    return run


def test_a_stopped_sweep_keeps_its_code_where_common_files_stay_locked(untrained, monkeypatch, console):
    def locked(*_):
        raise InputError("locked")

    monkeypatch.setattr(cv.workdir, "collect", locked)
    assert untrained(console, Stopped("unet/repeat0-fold0")) == 75
    assert "the tables were not written (locked)" in console.export_text()
    with pytest.raises(InputError, match="locked"):
        untrained(console, (0, True))


def test_only_the_first_process_collects(untrained, tmp_path, monkeypatch, console):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(cv.workdir, "collect", lambda *_: pytest.fail("it collects"))
    assert untrained(console, (0, True)) == 0
    assert not (tmp_path / "w" / "environment.json").exists()


def command(*arguments, data_dir):
    """Run the command as a user does, in a process of its own."""
    environment = os.environ | {"TFDS_DATA_DIR": str(data_dir), "JAX_PLATFORMS": "cpu"}
    line = [sys.executable, "-m", "launch.cv", *arguments]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def main(monkeypatch, capsys, *arguments):
    """Return the command's exit code and its stderr, without a process of its own."""

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(sys, "argv", ["launch.cv", *arguments])
    with pytest.raises(SystemExit) as ended:
        cv.main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a config"),
        (["--config=cvv.py"], "did you mean 'cvc.py'"),
        (["--config=demo.py", "--config.modles=unet"], "did you mean --config.models?"),
        (["--config=demo.py", "--config.models=sharpunet"], "did you mean 'sharp_unet'"),
        (["--config=demo.py", "--epochs=3"], "--epochs=3: unknown argument"),
        (["--config=demo.py", "--config.folds"], "give it a value"),
        (["--config=demo.py", "--config.data.builder=phantm"], "phantom"),
        (["--config=cvc.py", "--config.data.manual_dir=no/such/folder"], "no/such/folder"),
        (["--config=folder.py"], "Name the folder with --config.data.images=FOLDER"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(arguments, message, tmp_path, monkeypatch, capsys):
    code, printed = main(monkeypatch, capsys, *arguments, f"--workdir={tmp_path / 'w'}")
    assert code == 1
    assert message in printed
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert not (tmp_path / "w").exists()


def test_bad_input_from_a_shell_is_one_line_and_exit_code_1(tmp_path):
    """The process searches files below TFDS_DATA_DIR."""
    result = command("--config=cvc.py", f"--workdir={tmp_path / 'w'}", data_dir=tmp_path / "tfds")
    assert result.returncode == 1
    assert "Name the folder with --config.data.manual_dir=FOLDER" in result.stderr
    assert str(tmp_path / "tfds") in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "w").exists()


@pytest.mark.slow  # its parts run in this process above, and in one of its own where SIGTERM stops it
def test_the_demo_runs_from_a_shell(tmp_path):
    """The phantom through the whole command: one epoch of one run of the real network, in two steps of small images."""
    small = ("--config.max_runs=1", "--config.epochs=1", "--config.data.size=16,16", "--config.batch_size=20")
    model = "--config.models=attention_unet"  # XLA compiles the smallest network in the shortest time
    result = command("--config=demo.py", f"--workdir={tmp_path / 'w'}", model, *small, data_dir=tmp_path / "tfds")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "run 1 of 1: attention_unet/repeat0-fold0" in result.stdout
    assert "1 of 3 runs are finished" in result.stdout
    assert len((tmp_path / "w" / "scores.csv").read_text().splitlines()) == 2


def test_sigterm_while_images_are_read_leaves_nothing_half_written(tmp_path, monkeypatch, capsys):
    def track(console, what):
        def follow(items, total):
            for item in items:
                yield item
                assert list(tmp_path.glob("phantom/*/*/.prepared-*"))
                signal.raise_signal(signal.SIGTERM)

        return follow

    monkeypatch.setattr(dataset, "track", track)
    arguments = ["--config=demo.py", f"--config.data.data_dir={tmp_path}", f"--workdir={tmp_path / 'w'}"]
    assert main(monkeypatch, capsys, *arguments) == (75, "")
    assert list(tmp_path.glob("phantom/*/*")) != []
    assert list(tmp_path.rglob(".prepared-*")) == []
    assert list(tmp_path.rglob("prepared-*")) == []
    assert not (tmp_path / "w").exists()


@pytest.mark.slow  # in this process the test above has it
def test_sigterm_from_a_shell_while_images_are_read_leaves_nothing_half_written(tmp_path):
    environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    arguments = ["--config=demo.py", "--config.data.size=2048,2048", f"--workdir={tmp_path / 'w'}"]
    with subprocess.Popen([sys.executable, "-m", "launch.cv", *arguments], cwd=ROOT, env=environment) as process:
        while process.poll() is None and not list(tmp_path.glob("phantom/*/*/.prepared-*")):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 75
    assert list(tmp_path.rglob(".prepared-*")) == []
    assert list(tmp_path.rglob("prepared-*")) == []
