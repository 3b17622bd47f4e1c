"""Devices of one or several processes: put arrays on them, and pass values between the processes that share them.

Every process of a device group calls these functions in the same order.
"""

import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sharp_unet_jax.training import coordinator


def sharding(devices: Sequence[jax.Device], spec: PartitionSpec) -> NamedSharding:
    """Return the sharding of `spec` over `devices`, which are one axis named "batch"."""
    return NamedSharding(Mesh(np.asarray(devices), ("batch",)), spec)


def put(tree: Any, place: NamedSharding) -> Any:
    """Put a tree of host arrays, the same in every process, on the devices of `place`."""
    # jax.device_put compares the arrays of all processes first if some devices belong to others.
    return jax.tree.map(lambda leaf: jax.make_array_from_callback(leaf.shape, place, lambda index: leaf[index]), tree)


@jax.jit
def copied(tree: Any) -> Any:
    """Return copies of the arrays, on the same devices: a training step overwrites the arrays of its state."""
    return jax.tree.map(jnp.copy, tree)


def processes(devices: Sequence[jax.Device]) -> list[int]:
    """Return the indices of the processes that `devices` belong to. The first is the lead, which writes files."""
    return list(dict.fromkeys(device.process_index for device in devices))


def gather(value: np.ndarray, devices: Sequence[jax.Device]) -> np.ndarray:
    """Return `value` (...) of each of the P processes that `devices` belong to, the lead's first: (P, ...).

    The shapes must be equal.
    """
    first = {device.process_index: device for device in reversed(devices)}
    one_each = [first[process] for process in processes(devices)]
    if len(one_each) == 1:
        return value[None]
    by_process, everywhere = (sharding(one_each, spec) for spec in (PartitionSpec("batch"), PartitionSpec()))
    rows = jax.make_array_from_callback((len(one_each), *value.shape), by_process, lambda _: value[None])
    return np.asarray(jax.jit(_identity, out_shardings=everywhere)(rows))


def broadcast(message: bytes, devices: Sequence[jax.Device]) -> bytes:
    """Return the lead's `message` in every process; the messages of the other processes are ignored."""
    if len(processes(devices)) == 1:
        return message
    length = int(gather(np.array(len(message), np.int32), devices)[0])
    padded = np.frombuffer(message.ljust(length, b"\0")[:length], np.uint8)
    return gather(padded, devices)[0].tobytes()


def any_process(flag: bool, devices: Sequence[jax.Device]) -> bool:
    """Return True in every process if `flag` is True in one."""
    return bool(gather(np.array(flag, np.int32), devices).any())


def share(stop: threading.Event) -> None:
    """Set `stop` in every process that calls this, within seconds, once it is set in one of them."""
    store = coordinator.client()

    def follow() -> None:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # this process has left the others
            while not store.key_value_dir_get("stop"):
                if stop.wait(1):
                    store.key_value_set("stop/asked", "yes", allow_overwrite=True)
            stop.set()

    threading.Thread(target=follow, daemon=True).start()


def wait() -> None:
    """Wait until every process has called this, and handle signals meanwhile.

    `jax.distributed.shutdown` waits too, but Python handles no signal before it returns.
    """
    store = coordinator.client()
    store.key_value_set(f"here/{jax.process_index()}", "yes")
    while len(store.key_value_dir_get("here")) < jax.process_count():
        time.sleep(0.5)


def _identity(rows: jax.Array) -> jax.Array:
    return rows
