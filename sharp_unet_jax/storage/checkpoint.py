"""Weights on disk, as pure trees of arrays. No other file knows Orbax.

In a sweep of several processes each lead saves and loads on its own: Orbax is told not to wait for the other processes.
"""

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from orbax.checkpoint import type_handlers


class _NumpyHandler(type_handlers.NumpyHandler):
    """Writes NumPy arrays in the process that saves.

    Orbax's handler writes them only in process 0, whatever `primary_host` says: any other process would save a
    checkpoint without arrays, and no error would tell (tests/storage/test_checkpoint.py shows it).
    """

    async def serialize(
        self, values: Sequence[np.ndarray], infos: Sequence[Any], args: Sequence[Any] | None = None
    ) -> list[Any]:
        """Write `values` to the places that `infos` name; returns no future, since nothing is left to wait for."""
        del args

        async def write(value: np.ndarray, info: Any) -> None:
            spec = type_handlers.get_json_tspec_write(
                info,
                use_ocdbt=info.is_ocdbt_checkpoint,
                global_shape=value.shape,
                local_shape=value.shape,
                dtype=value.dtype,
                process_index=jax.process_index(),
            )
            spec = tensorstore.Spec(spec | {"dtype": value.dtype.name})
            array = await tensorstore.open(spec, create=True, open=True, context=info.ts_context)
            await array.write(value)

        await asyncio.gather(*map(write, values, infos))
        return []


def save(path: Path, tree: Any) -> None:
    """Write a tree of arrays to the folder `path`, replacing what is there. The folder is whole or not there at all.

    Raises OSError if the disk is full or fails.
    """
    remove(path)
    try:
        with _checkpointer(path) as checkpointer:
            checkpointer.save(path.absolute(), args=ocp.args.PyTreeSave(jax.device_get(tree)))
    except ValueError as error:  # tensorstore's, with the number of the system's error in its text
        if number := re.search(r"os_error_code='(\d+)'", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise


def remove(path: Path) -> None:
    """Delete what `save` wrote, and what it left if it was cut off."""
    for folder in (path, *path.parent.glob(f"{path.name}.orbax-checkpoint-tmp*")):
        shutil.rmtree(folder, ignore_errors=True)


def load(path: Path) -> Any:
    """Return the tree that `save` wrote, as NumPy arrays; keys are text."""
    with _checkpointer(path) as checkpointer:
        return checkpointer.restore(path.absolute(), args=ocp.args.PyTreeRestore())


def digest(tree: Any) -> str:
    """Return the SHA-256 of every array's dtype, shape and bytes, in the order of the tree."""
    whole = hashlib.sha256()
    for leaf in jax.tree.leaves(jax.device_get(tree)):
        array = np.ascontiguousarray(leaf)
        whole.update(f"{array.dtype}{array.shape}".encode())
        whole.update(array.data)
    return whole.hexdigest()


def _checkpointer(path: Path) -> ocp.Checkpointer:
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=hashlib.sha256(str(path).encode()).hexdigest()
    )
    handlers = type_handlers.create_type_handler_registry(
        (np.ndarray, _NumpyHandler()),
        (jax.Array, type_handlers.ArrayHandler()),  # unused; without it Orbax warns at every save
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone, type_handler_registry=handlers)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)
