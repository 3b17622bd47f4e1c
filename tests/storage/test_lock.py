"""Processes that may work in a workdir at the same time. A dead process holds no lock."""

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.storage import lock


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        ((0, 1), (0, 1), False),
        ((0, 1), (1, 2), False),
        ((1, 2), (0, 1), False),
        ((0, 2), (0, 2), False),
        ((0, 2), (1, 2), True),
        ((0, 2), (1, 3), False),
        ((1, 2), (1, 12), False),
    ],
)
def test_shards_of_one_division_work_side_by_side(tmp_path, first, second, allowed):
    expected = contextlib.nullcontext() if allowed else pytest.raises(InputError, match="is running there already")
    with lock.held(tmp_path, first), expected, lock.held(tmp_path, second):
        pass
    with lock.held(tmp_path, second):
        pass


def test_a_shard_knows_whether_it_is_alone(tmp_path):
    for _ in range(2):
        with lock.held(tmp_path, (0, 2)) as alone, lock.held(tmp_path, (1, 2)) as second:
            assert (alone, second) == (True, False)


def test_a_run_is_trained_by_one_process(tmp_path):
    refused = pytest.raises(InputError, match="unet/repeat0-fold0 is being trained by another process: give all shards")
    with lock.held(tmp_path, (0, 2)), lock.making(tmp_path, "unet/repeat0-fold0"):
        with lock.making(tmp_path, "unet/repeat0-fold1"), refused, lock.making(tmp_path, "unet/repeat0-fold0"):
            pass
        with lock.held(tmp_path, (1, 2)):
            pass
    with lock.held(tmp_path, (1, 3)), lock.making(tmp_path, "unet/repeat0-fold0"):
        pass


def test_a_shard_may_begin_and_end_while_another_writes_the_common_files(tmp_path):
    with lock.held(tmp_path, (0, 2)), lock.brief(tmp_path), lock.held(tmp_path, (1, 2)):
        pass


HOLD = """
import sys, time
from pathlib import Path
from sharp_unet_jax.storage import lock
with lock.held(Path(sys.argv[1]), (0, 1)):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_holds_no_lock(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError), lock.held(tmp_path, (0, 1)):
            pass
        process.send_signal(signal.SIGKILL)
    with lock.held(tmp_path, (0, 1)):
        pass


def test_a_look_takes_no_lock_of_its_own(tmp_path):
    """Another shard that begins in this moment would take it for one that runs."""
    with lock.held(tmp_path, (0, 2)):
        lock.check(tmp_path, (1, 2))
        with pytest.raises(InputError, match="is running there already"):
            lock.check(tmp_path, (0, 2))
    assert {path.name for path in (tmp_path / ".locks").iterdir()} == {"entered", "0-of-2"}


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_a_disk_without_locks_is_named(tmp_path, monkeypatch, code):
    def refused(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refused)
    for locked in (lock.held(tmp_path, (0, 1)), lock.brief(tmp_path), lock.making(tmp_path, "unet/repeat0-fold0")):
        with (
            pytest.raises(InputError, match=r"files cannot be locked there \(.*\); name a --workdir on another"),
            locked,
        ):
            pass


def test_common_files_that_others_write_for_long_are_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "WAIT", 0.1)
    kept = pytest.raises(InputError, match=r"what was trained is kept: give the command again")
    with lock.brief(tmp_path), kept, lock.brief(tmp_path):
        pass
