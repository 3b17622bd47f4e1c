"""The command, as a user gives it: every shipped config runs, and what goes wrong is one line and exit code 1."""

import dataclasses
import io
import json
import os
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
from launch.console import dataset, progress
from sharp_unet_jax.data.resident import Dataset
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps.events import Ended, EpochEnded, Started, Warned
from sharp_unet_jax.training import train
from tests.conftest import squares
from tests.launch.console.test_config import NAMES

ROOT = Path(__file__).parents[2]
CLASSES = {"covid": 4}
CHANNELS = {"isbi": 1, "covid": 1, "lung": 1}


@pytest.fixture
def console():
    return Console(width=160, record=True, quiet=False)


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """They take seconds, and have tests of their own."""
    monkeypatch.setattr(cv, "_report", lambda folder, console: None)


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(
    "name", [n if n in ("cvc", "folder") else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_every_shipped_config_runs(name, tmp_path, monkeypatch, console):
    """The shipped config, shrunk in size and number of runs, on pictures of the data set's channels and classes."""
    shipped = configs.load(name)

    def load(data, console) -> Dataset:
        assert data.builder == shipped.data.builder
        toy = squares(n=12, size=data.size, classes=CLASSES.get(name, 2), channels=CHANNELS.get(name, 3))
        return dataclasses.replace(toy, name=data.builder)

    monkeypatch.setattr(dataset, "load", load)
    arguments = [f"--config={name}.py", f"--workdir={tmp_path / 'w'}", "--config.data.size=16,24"]
    assert cv.run([*arguments, "--config.max_runs=2", "--config.epochs=1"], console) == 0
    scores = pd.read_csv(tmp_path / "w" / "scores.csv")
    assert list(scores["model"]) == sorted(shipped.models[:2])
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


@pytest.mark.usefixtures("tiny_models")
def test_a_run_is_verified_by_training_it_again(tmp_path, monkeypatch, console, dataset):
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)
    arguments = ["--config=demo.py", f"--workdir={tmp_path / 'w'}", "--config.max_runs=2", "--config.epochs=2"]
    verify = "--verify=sharp_unet/repeat0-fold0"
    with pytest.raises(InputError, match="no finished run of that name"):
        cv.run([*arguments, verify], console)
    assert cv.run(arguments, console) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "w").rglob("*") if path.is_file()}
    assert cv.run([*arguments, verify], console) == 0
    assert "the weights have the same bits" in console.export_text()
    with pytest.raises(InputError, match=r"learning_rate=0.001, not 0.01"):
        cv.run([*arguments, verify, "--config.learning_rate=0.01"], console)
    assert before == {path: path.read_bytes() for path in (tmp_path / "w").rglob("*") if path.is_file()}
    path = tmp_path / "w" / "runs" / "sharp_unet" / "repeat0-fold0" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights_sha256": "0"}))
    with pytest.raises(InputError):  # the checkpoint is not that of the record
        cv.run([*arguments, verify], console)
    monkeypatch.setattr(cv.trained, "load", lambda path: None)
    assert cv.run([*arguments, verify], console) == 1
    assert "the weights DIFFER" in console.export_text()


def test_sigterm_saves_and_the_same_command_goes_on(tmp_path):
    """From a shell."""
    command = [sys.executable, "-m", "tests.launch.tiny_cv", "--config=demo.py", f"--workdir={tmp_path / 'w'}"]
    command += ["--config.max_runs=1", "--config.epochs=80", "--config.patience=80", "--config.batch_size=1"]
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
    done = len(metrics.read_text().splitlines())
    assert 1 <= done < 80
    process = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert process.returncode == 0, process.stderr
    assert len(metrics.read_text().splitlines()) == 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--coordinator=localhost:1"], "give --coordinator=HOST:PORT, --processes=N and --process=I together"),
        (["--distributed", "--processes=2"], "together"),
        (["--coordinator=nonsense", "--processes=1", "--process=0"], "--coordinator=nonsense: give it as HOST:PORT"),
        (["--coordinator=localhost:1x", "--processes=1", "--process=0"], "give it as HOST:PORT"),
        (["--distributed", "--shard=0/2"], "on their own"),
        (["--distributed", "--verify=unet/repeat0-fold0"], "on their own"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        cv.parse(["--config=demo.py", *arguments])


@pytest.mark.parametrize("shard", ["2/2", "-1/2", "1", "a/b", "0/0"])
def test_a_wrong_shard_is_refused(shard):
    with pytest.raises(InputError, match="give it as I/N"):
        cv.parse(["--config=demo.py", f"--shard={shard}"])


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_stopped_sweep_leaves_the_tables_of_what_is_finished(tmp_path, monkeypatch, console, dataset, number, code):
    monkeypatch.setattr("launch.console.dataset.load", lambda data, console: dataset)

    def show(events, console, epochs, groups):
        for event in events:
            if isinstance(event, Ended):
                signal.raise_signal(number)

    monkeypatch.setattr("launch.console.progress.show", show)
    arguments = ["--config=demo.py", f"--workdir={tmp_path / 'w'}", "--config.epochs=1", "--config.batch_size=8"]
    assert cv.run([*arguments, "--config.devices_per_run=8"], console) == code  # one run at a time
    assert "1 of 6 runs are finished" in (tmp_path / "w" / "tables.md").read_text()


def command(*arguments, data_dir, cwd=ROOT):
    environment = os.environ | {"TFDS_DATA_DIR": str(data_dir), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-m", "launch.cv", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def main(monkeypatch, capsys, *arguments):
    """The exit code and what was written to stderr, without a process of its own."""

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(sys, "argv", ["launch.cv", *arguments])
    with pytest.raises(SystemExit) as ended:
        cv.main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "processes", "last_line"),
    [
        # What jaxlib raises where it reads an array whose sum over processes failed.
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer"), 2, "error: another process of the"),
        (jax.errors.JaxRuntimeError("INTERNAL: all-reduce\nfailed"), 2, "error: another process of the sweep failed"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GB"), 1, "error: the device is out of memory: lower"),
        (ValueError("axis 3 is out of bounds"), 2, "ValueError: axis 3 is out of bounds"),
    ],
)
def test_what_xla_reports_is_one_line_and_exit_code_1(error, processes, last_line, monkeypatch, capsys):
    def fail(arguments, console):
        raise error

    monkeypatch.setattr(cv, "run", fail)
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    code, printed = main(monkeypatch, capsys)
    printed = printed.splitlines()
    assert code == 1
    assert printed[-1 if printed[-1] else -2].startswith(last_line)
    assert (len(printed) == 1) == last_line.startswith("error: ")


@pytest.mark.parametrize("code", [0, 75])
def test_one_of_several_processes_ends_at_once(code, monkeypatch, capsys):
    # Python's own end aborted a process whose sweep was done: "FATAL: exception not rethrown".
    codes = []
    monkeypatch.setattr(cv, "run", lambda arguments, console: code)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(os, "_exit", codes.append)
    cv.main()
    assert codes == [code]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a config"),
        (["--config=demo.py", "--config.modles=unet"], "did you mean --config.models?"),
        (["--config=demo.py", "--config.models=sharpunet"], "did you mean 'sharp_unet'"),
        (["--config=demo.py", "--epochs=3"], "--epochs=3: unknown argument"),
        (["--config=demo.py", "--config.folds"], "give it a value"),
        (["--config=demo.py", "--config.data.builder=phantm"], "phantom"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(arguments, message, tmp_path, monkeypatch, capsys):
    code, printed = main(monkeypatch, capsys, *arguments, f"--workdir={tmp_path / 'w'}")
    assert code == 1
    assert message in printed
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=cvv.py"], "did you mean 'cvc.py'"),
        # Only a process of its own looks for prepared data sets where it is told to.
        (["--config=cvc.py", "--config.data.manual_dir=no/such/folder"], "no/such/folder"),
        (["--config=cvc.py"], "Name the folder with --config.data.manual_dir=FOLDER"),
        (["--config=folder.py"], "Name the folder with --config.data.images=FOLDER"),
    ],
)
def test_bad_input_from_a_shell(arguments, message, tmp_path):
    result = command(*arguments, f"--workdir={tmp_path / 'w'}", data_dir=tmp_path / "tfds")
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "w").exists()


