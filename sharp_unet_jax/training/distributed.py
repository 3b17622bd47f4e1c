"""Devices of one or several processes: arrays put on them, and what one process tells the others that share them.

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
from jax._src import distributed  # the processes' common store of keys is not public
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def sharding(devices: Sequence[jax.Device], spec: PartitionSpec) -> NamedSharding:
    """`devices` as one axis named "batch"."""
    return NamedSharding(Mesh(np.asarray(devices), ("batch",)), spec)


def put(tree: Any, place: NamedSharding) -> Any:
    """A tree of host arrays, the same in every process, as arrays on the devices of `place`."""
    # Not jax.device_put: with devices of other processes it compares the arrays of all of them first.
    return jax.tree.map(lambda leaf: jax.make_array_from_callback(leaf.shape, place, lambda index: leaf[index]), tree)


@jax.jit
def copied(tree: Any) -> Any:
    """The arrays once more, where they are, by one program: a training step writes over what it is given."""
    return jax.tree.map(jnp.copy, tree)


def processes(devices: Sequence[jax.Device]) -> list[int]:
    """The processes that `devices` belong to; the first is the lead, which writes."""
    return list(dict.fromkeys(device.process_index for device in devices))


def gather(value: np.ndarray, devices: Sequence[jax.Device]) -> np.ndarray:
    """`value` (...) of every process that has one of `devices`, the lead's first: (P, ...). All have one shape."""
    first = {device.process_index: device for device in reversed(devices)}
    one_each = [first[process] for process in processes(devices)]
    if len(one_each) == 1:
        return value[None]
    by_process, everywhere = (sharding(one_each, spec) for spec in (PartitionSpec("batch"), PartitionSpec()))
    rows = jax.make_array_from_callback((len(one_each), *value.shape), by_process, lambda _: value[None])
    return np.asarray(jax.jit(_same, out_shardings=everywhere)(rows))


def tell(message: bytes, devices: Sequence[jax.Device]) -> bytes:
    """The lead's `message`; what the others give is ignored."""
    if len(processes(devices)) == 1:
        return message
    length = int(gather(np.array(len(message), np.int32), devices)[0])
    padded = np.frombuffer(message.ljust(length, b"\0")[:length], np.uint8)
    return gather(padded, devices)[0].tobytes()


def agree(says: bool, devices: Sequence[jax.Device]) -> bool:
    """Whether any process says so."""
    return bool(gather(np.array(says, np.int32), devices).any())


def share(stop: threading.Event) -> None:
    """From now on, `stop` is set in every process that calls this within seconds of being set in one."""
    store: Any = distributed.global_state.client

    def follow() -> None:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # the processes have parted
            while not store.key_value_dir_get("stop"):
                if stop.wait(1):
                    store.key_value_set("stop/asked", "yes", allow_overwrite=True)
            stop.set()

    threading.Thread(target=follow, daemon=True).start()


def wait() -> None:
    """Until every process has come here. Signals are heard meanwhile, which `jax.distributed.shutdown` is deaf to."""
    store: Any = distributed.global_state.client
    store.key_value_set(f"here/{jax.process_index()}", "yes")
    while len(store.key_value_dir_get("here")) < jax.process_count():
        time.sleep(0.5)


def _same(rows: jax.Array) -> jax.Array:
    return rows
