"""Saved weights: whole, in every process, or an error of the system."""

import errno

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from sharp_unet_jax.storage import checkpoint

TREE = {"params": {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": {"0": np.ones(())}}, "n": np.arange(3)}


def test_weights_come_back_and_the_last_ones_count(tmp_path):
    checkpoint.save(tmp_path / "c", {"a": np.zeros(2)})
    (tmp_path / "c.orbax-checkpoint-tmp").mkdir()  # a process that was killed left it
    checkpoint.save(tmp_path / "c", jax.tree.map(jax.numpy.asarray, TREE))
    jax.tree.map(np.testing.assert_array_equal, checkpoint.load(tmp_path / "c"), TREE)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_orbax_reads_the_weights_by_itself(tmp_path):
    checkpoint.save(tmp_path / "c", TREE)
    with ocp.StandardCheckpointer() as checkpointer:
        jax.tree.map(np.testing.assert_array_equal, checkpointer.restore(tmp_path / "c"), TREE)


def test_every_process_saves_whole_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 3)
    checkpoint.save(tmp_path / "c", TREE)
    jax.tree.map(np.testing.assert_array_equal, checkpoint.load(tmp_path / "c"), TREE)


def test_orbax_alone_saves_no_arrays_in_a_process_other_than_0(tmp_path, monkeypatch):
    """The reason for `checkpoint._NumpyHandler`: it may go when this test fails."""
    monkeypatch.setattr(jax, "process_index", lambda: 3)
    monkeypatch.setattr(checkpoint, "_NumpyHandler", ocp.type_handlers.NumpyHandler)
    checkpoint.save(tmp_path / "c", TREE)
    with pytest.raises((ValueError, FileNotFoundError), match=r"NOT_FOUND|not found"):
        checkpoint.load(tmp_path / "c")


def test_an_error_of_the_disk_is_one_of_the_system(tmp_path, monkeypatch):
    def full(*_, **__):
        raise ValueError("Error writing: No space left on device [os_error_code='28']")

    monkeypatch.setattr(ocp.Checkpointer, "save", full)
    with pytest.raises(OSError, match="No space left") as error:
        checkpoint.save(tmp_path / "c", TREE)
    assert error.value.errno == errno.ENOSPC
    assert error.value.filename == str(tmp_path / "c")


def test_the_digest_depends_on_dtype_shape_and_bytes():
    digests = [checkpoint.digest({"a": array}) for array in (
        np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32), np.zeros((2, 3), np.int32), np.ones((2, 3), "f4"),
    )]  # fmt: skip
    assert len(set(digests)) == 4
    assert digests[0] == checkpoint.digest({"b": jax.numpy.zeros((2, 3))})
