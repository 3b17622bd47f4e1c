"""Saved weights and states: whole, signed, and each process its own."""

import jax
import numpy as np
import pytest

from sharp_unet_jax.storage import checkpoint


def test_a_state_is_signed_with_its_notes(tmp_path):
    arrays, warnings = {"a": np.arange(3), "b": [np.ones(())]}, []
    with checkpoint.snapshots(tmp_path) as manager:
        checkpoint.snap(manager, 7, arrays, {"loss": [0.25, float("nan")]})
        manager.wait_until_finished()
    (notes,) = tmp_path.glob("7/notes/metadata")
    for text, whole in ((notes.read_text(), True), (notes.read_text().replace("0.25", "0.26"), False)):
        notes.write_text(text)
        with checkpoint.snapshots(tmp_path) as manager:
            found = checkpoint.last_snap(manager, warnings.append)
        assert (found is not None) == whole
        if found:
            jax.tree.map(np.testing.assert_array_equal, checkpoint.unpack(found[0], arrays), arrays)
            assert str(found[1]) == "{'loss': [0.25, nan]}"
    assert len(warnings) == 1


def test_of_several_processes_each_saves_whole_weights_and_states(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 3)
    monkeypatch.setattr(checkpoint.type_handlers, "multihost", checkpoint.type_handlers.multihost)
    arrays = {"a": np.arange(3), "b": {"c": np.ones(())}}
    checkpoint.save(tmp_path / "weights", arrays)
    jax.tree.map(np.testing.assert_array_equal, checkpoint.load(tmp_path / "weights"), arrays)
    (tmp_path / "resume" / "7.orbax-checkpoint-tmp").mkdir(parents=True)  # of a process that was killed
    with checkpoint.snapshots(tmp_path / "resume") as manager:
        checkpoint.snap(manager, 7, arrays, {"loss": 1})
    with checkpoint.snapshots(tmp_path / "resume") as manager:
        state, notes = checkpoint.last_snap(manager, pytest.fail)
    jax.tree.map(np.testing.assert_array_equal, checkpoint.unpack(state, arrays), arrays)
    assert notes == {"loss": 1}
