"""Saved states: the last two of them, signed, and a damaged one is named."""

import errno
import os
from pathlib import Path

import jax
import numpy as np
import pytest

from sharp_unet_jax.storage import resume

ARRAYS = {"a": np.arange(300.0).reshape(3, 100).T, "b": [np.int32(5), np.ones(())]}


@pytest.fixture
def states(tmp_path):
    """A folder of three states that were saved one after another."""
    for epoch in (9, 10, 11):
        resume.save(tmp_path, epoch, ARRAYS, {"epoch": epoch, "loss": [0.1, float("nan")]})
    return tmp_path


def last(folder, warn=pytest.fail):
    return resume.unpack(resume.load(folder, warn), ARRAYS)


def test_the_last_two_states_are_kept_and_the_newest_comes_back(states):
    assert sorted(path.name for path in states.iterdir()) == ["10.state", "11.state"]
    arrays, notes = last(states)
    jax.tree.map(np.testing.assert_array_equal, arrays, ARRAYS)
    assert str(notes) == "{'epoch': 11, 'loss': [0.1, nan]}"


def test_files_with_other_names_are_no_states(states):
    (states / "._11.state").write_bytes(b"macOS leaves these beside files on a foreign disk")
    assert last(states)[1]["epoch"] == 11


def test_no_state_is_nothing(tmp_path):
    assert resume.load(tmp_path / "none", pytest.fail) == b""


@pytest.mark.parametrize("at", [0, 70, 90, -1], ids=["digest", "notes", "first array", "last byte"])
def test_a_flipped_bit_is_found_wherever_it_is(states, at):
    newest, warnings = states / "11.state", []
    data = bytearray(newest.read_bytes())
    data[at] ^= 1
    newest.write_bytes(data)
    assert last(states, warnings.append)[1]["epoch"] == 10
    assert warnings == [
        f"{states}: the state after epoch 11 is damaged (its bytes have changed), taking the one before"
    ]
    assert not newest.exists()


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[: len(data) // 2]], ids=["emptied", "truncated"]
)
def test_without_an_undamaged_state_there_is_nothing(states, damage):
    warnings = []
    for path in states.iterdir():
        path.write_bytes(damage(path.read_bytes()))
    assert resume.load(states, warnings.append) == b""
    assert [text.rpartition(", ")[2] for text in warnings] == ["taking the one before", "starting again"]


def test_a_deleted_state_is_the_one_before(states):
    (states / "11.state").unlink()
    assert last(states)[1]["epoch"] == 10


def test_a_pipe_in_the_place_of_a_state_is_not_waited_for(states):
    newest = max(states.glob("*.state"), key=lambda path: int(path.stem))
    newest.unlink()
    os.mkfifo(newest)
    said = []
    assert resume.load(states, said.append)
    assert "is damaged" in said[0]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_a_state_that_cannot_be_read_now_is_kept(states, monkeypatch, error):
    def fail(_):
        raise error

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(type(error)):
        resume.load(states, pytest.fail)
    monkeypatch.undo()
    assert last(states)[1]["epoch"] == 11


def test_arrays_of_another_size_are_refused(states):
    for shape in ((301,), (299,)):
        with pytest.raises(ValueError, match=r"reshape|dtype|size"):
            resume.unpack(resume.load(states, pytest.fail), ARRAYS | {"a": np.zeros(shape)})