def test_the_demo_runs_from_a_shell(tmp_path):
    """The embedded phantom through the whole command, one epoch of one run of the real network, on quarter images."""
    result = command(
        "--config=demo.py",
        f"--workdir={tmp_path / 'w'}",
        "--config.max_runs=1",
        "--config.epochs=1",
        "--config.data.size=32,32",
        data_dir=tmp_path / "tfds",
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "run 1 of 1: unet/repeat0-fold0" in result.stdout
    assert "1 of 6 runs are finished" in result.stdout
    assert len((tmp_path / "w" / "scores.csv").read_text().splitlines()) == 2


def test_a_terminal_shows_every_run_that_is_on():
    """A bar for each group's run, and one that counts runs."""
    runs = [Run(0, fold, "unet") for fold in range(3)]
    row = {"epoch": 1, "validation_jaccard": 0.5, "train_loss": 0.1, "validation_loss": 0.2}
    epoch = train.Epoch(row, 1.0, 1.0, None)
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    seen = []

    def events():
        for number, run in enumerate(runs[:2], 1):
            yield Started(run, number, 3, 10)
        for run in runs[:2]:
            yield EpochEnded(run, epoch)
        yield Warned("all are on")
        seen.append(console.file.getvalue())
        for run in runs[:2]:
            yield Ended(run, {"status": "failed", "reason": "none"})

    records = progress.show(events(), console, 5, 2)
    assert len(records) == 2
    assert all(f"{run.name} " in seen[0] for run in runs[:2])
    assert runs[2].name not in seen[0]


def test_an_epoch_with_compiling_says_so(monkeypatch):
    """19 hours were left after the first epoch of a sweep of six minutes."""
    monkeypatch.setattr(progress, "PLAIN_SECONDS", -1)
    console = Console(file=io.StringIO(), width=300)

    def events():
        yield Started(Run(0, 0, "unet"), 1, 1, 10)
        for epoch in 1, 2:
            row = {"epoch": epoch, "validation_jaccard": 0.5, "train_loss": 0.1, "validation_loss": 0.2}
            yield EpochEnded(Run(0, 0, "unet"), train.Epoch(row, 1.0, 1.0, None), epoch == 1)

    progress.show(events(), console, 2, 1)
    lines = [line for line in console.file.getvalue().splitlines() if "images/s" in line]
    assert ["with compiling" in line for line in lines] == [True, False]


def test_a_home_is_found_behind_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.py").write_text((ROOT / "launch/configs/demo.py").read_text())
    assert cv.parse(["--config=~/own.py", "--workdir=~/w"]).workdir == tmp_path / "w"


def test_sigterm_while_images_are_read_leaves_nothing_half_written(tmp_path):
    """From a shell."""
    environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    arguments = ["--config=demo.py", "--config.data.size=2048,2048", f"--workdir={tmp_path / 'w'}"]
    with subprocess.Popen([sys.executable, "-m", "launch.cv", *arguments], cwd=ROOT, env=environment) as process:
        while process.poll() is None and not list(tmp_path.glob("phantom/*/*/.prepared-*")):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 75
    assert list(tmp_path.rglob(".prepared-*")) == []
    assert list(tmp_path.rglob("prepared-*")) == []
