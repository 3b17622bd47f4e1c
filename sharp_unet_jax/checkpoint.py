"""Weights on disk, as pure trees of arrays, and the states that a run goes on from. Nothing else knows Orbax."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp


def save(path: Path, tree: Any) -> None:
    """Writes a tree of arrays to the folder `path`, replacing what is there; it is whole or not there at all."""
    shutil.rmtree(path, ignore_errors=True)  # an earlier run that was cut off
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), jax.device_get(tree))


def load(path: Path) -> Any:
    """The tree that `save` wrote, as NumPy arrays."""
    with ocp.StandardCheckpointer() as checkpointer:
        abstract = checkpointer.metadata(path.absolute()).item_metadata.tree
        return checkpointer.restore(path.absolute(), jax.tree.map(_as_numpy, abstract))


def digest(tree: Any) -> str:
    """SHA-256 of every array's type, shape and bytes, in the order of the tree."""
    whole = hashlib.sha256()
    for leaf in jax.tree.leaves(jax.device_get(tree)):
        array = np.ascontiguousarray(leaf)
        whole.update(f"{array.dtype}{array.shape}".encode())
        whole.update(array.data)
    return whole.hexdigest()


def snapshots(path: Path) -> ocp.CheckpointManager:
    """The folder `path` of a run's last two states; close it when done."""
    options = ocp.CheckpointManagerOptions(max_to_keep=2, cleanup_tmp_directories=True)
    return ocp.CheckpointManager(path.absolute(), options=options)


def snap(manager: ocp.CheckpointManager, epoch: int, arrays: Any, notes: dict[str, Any]) -> None:
    """Saves a tree of arrays, and what JSON can hold, as they are now; the writing goes on in the background."""
    leaves = {f"{number:05}": np.array(leaf) for number, leaf in enumerate(jax.tree.leaves(jax.device_get(arrays)))}
    signed = {"notes": notes, "sha256": _sign(leaves, notes)}
    manager.save(epoch, args=ocp.args.Composite(arrays=ocp.args.StandardSave(leaves), notes=ocp.args.JsonSave(signed)))


def last_snap(
    manager: ocp.CheckpointManager, structure: Any, warn: Callable[[str], None]
) -> tuple[Any, dict[str, Any]] | None:
    """The newest state that is whole, as a tree of `structure` and its notes; None if there is none.

    A damaged one is told to `warn` and deleted.
    """
    for epoch in sorted(manager.all_steps(), reverse=True):
        try:
            signed = manager.restore(epoch, args=ocp.args.Composite(notes=ocp.args.JsonRestore()))["notes"]
            abstract = manager.item_metadata(epoch)["arrays"]
            leaves = manager.restore(
                epoch, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(jax.tree.map(_as_numpy, abstract)))
            )["arrays"]
            if _sign(leaves, signed["notes"]) != signed["sha256"]:
                raise ValueError("its bytes have changed")
            return jax.tree.unflatten(structure, [leaves[key] for key in sorted(leaves)]), signed["notes"]
        except Exception as error:  # whatever Orbax, tensorstore and JSON raise for bytes that are not theirs
            reason = " ".join(str(error).split())[:200]
            warn(f"{manager.directory}: the state after epoch {epoch} is damaged ({reason}), taking the one before")
            manager.delete(epoch)
    return None


def _sign(leaves: dict[str, np.ndarray], notes: dict[str, Any]) -> str:
    return hashlib.sha256(f"{digest(leaves)} {json.dumps(notes, sort_keys=True)}".encode()).hexdigest()


def _as_numpy(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
