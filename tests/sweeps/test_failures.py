"""A full or read-only disk, a wrong clock, two sweeps at once, other images: one clear error, nothing half written."""

import contextlib
import dataclasses
import errno
import itertools
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.sweeps import plan, sweep
from tests.conftest import squares
from tests.tiny_sweep import CONFIG, files, make, stopped_after

pytestmark = [
    pytest.mark.usefixtures("tiny_programs"),
    # Orbax warns now and then where a save fails; the commands keep it from the user (launch.console.runtime).
    pytest.mark.filterwarnings("ignore:(?s).*Event loop is closed:pytest.PytestUnraisableExceptionWarning"),
]
ROOT = Path(__file__).parents[2]
ONE = dataclasses.replace(CONFIG, models=("sharp_unet",), checkpoint_minutes=0)


@pytest.fixture
def disk(tmp_path):
    """A file system of 4 MB, and a function that changes it, such as to "size=64k" or "ro"."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def remount(options):
        subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True, capture_output=True)

    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield folder, remount
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_stops_a_sweep_and_it_is_resumed_when_there_is_space(disk, tmp_path, dataset):
    """It is full at one place after another: as a state is written, a record, a table."""
    folder, remount = disk
    make(tmp_path / "whole", dataset, ONE)
    full = set()
    for kilobytes in itertools.count(24, 36):
        remount(f"size={kilobytes}k")
        try:
            make(folder / "w", dataset, ONE)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            full.add(kilobytes)
        else:
            break
    assert len(full) > 3
    assert files(folder / "w") == files(tmp_path / "whole")
    assert names(folder / "w") == names(tmp_path / "whole")


def test_a_disk_that_is_full_at_a_line_of_an_epoch_names_the_file(tmp_path, dataset, monkeypatch):
    def full(row):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as `write` raises it, without a path

    monkeypatch.setattr("sharp_unet_jax.sweeps.run.to_json", full)
    with pytest.raises(OSError, match=r"metrics\.jsonl"):
        make(tmp_path / "w", dataset, ONE)


def names(folder):
    """Return the names of all files but locks and those that Orbax draws at random."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return sorted(name for name in found if "checkpoint/" not in name and ".locks/" not in name)


@pytest.mark.slow
def test_the_command_says_in_one_line_that_the_disk_is_full(disk):
    folder, remount = disk
    remount("size=80k")
    environment = os.environ | {"DEVICES": "1", "JAX_PLATFORMS": "cpu"}
    settings = ["--config=demo.py", "--config.data.size=16,24", "--config.models=unet", "--config.checkpoint_minutes=0"]
    command = [sys.executable, "-m", "tests.launch.tiny_cv", *settings, f"--workdir={folder / 'w'}"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: [Errno 28] No space left on device: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("begun", [False, True])
def test_a_workdir_that_cannot_be_written_to_is_named(disk, done, dataset, begun):
    folder, remount = disk
    if begun:
        shutil.copytree(done, folder / "w")
        (folder / "w" / "runs" / "unet" / "repeat0-fold1" / "record.json").unlink()
    before = names(folder)
    remount("ro")
    with pytest.raises(OSError, match=r"Read-only file system: .*disk/w"):
        make(folder / "w", dataset)
    assert names(folder) == before


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, dataset, monkeypatch):
    config = dataclasses.replace(ONE, max_runs=1)
    make(tmp_path / "whole", dataset, config)
    stopped_after(1, tmp_path / "v", dataset, config)
    for path in (tmp_path / "v").rglob("*"):
        os.utime(path, (4e9, 4e9))  # 2096
    backwards = itertools.count(1e9, -3600)
    monkeypatch.setattr(time, "time", lambda: next(backwards))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * next(backwards)))
    make(tmp_path / "v", dataset, config)
    assert files(tmp_path / "v") == files(tmp_path / "whole")


def test_a_second_sweep_in_a_workdir_is_refused_and_changes_nothing(tmp_path, dataset):
    first = sweep.train(CONFIG, dataset, tmp_path / "v", jax.devices()[:1])
    with contextlib.closing(first):
        next(first)
        before = names(tmp_path / "v")
        for shard in ((0, 1), (1, 2)):
            with pytest.raises(InputError, match="a sweep is running there already"):
                next(sweep.train(CONFIG, dataset, tmp_path / "v", jax.devices()[:1], shard=shard))
        assert names(tmp_path / "v") == before


def changed(**parts):
    return dataclasses.replace(squares(), **parts)


@pytest.mark.parametrize(
    ("dataset", "what"),
    [
        (squares(13), r"1 new \(such as 012\)"),
        (squares(10), r"2 gone \(such as 010\)"),
        (changed(groups=("g0",) * 2 + ("g9",) + squares().groups[3:]), r"1 in another group \(such as 002\)"),
        (changed(classes=("background", "polyp")), "classes background, polyp instead of background, square"),
        (squares(seed=1), "the same ids with other pixels"),
    ],
)
def test_a_change_of_the_data_set_is_named(done, dataset, what):
    before = files(done)
    with pytest.raises(InputError, match=f"other images or masks of squares: .*{what}"):
        make(done, dataset)
    assert files(done) == before


def test_folds_drawn_otherwise_are_refused(done, dataset, monkeypatch):
    split = plan.split

    def other(config, dataset):
        cells = split(config, dataset)
        return {place: cells[place[0], 1 - place[1]] for place in cells}

    monkeypatch.setattr(plan, "split", other)
    with pytest.raises(InputError, match="other images in repeat 0, fold 0: another split or another version"):
        make(done, dataset)


def test_files_that_a_killed_process_left_half_written_are_deleted(done, dataset):
    before, expected = files(done), names(done)
    run = done / "runs" / "unet" / "repeat0-fold1"
    (run / "record.json").unlink()
    shutil.move(run / "checkpoint", run / "checkpoint.orbax-checkpoint-tmp")
    (run / "resume").mkdir(exist_ok=True)
    dead = f"part.{platform.node()}.{2**22 + 1}"  # no process has such a number
    left = run / ".per_image.parquet.part.host.123", run / "resume" / ".3.state.part.h.1"
    for path in (done / f".scores.csv.{dead}", *left):
        path.write_bytes(b"PAR1")
    (run.parent / f".repeat0-fold0.{dead}").mkdir()  # a merge left it
    (done / ".gitignore").write_text("*")  # the user's own
    (done / ".notes.2026").write_text("")
    writing = done / f".evaluation-a.part.{platform.node()}.{os.getpid()}"  # launch.evaluate works beside the sweep
    writing.mkdir()
    make(done, dataset)
    assert files(done) == before
    assert names(done) == sorted([*expected, ".gitignore", ".notes.2026", writing.name])


def test_half_a_state_of_a_killed_process_is_deleted_before_the_run_is_resumed(tmp_path, dataset):
    config = dataclasses.replace(ONE, max_runs=1)
    stopped_after(1, tmp_path / "v", dataset, config)
    (resume,) = (tmp_path / "v").glob("runs/*/*/resume")
    (resume / ".2.state.part.host.123").write_bytes(b"half")
    stopped = sweep.train(config, dataset, tmp_path / "v", jax.devices()[:1])
    with contextlib.closing(stopped):
        next(stopped)
        assert [path.name for path in resume.iterdir()] == ["1.state"]
