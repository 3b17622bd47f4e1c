"""Sweeps of several processes on one machine, over loopback: the records of one process, and an end in every case."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import pandas as pd
import pytest

from sharp_unet_jax.storage import checkpoint
from tests.tiny_sweep import files

ROOT = Path(__file__).parents[2]
CONFIG = ["--config=demo.py", "--config.repeats=1", "--config.folds=2", "--config.data.size=16,24"]
CONFIG += ["--config.batch_size=4", "--config.checkpoint_minutes=0"]


def start(processes, devices, workdir, *arguments, by=None):
    """So many processes of a sweep, each with so many devices; they are told of each other by flags, or by `by`."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
    environment["JAX_COMPILATION_CACHE_DIR"] = jax.config.jax_compilation_cache_dir
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    command = [sys.executable, "-m", "tests.launch.tiny_cv", *CONFIG, f"--workdir={workdir}", *arguments]

    def flags(number):
        return [f"--coordinator=localhost:{port}", f"--processes={processes}", f"--process={number}"]

    return [
        subprocess.Popen(
            command + (["--distributed"] if by else flags(number) if processes > 1 else []),
            cwd=ROOT,
            env=environment | (by(port, processes, number) if by else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]


def end(processes, timeout=300):
    """Their exit codes, and what they printed."""
    try:
        printed = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], ["".join(both) for both in printed]


def make(processes, devices, workdir, *arguments, by=None):
    codes, printed = end(start(processes, devices, workdir, *arguments, by=by))
    assert codes == [0] * processes, "\n".join(printed)
    return printed


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process with one device leaves."""
    workdir = tmp_path_factory.mktemp("alone") / "w"
    make(1, 1, workdir, "--config.epochs=3")
    return workdir


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_groups_of_one_device_leave_the_bytes_of_one_process(tmp_path, alone, processes):
    printed = make(processes, 1, tmp_path / "w", "--config.epochs=3")
    assert files(tmp_path / "w") == files(alone)
    for path in (tmp_path / "w").glob("runs/*/*/record.json"):
        weights = checkpoint.digest(checkpoint.load(path.parent / "checkpoint"))
        assert weights == json.loads(path.read_text())["weights_sha256"]
    assert ["Protocol: paper" in text for text in printed] == [True] + [False] * (processes - 1)  # the table


@pytest.mark.parametrize(
    ("processes", "devices", "per_run"), [(2, 2, 4), pytest.param(4, 1, 2, marks=pytest.mark.slow)]
)
def test_a_group_may_have_devices_of_several_processes(tmp_path, alone, processes, devices, per_run):
    make(processes, devices, tmp_path / "w", "--config.epochs=3", f"--config.devices_per_run={per_run}")
    ours, theirs = (pd.read_csv(folder / "scores.csv") for folder in (tmp_path / "w", alone))
    assert list(ours["model"]) == list(theirs["model"])
    assert ours["jaccard"].to_numpy() == pytest.approx(theirs["jaccard"].to_numpy(), abs=0.02)
    names = {path.name for path in (tmp_path / "w").glob("runs/*/*/*")}
    assert names == {path.name for path in alone.glob("runs/*/*/*")}


@pytest.mark.slow  # of one process tests/sweeps/test_sweep.py has it
def test_a_group_of_several_processes_reads_as_it_goes_what_it_would_hold(tmp_path):
    shared = ["--config.epochs=2", "--config.devices_per_run=2", "--config.models=sharp_unet", "--config.max_runs=1"]
    for name, gigabytes in (("resident", 4.0), ("streamed", 0.0)):
        make(2, 1, tmp_path / name, *shared, f"--config.data.resident_gb={gigabytes}")
    ours, theirs = files(tmp_path / "streamed"), files(tmp_path / "resident")
    assert len(ours) == 8
    assert {name for name in theirs if ours[name] != theirs[name]} == {"config.json"}


def test_processes_that_were_started_otherwise_are_refused(tmp_path):
    """With workdirs of their own nothing else would tell: one network trained at two learning rates."""
    shared = ["--config.epochs=1", "--config.devices_per_run=2", "--config.models=unet"]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = []
    for number, rate in enumerate(("0.001", "0.1")):
        cluster = [f"--coordinator={address}", "--processes=2", f"--process={number}"]
        processes += start(1, 1, tmp_path / str(number), *shared, *cluster, f"--config.learning_rate={rate}")
    codes, printed = end(processes)
    assert codes == [1, 1], "\n".join(printed)
    assert "not started alike: another process has another config" in printed[0]
    assert "not started alike: learning_rate=0.1 here, 0.001 in process 0" in printed[1]
    assert not list(tmp_path.glob("*/config.json"))  # it would refuse the right command


def open_mpi(port, processes, number):
    """What mpirun sets; the port is a function of the job."""
    job = (port - (2**16 - 2**12)) % 2**12 * 2**12
    here = {"URI": f"{job}.0;tcp://127.0.0.1:1", "SIZE": processes, "RANK": number, "LOCAL_RANK": number}
    names = {"URI": "OMPI_MCA_orte_hnp_uri"} | {key: f"OMPI_COMM_WORLD_{key}" for key in ("SIZE", "RANK", "LOCAL_RANK")}
    return {names[key]: str(value) for key, value in here.items()}


def test_processes_that_a_launcher_started_find_each_other(tmp_path, alone):
    make(2, 1, tmp_path / "w", "--config.epochs=3", by=open_mpi)
    assert files(tmp_path / "w") == files(alone)


def epochs_begun(workdir, number, deadline=200):
    """Waits until so many epochs of the first run have ended."""
    lines, deadline = workdir / "runs" / "unet" / "repeat0-fold0" / "metrics.jsonl", time.monotonic() + deadline
    while not (lines.exists() and lines.read_text().count("\n") >= number):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_process_goes_on_to_the_same_bytes(tmp_path, alone):
    (process,) = start(1, 1, tmp_path / "w", "--config.epochs=3")
    epochs_begun(tmp_path / "w", 1)
    process.send_signal(signal.SIGKILL)
    assert end([process])[0] == [-signal.SIGKILL]
    make(1, 1, tmp_path / "w", "--config.epochs=3")
    assert files(tmp_path / "w") == files(alone)


def test_sigterm_to_one_process_stops_all(tmp_path):
    """Each has a group of its own, so that no training step of one waits for the other."""
    several = start(2, 1, tmp_path / "w", "--config.epochs=2000", "--config.patience=2000", "--config.models=unet")
    try:
        epochs_begun(tmp_path / "w", 1)
        several[1].send_signal(signal.SIGTERM)
        codes, printed = end(several, timeout=60)
    finally:
        for process in several:
            process.kill()
    assert codes == [75, 75], printed
    assert all("what was done is saved" in text for text in printed)
    assert len(list((tmp_path / "w").glob("runs/unet/*/resume/*"))) >= 2


def test_sigterm_to_a_process_without_work_stops_the_others(tmp_path):
    arguments = ["--config.epochs=2000", "--config.patience=2000", "--config.models=unet", "--config.max_runs=1"]
    several = start(2, 1, tmp_path / "w", *arguments)
    try:
        epochs_begun(tmp_path / "w", 20)  # the other has had time to come to its end
        several[1].send_signal(signal.SIGTERM)
        codes, printed = end(several, timeout=60)
    finally:
        for process in several:
            process.kill()
    assert codes[0] == 75, printed
    assert "what was done is saved" in printed[0]


@pytest.mark.slow
def test_a_fault_of_one_process_ends_all(tmp_path):
    def by(port, processes, number):
        return open_mpi(port, processes, number) | ({"FAULT": "here"} if number == 1 else {})

    codes, printed = end(start(2, 1, tmp_path / "w", by=by), timeout=60)
    assert codes[1] == 1
    assert codes[0] not in (0, 75)
    assert "ZeroDivisionError" in printed[1]
    assert "another one of the sweep failed or was killed" in printed[0].splitlines()[-1]


@pytest.mark.parametrize("per_run", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_others_end_when_one_is_killed_and_a_restart_completes(tmp_path, per_run):
    """In a group of their own they miss its heartbeat, in one with it the sums over devices fail at once."""
    arguments = "--config.epochs=6", "--config.models=unet", f"--config.devices_per_run={per_run}"
    one, other = start(2, 1, tmp_path / "w", *arguments)
    try:
        epochs_begun(tmp_path / "w", 3)
        other.send_signal(signal.SIGKILL)
        (code, _), (printed, _) = end([one, other], timeout=120)
    finally:
        one.kill()
    assert code not in (0, 75)
    last = printed.splitlines()[-1]
    assert re.search("another (process|one) of the sweep failed or was killed", last), f"exit code {code}: {printed}"
    assert "is damaged" not in "".join(make(2, 1, tmp_path / "w", *arguments))
    assert len(pd.read_csv(tmp_path / "w" / "scores.csv")) == 2
