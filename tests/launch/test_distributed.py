"""Sweeps of several processes on one machine, over loopback: the records of one process, and an end in every case.

What needs no second process is in this one: the sweep they are compared with, and the resuming of what they left.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from launch.console import config as configs
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.sweeps.events import Warned
from tests import tiny_sweep
from tests.conftest import shrink_models, squares
from tests.tiny_sweep import files
from tests.uneven import uneven

ROOT = Path(__file__).parents[2]
SETTINGS = ["--config.repeats=1", "--config.folds=2", "--config.data.size=16,24", "--config.batch_size=4"]
SETTINGS += ["--config.checkpoint_minutes=0", "--config.epochs=3"]
FOUR = ["--config.repeats=2", "--config.models=unet"]  # four runs of one network, which every process compiles once
CROPS = ["--config.data.fit=crop", "--config.augment.rotate=20", "--config.models=sharp_unet"]


def config(*settings):
    """Return the config that processes started with `settings` have."""
    return configs.overridden(configs.load("demo.py"), [*SETTINGS, *settings])


def port():
    """Return a free port."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def start(number, workdir, *arguments, devices=1, environment=()):
    """Start a process of a sweep; `number` is its place in the cluster that the arguments or `environment` describe."""
    environment = os.environ | {"DEVICES": str(devices), "JAX_PLATFORMS": "cpu"} | dict(environment)
    command = [sys.executable, "-m", "tests.launch.tiny_cv", "--config=demo.py", *SETTINGS, f"--workdir={workdir}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *arguments], cwd=ROOT, env=environment, **pipes)


def by_flags(processes, workdir, *arguments, devices=1):
    """Start so many processes that are told of each other by flags."""
    cluster = [f"--coordinator=localhost:{port()}", f"--processes={processes}"]
    return [
        start(number, workdir, *arguments, *cluster, f"--process={number}", devices=devices)
        for number in range(processes)
    ]


def by_open_mpi(processes, workdir, *arguments, faulty=None):
    """Start so many processes with the environment that mpirun sets; the port is a function of the job."""
    job = (port() - (2**16 - 2**12)) % 2**12 * 2**12
    names = {"URI": "OMPI_MCA_orte_hnp_uri"} | {key: f"OMPI_COMM_WORLD_{key}" for key in ("SIZE", "RANK", "LOCAL_RANK")}
    started = []
    for number in range(processes):
        here = {"URI": f"{job}.0;tcp://127.0.0.1:1", "SIZE": processes, "RANK": number, "LOCAL_RANK": number}
        environment = {names[key]: str(value) for key, value in here.items()}
        environment |= {"FAULT": "here"} if number == faulty else {}
        started.append(start(number, workdir, *arguments, "--distributed", environment=environment))
    return started


def end(processes, timeout=300):
    """Wait for the processes; return their exit codes and what they printed."""
    try:
        printed = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], ["".join(both) for both in printed]


