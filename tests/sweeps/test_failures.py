"""What befalls a sweep from outside: one clear error, nothing half written, and the same bytes once it is mended."""

import contextlib
import dataclasses
import errno
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pandas as pd
import pytest

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import checkpoint
from sharp_unet_jax.storage.layout import Run
from sharp_unet_jax.sweeps import plan, sweep
from sharp_unet_jax.training import train
from tests.conftest import squares
from tests.tiny_sweep import CONFIG, files, make, stopped_after

pytestmark = [
    pytest.mark.usefixtures("tiny_models"),
    # Orbax's own, now and then, where a save fails; the commands keep it from the user (launch.runtime).
    pytest.mark.filterwarnings("ignore:(?s).*Event loop is closed:pytest.PytestUnraisableExceptionWarning"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def disk(tmp_path):
    """A file system of its own of 4 MB, and a function that changes it, such as to "size=64k" or "ro"."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def remount(options):
        subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True, capture_output=True)

    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield folder, remount
    subprocess.run(["umount", "--lazy", folder], check=True)


def used(folder):
    return sum(path.lstat().st_blocks for path in folder.rglob("*")) // 2


def test_a_full_disk_stops_a_sweep_and_it_goes_on_when_there_is_space(disk, done, dataset):
    """It is full at one place after another: as a state is written, a record, a table."""
    folder, remount = disk
    config, full = dataclasses.replace(CONFIG, checkpoint_minutes=0), 0
    for kilobytes in itertools.count(24, 40):
        remount(f"size={kilobytes}k")
        try:
            make(folder / "w", dataset, config)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            full += 1
        else:
            break
    assert full > 3
    same = {name for name in files(done) if name != "config.json"}
    ours, theirs = files(folder / "w"), files(done)
    assert {name for name in theirs if ours[name] == theirs[name]} == same
    assert names(folder / "w") == names(done)


def names(folder):
    """Of all files but those that Orbax draws, and the locks."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return sorted(name for name in found if "checkpoint/" not in name and ".locks/" not in name)


def command(*arguments):
    environment = os.environ | {"DEVICES": "1", "JAX_PLATFORMS": "cpu"}
    environment["JAX_COMPILATION_CACHE_DIR"] = jax.config.jax_compilation_cache_dir
    return subprocess.run(
        [sys.executable, "-m", "tests.launch.tiny_cv", "--config=demo.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_the_command_says_in_one_line_that_the_disk_is_full(disk):
    folder, remount = disk
    remount("size=80k")
    ended = command(f"--workdir={folder / 'w'}", "--config.data.size=16,24", "--config.checkpoint_minutes=0")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: [Errno 28] No space left on device: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("begun", [False, True])
def test_a_workdir_that_cannot_be_written_to_is_named(disk, dataset, begun):
    folder, remount = disk
    if begun:
        stopped_after(3, folder / "w", dataset)
    before = names(folder)
    remount("ro")
    with pytest.raises(OSError, match=r"Read-only file system: .*disk/w"):
        make(folder / "w", dataset)
    assert names(folder) == before


def test_a_clock_that_goes_backwards_changes_nothing(done, tmp_path, dataset, monkeypatch):
    stopped_after(3, tmp_path / "v", dataset)
    for path in (tmp_path / "v").rglob("*"):
        os.utime(path, (4e9, 4e9))  # 2096
    backwards = itertools.count(1e9, -3600)
    monkeypatch.setattr(time, "time", lambda: next(backwards))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * next(backwards)))
    make(tmp_path / "v", dataset)
    assert files(tmp_path / "v") == files(done)


def test_a_second_sweep_in_a_workdir_is_refused_and_changes_nothing(tmp_path, dataset, monkeypatch):
    first = sweep.go(CONFIG, dataset, tmp_path / "v", jax.devices()[:1])
    with contextlib.closing(first):
        next(first)
        before = names(tmp_path / "v")
        for shard in ((0, 1), (1, 2)):
            with pytest.raises(InputError, match="a sweep is running there already"):
                next(sweep.go(CONFIG, dataset, tmp_path / "v", jax.devices()[:1], shard=shard))
        assert names(tmp_path / "v") == before


def test_one_run_that_diverges_is_recorded_left_out_and_made_again(done, tmp_path, dataset, monkeypatch):
    fit = train.fit
    unlucky = Run(0, 1, "unet")
    begun = []

    def diverges(program, split, config, *, binary, seed, start=None):
        begun.append(seed)
        epochs = fit(program, split, config, binary=binary, seed=seed, start=start)
        if begun.count(seed) == 1 and seed == plan.seed(config, unlucky):  # its twin has the same
            yield next(epochs)
            raise train.DivergedError(2, "the training loss")
        return (yield from epochs)

    monkeypatch.setattr(train, "fit", diverges)
    ends = [event for event in make(tmp_path / "v", dataset) if isinstance(event, sweep.Ended)]
    assert {event.run: event.record["status"] for event in ends} == {
        run: "failed" if run == unlucky else "finished" for run in plan.runs(CONFIG)
    }
    assert len(pd.read_csv(tmp_path / "v" / "scores.csv")) == 3
    assert [event.run for event in make(tmp_path / "v", dataset) if isinstance(event, sweep.Started)] == [unlucky]
    assert files(tmp_path / "v") == files(done)


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
def test_what_changed_in_the_data_set_is_named(done, dataset, what):
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
    with pytest.raises(InputError, match="other images in repeat 0, fold 0: another version drew them"):
        make(done, dataset)


def test_what_a_killed_process_left_half_written_is_deleted(done, dataset):
    before, expected = files(done), names(done)
    run = done / "runs" / "unet" / "repeat0-fold1"
    (run / "record.json").unlink()
    shutil.move(run / "checkpoint", run / "checkpoint.orbax-checkpoint-tmp")
    for path in (done / ".scores.csv.a.host.123", run / ".per_image.parquet.host.123"):
        path.write_bytes(b"PAR1")
    (run.parent / ".repeat0-fold0.host.123").mkdir()  # of a merge
    (done / ".gitignore").write_text("*")  # the user's own
    make(done, dataset)
    assert files(done) == before
    assert names(done) == sorted([*expected, ".gitignore"])


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """A run's last two states on disk, and what the newer holds."""
    folder = tmp_path_factory.mktemp("state") / "resume"
    with checkpoint.snapshots(folder) as manager:
        for epoch in (1, 2):
            arrays = {"a": np.arange(300.0) * epoch, "b": [np.ones((), np.int32)]}
            checkpoint.snap(manager, epoch, arrays, {"epoch": epoch})
    with checkpoint.snapshots(folder) as manager:
        return folder, checkpoint.last_snap(manager, pytest.fail)


PARTS = ("_CHECKPOINT_METADATA", "notes/metadata", "state/_METADATA", "state/manifest.ocdbt", "state/d/*")


@pytest.mark.parametrize("part", [*PARTS, "state/ocdbt.process_0/manifest.ocdbt", "state/ocdbt.process_0/d/*"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: bytes([*data[: len(data) // 2], data[len(data) // 2] ^ 16, *data[len(data) // 2 + 1 :]]),
        None,
    ],
    ids=["emptied", "truncated", "bit flipped", "deleted"],
)
def test_whatever_is_damaged_in_a_state_the_run_goes_on_from_a_whole_one(state, tmp_path, part, damage):
    folder, newest = state
    shutil.copytree(folder, tmp_path / "resume")
    for path in (tmp_path / "resume" / "2").glob(part):
        path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    warnings = []
    with checkpoint.snapshots(tmp_path / "resume") as manager:
        found = checkpoint.last_snap(manager, warnings.append)
    if warnings:
        assert found[1] == {"epoch": 1}
        assert "the state after epoch 2 is damaged" in warnings[0]
    else:  # what is not needed to read it
        assert found == newest


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), ValueError("[os_error_code='5']"), MemoryError()]
)
def test_a_state_that_cannot_be_read_now_is_kept(state, tmp_path, monkeypatch, error):
    folder, newest = state
    shutil.copytree(folder, tmp_path / "resume")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(ocp.CheckpointManager, "restore", fail)
    with pytest.raises((OSError, MemoryError)), checkpoint.snapshots(tmp_path / "resume") as manager:
        checkpoint.last_snap(manager, pytest.fail)
    monkeypatch.undo()
    with checkpoint.snapshots(tmp_path / "resume") as manager:
        assert checkpoint.last_snap(manager, pytest.fail) == newest
