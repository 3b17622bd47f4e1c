"""The states that a run is resumed from: files EPOCH.state of a folder.

An unfinished run has the last two. A run that is capped by `epochs` keeps the last one: it may go on to more.

A file holds a line with the SHA-256 of the rest, a line of notes in JSON, and the bytes of the arrays one after
another. Orbax is not needed: nobody reads a state but the process that resumes the run.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sharp_unet_jax.storage.atomic import replacing


def save(folder: Path, epoch: int, arrays: Any, notes: dict[str, Any]) -> None:
    """Write a tree of arrays and what JSON can hold as the state after `epoch`; keep one older state.

    Raises OSError if the disk is full or fails.
    """
    leaves = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(jax.device_get(arrays))]
    parts: list[Any] = [json.dumps(notes).encode() + b"\n", *leaves]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    with replacing(folder / f"{epoch}.state") as temporary, open(temporary, "wb") as file:
        file.write(digest.hexdigest().encode() + b"\n")
        file.writelines(parts)
    keep(folder, 2)


def keep(folder: Path, states: int) -> None:
    """Delete all states but the newest ones, so many; with 0 delete the folder, if it is there."""
    if not states:
        shutil.rmtree(folder, ignore_errors=True)
    for path in _states(folder)[:-states]:
        path.unlink(missing_ok=True)  # another process of the sweep may tidy the same run


def epochs(folder: Path) -> list[int]:
    """Return the epochs after which there are states in `folder`, oldest first."""
    return [int(path.stem) for path in _states(folder)]


def load(folder: Path, warn: Callable[[str], None]) -> bytes:
    """Return the newest undamaged state, for `unpack`; b"" if there is none.

    A damaged state is deleted, and `warn` is told. Raises OSError, and keeps the state, if the disk fails.
    """
    for path in reversed(states := _states(folder)):
        # A pipe in the place of a file is never read to its end.
        digest, _, state = (path.read_bytes() if path.is_file() else b"").partition(b"\n")
        if hashlib.sha256(state).hexdigest().encode() == digest:
            return state
        rest = "taking the one before" if path != states[0] else "starting again"
        warn(f"{folder}: the state after epoch {path.stem} is damaged (its bytes have changed), {rest}")
        path.unlink()
    return b""


def unpack(state: bytes, like: Any) -> tuple[Any, dict[str, Any]]:
    """Return the tree of NumPy arrays and the notes of a state; `like` has the tree's structure, shapes and dtypes.

    Raises ValueError if the arrays are of another size.
    """
    notes, _, data = state.partition(b"\n")
    shapes, structure = jax.tree.flatten(like)
    ends = np.cumsum([leaf.size * leaf.dtype.itemsize for leaf in shapes])
    parts = np.split(np.frombuffer(data, np.uint8), ends[:-1])
    leaves = [part.copy().view(leaf.dtype).reshape(leaf.shape) for part, leaf in zip(parts, shapes, strict=True)]
    return jax.tree.unflatten(structure, leaves), json.loads(notes)


def _states(folder: Path) -> list[Path]:
    """Return the states in `folder`, oldest first."""
    return sorted(folder.glob("[0-9]*.state"), key=lambda path: int(path.stem))