def finish(processes):
    """Wait for processes that must end without an error; return what they printed."""
    codes, printed = end(processes)
    assert codes == [0] * len(processes), "\n".join(printed)
    return printed


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The workdir of the sweep FOUR on one device of this process."""
    workdir = tmp_path_factory.mktemp("alone") / "w"
    with pytest.MonkeyPatch.context() as patch:
        shrink_models(patch)
        tiny_sweep.make(workdir, squares(), config(*FOUR))
    return workdir


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_models")
def test_four_processes_leave_the_bytes_of_four_devices_on_crops(tmp_path):
    finish(by_open_mpi(4, tmp_path / "w", *CROPS))
    tiny_sweep.make(tmp_path / "one", uneven(), config(*CROPS), devices=4)
    assert files(tmp_path / "w") == files(tmp_path / "one")


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_groups_of_one_device_leave_the_bytes_of_one_process(tmp_path, alone, processes):
    """A launcher starts them, so they find each other."""
    printed = finish(by_open_mpi(processes, tmp_path / "w", *FOUR))
    assert files(tmp_path / "w") == files(alone)
    for path in (tmp_path / "w").glob("runs/*/*/record.json"):
        weights = checkpoint.digest(checkpoint.load(path.parent / "checkpoint"))
        assert weights == json.loads(path.read_text())["weights_sha256"]
    assert ["Protocol: paper" in text for text in printed] == [True] + [False] * (processes - 1)  # the table


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "devices", "per_run"), [(2, 2, 4), (4, 1, 2)])
def test_a_group_may_have_devices_of_several_processes(tmp_path, alone, processes, devices, per_run):
    finish(by_flags(processes, tmp_path / "w", *FOUR, f"--config.devices_per_run={per_run}", devices=devices))
    ours, theirs = (pd.read_csv(folder / "scores.csv") for folder in (tmp_path / "w", alone))
    assert list(ours["model"]) == list(theirs["model"])
    assert ours["jaccard"].to_numpy() == pytest.approx(theirs["jaccard"].to_numpy(), abs=0.02)
    names = {path.name for path in (tmp_path / "w").glob("runs/*/*/*")}
    assert names == {path.name for path in alone.glob("runs/*/*/*")}


@pytest.mark.slow  # tests/sweeps/test_sweep.py compares them in one process
@pytest.mark.parametrize("crops", [[], CROPS])
def test_a_group_of_several_processes_reads_as_it_goes_what_it_would_hold(tmp_path, crops):
    shared = ["--config.epochs=2", "--config.devices_per_run=2", "--config.models=sharp_unet", "--config.max_runs=1"]
    shared += crops
    for name, gigabytes in (("resident", 4.0), ("streamed", 0.0)):
        finish(by_flags(2, tmp_path / name, *shared, f"--config.data.resident_gb={gigabytes}"))
    ours, theirs = files(tmp_path / "streamed"), files(tmp_path / "resident")
    assert len(ours) == 8
    assert {name for name in theirs if ours[name] != theirs[name]} == {"config.json"}


@pytest.mark.slow  # tests/sweeps/test_sweep.py has both sides of it, one after the other
def test_processes_that_were_started_otherwise_are_refused(tmp_path):
    shared = ["--config.epochs=1", "--config.devices_per_run=2", "--config.models=unet"]
    cluster = [f"--coordinator=localhost:{port()}", "--processes=2"]
    processes = [
        start(
            number, tmp_path / str(number), *shared, *cluster, f"--process={number}", f"--config.learning_rate={rate}"
        )
        for number, rate in enumerate(("0.001", "0.1"))
    ]
    codes, printed = end(processes)
    assert codes == [1, 1], "\n".join(printed)
    assert "not started alike: another process has another config" in printed[0]
    assert "not started alike: learning_rate=0.1 here, 0.001 in process 0" in printed[1]
    assert not list(tmp_path.glob("*/config.json"))  # it would refuse the right command


def wait_for_epochs(workdir, number, deadline=200):
    """Wait until so many epochs of the first run have ended."""
    lines, deadline = workdir / "runs" / "unet" / "repeat0-fold0" / "metrics.jsonl", time.monotonic() + deadline
    while not (lines.exists() and lines.read_text().count("\n") >= number):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("tiny_models")
def test_a_sweep_whose_process_was_killed_is_resumed_to_the_same_bytes(tmp_path, alone):
    process = start(0, tmp_path / "w", *FOUR)
    wait_for_epochs(tmp_path / "w", 1)
    process.send_signal(signal.SIGKILL)
    assert end([process])[0] == [-signal.SIGKILL]
    tiny_sweep.make(tmp_path / "w", squares(), config(*FOUR))
    assert files(tmp_path / "w") == files(alone)


LONG = ["--config.epochs=2000", "--config.patience=2000", "--config.models=unet"]


def terminate(several, workdir, epochs):
    """Send SIGTERM to the second process after so many epochs of the first; return exit codes and prints."""
    try:
        wait_for_epochs(workdir, epochs)
        several[1].send_signal(signal.SIGTERM)
        return end(several, timeout=60)
    finally:
        for process in several:
            process.kill()


@pytest.mark.slow  # the next test has it with a process that has nothing to save
def test_sigterm_to_one_process_stops_all(tmp_path):
    """Each has a group of its own, so that no training step of one waits for the other."""
    codes, printed = terminate(by_flags(2, tmp_path / "w", *LONG), tmp_path / "w", 1)
    assert codes == [75, 75], printed
    assert all("what was done is saved" in text for text in printed)
    assert len(list((tmp_path / "w").glob("runs/unet/*/resume/*"))) >= 2


@pytest.mark.slow
def test_sigterm_to_a_process_without_work_stops_the_others(tmp_path):
    several = by_flags(2, tmp_path / "w", *LONG, "--config.max_runs=1")
    codes, printed = terminate(several, tmp_path / "w", 20)  # the second has had time to come to its end
    assert codes[0] == 75, printed
    assert "what was done is saved" in printed[0]
    assert len(list((tmp_path / "w").glob("runs/unet/*/resume/*.state"))) >= 1


@pytest.mark.slow
def test_a_fault_of_one_process_ends_all(tmp_path):
    codes, printed = end(by_open_mpi(2, tmp_path / "w", faulty=1), timeout=60)
    assert codes[1] == 1
    assert codes[0] not in (0, 75)
    assert "ZeroDivisionError" in printed[1]
    assert "another one of the sweep failed or was killed" in printed[0].splitlines()[-1]


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("per_run", [1, 2])
@pytest.mark.slow
def test_the_others_end_when_one_is_killed_and_the_sweep_is_resumed(tmp_path, per_run):
    """In a group of their own they miss its heartbeat; in one group with it the sums over devices fail at once."""
    settings = "--config.epochs=6", "--config.models=unet", f"--config.devices_per_run={per_run}"
    one, other = by_flags(2, tmp_path / "w", *settings)
    try:
        wait_for_epochs(tmp_path / "w", 3)
        other.send_signal(signal.SIGKILL)
        (code, _), (printed, _) = end([one, other], timeout=120)
    finally:
        one.kill()
    assert code not in (0, 75)
    last = printed.splitlines()[-1]
    assert re.search("another (process|one) of the sweep failed or was killed", last), f"exit code {code}: {printed}"
    events = tiny_sweep.make(tmp_path / "w", squares(), config(*settings), devices=2)
    assert not [event for event in events if isinstance(event, Warned)]  # no state is damaged
    assert len(pd.read_csv(tmp_path / "w" / "scores.csv")) == 2


@pytest.mark.slow
def test_several_processes_resume_what_others_left(tmp_path):
    settings = ["--config.models=unet", "--config.devices_per_run=2"]
    several = by_flags(2, tmp_path / "w", "--config.epochs=6", *settings)
    try:
        wait_for_epochs(tmp_path / "w", 3)
    finally:
        for process in several:
            process.kill()
        end(several)
    printed = finish(by_flags(2, tmp_path / "w", "--config.epochs=6", *settings))
    assert "is damaged" not in "".join(printed)
    assert len(pd.read_csv(tmp_path / "w" / "scores.csv")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("per_run", [1, 2])
def test_several_processes_train_on_what_was_capped(tmp_path, per_run):
    """All decide alike which runs go on, also if the states are in one workdir and others have led the runs."""
    settings = ["--config.models=unet", f"--config.devices_per_run={per_run}"]
    for epochs in (1, 3):
        printed = finish(by_flags(2, tmp_path / "w", *settings, f"--config.epochs={epochs}"))
        assert "trained again from its start" not in "".join(printed)
    finish(by_flags(2, tmp_path / "whole", *settings, "--config.epochs=3"))
    assert files(tmp_path / "w") == files(tmp_path / "whole")
