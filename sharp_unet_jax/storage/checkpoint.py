"""Weights on disk, as pure trees of arrays, and the states that a run goes on from. Nothing else knows Orbax.

Of several processes the caller alone writes and reads: Orbax is told not to wait for the others.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint._src.serialization import type_handlers

Manager: TypeAlias = ocp.CheckpointManager
ABSENT = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)  # a part is missing; any other error may pass
# Of several processes one may else write the notes before their folder is there.
FOLDERS_FIRST = ocp.options.AsyncOptions(create_directories_asynchronously=False)


def save(path: Path, tree: Any) -> None:
    """Writes a tree of arrays to the folder `path`, replacing what is there; it is whole or not there at all."""
    remove(path)
    alone = ocp.StandardCheckpointer(multiprocessing_options=_alone(path), async_options=FOLDERS_FIRST)
    with _disk(path), alone as checkpointer:
        checkpointer.save(path.absolute(), jax.device_get(tree))


def remove(path: Path) -> None:
    """Deletes what `save` wrote, or began to write when it was cut off."""
    for each in (path, *path.parent.glob(f"{path.name}.orbax-checkpoint-tmp*")):
        shutil.rmtree(each, ignore_errors=True)


def load(path: Path) -> Any:
    """The tree that `save` wrote, as NumPy arrays."""
    with ocp.StandardCheckpointer(multiprocessing_options=_alone(path)) as checkpointer:
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


@contextmanager
def snapshots(path: Path) -> Iterator[Manager]:
    """The folder `path` of a run's last two states; a context that ends when they are written."""
    path.mkdir(parents=True, exist_ok=True)
    for cut_off in path.glob("*.orbax-checkpoint-tmp*"):  # Orbax would delete them, but in process 0 alone
        shutil.rmtree(cut_off)
    alone = _alone(path)
    handlers = {
        "state": ocp.StandardCheckpointHandler(multiprocessing_options=alone),
        "notes": ocp.JsonCheckpointHandler(multiprocessing_options=alone),
    }
    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, create=False, multiprocessing_options=alone, async_options=FOLDERS_FIRST
    )
    with _disk(path), ocp.CheckpointManager(path.absolute(), options=options, item_handlers=handlers) as manager:
        yield manager


def snap(manager: Manager, epoch: int, arrays: Any, notes: dict[str, Any]) -> None:
    """Saves a tree of arrays, and what JSON can hold, as they are now; the writing goes on in the background."""
    state = pack(arrays)
    signed = {"notes": notes, "sha256": _sign(state, notes)}
    manager.save(
        epoch, args=ocp.args.Composite(state=ocp.args.StandardSave({"bytes": state}), notes=ocp.args.JsonSave(signed))
    )


def last_snap(manager: Manager, warn: Callable[[str], None]) -> tuple[bytes, dict[str, Any]] | None:
    """The newest state that is whole, as the bytes that `pack` made, and its notes; None if there is none.

    A damaged one is told to `warn` and deleted; one that cannot be read now, for another reason, is OSError.
    """
    epochs = sorted(manager.all_steps())
    while epochs:
        epoch = epochs.pop()
        try:
            signed = manager.restore(epoch, args=ocp.args.Composite(notes=ocp.args.JsonRestore()))["notes"]
            abstract = jax.tree.map(_as_numpy, manager.item_metadata(epoch)["state"])
            whole = manager.restore(epoch, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract)))
            state = whole["state"]["bytes"]
            if _sign(state, signed["notes"]) != signed["sha256"]:
                raise ValueError("its bytes have changed")
            return state.tobytes(), signed["notes"]
        except Exception as error:  # whatever Orbax, tensorstore and JSON raise for bytes that are not theirs
            of_the_system = error if isinstance(error, OSError) else _os_error(error, Path(manager.directory))
            if isinstance(error, MemoryError) or (of_the_system and of_the_system.errno not in ABSENT):
                raise
            reason = " ".join(str(error).split())[:200]
            rest = "taking the one before" if epochs else "starting again"
            warn(f"{manager.directory}: the state after epoch {epoch} is damaged ({reason}), {rest}")
            manager.delete(epoch)
    return None


def pack(tree: Any) -> np.ndarray:
    """The bytes of a tree's arrays, one after the other: (n,) uint8.

    One array instead of dozens: if Orbax fails in one of several reads, the others end as noise on the terminal.
    """
    leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(jax.device_get(tree))]
    return np.concatenate([leaf.reshape(-1).view(np.uint8) for leaf in leaves])


def unpack(state: bytes, like: Any) -> Any:
    """The tree of NumPy arrays that `pack` made `state` of; `like` has its structure, shapes and dtypes."""
    shapes, structure = jax.tree.flatten(like)
    ends = np.cumsum([leaf.size * leaf.dtype.itemsize for leaf in shapes])
    parts = np.split(np.frombuffer(state, np.uint8), ends[:-1])
    leaves = [part.copy().view(leaf.dtype).reshape(leaf.shape) for part, leaf in zip(parts, shapes, strict=True)]
    return jax.tree.unflatten(structure, leaves)


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Makes an OSError of what tensorstore raises for a disk that is full or failing: a ValueError with its number."""
    try:
        yield
    except ValueError as error:
        if of_the_system := _os_error(error, path):
            raise of_the_system from error
        raise


def _os_error(error: Exception, path: Path) -> OSError | None:
    """The error of the system that tensorstore tells of, if it is one."""
    number = re.search(r"os_error_code='(\d+)'", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path)) if number else None


def _sign(state: np.ndarray, notes: dict[str, Any]) -> str:
    return hashlib.sha256(f"{digest(state)} {json.dumps(notes, sort_keys=True)}".encode()).hexdigest()


def _alone(path: Path) -> ocp.options.MultiprocessingOptions:
    me = jax.process_index()
    if me > 0:
        # Whatever these options say, Orbax writes NumPy arrays in process 0 alone: any other would save none of them.
        type_handlers.multihost = SimpleNamespace(process_index=lambda: 0)
    return ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=hashlib.sha256(str(path).encode()).hexdigest()
    )


def _as_numpy(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
