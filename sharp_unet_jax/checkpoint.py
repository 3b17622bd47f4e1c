"""Weights on disk, as pure trees of arrays. Nothing else knows Orbax."""

import shutil
from pathlib import Path
from typing import Any

import jax
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


def _as_numpy(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
