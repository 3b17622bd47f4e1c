"""The key-value store that the processes of `jax.distributed` share: the only use of JAX's private API.

One process must be able to stop the others in the middle of an epoch, and a process that waits must handle signals.
The public API of jax 0.10 to 0.12 cannot do this. `jax.distributed` has `initialize`, `is_initialized` and `shutdown`;
`jax.experimental.multihost_utils` has collectives, which block until every process enters them. Reads and writes of the
store do not block. We know of no upstream issue that asks for it; a request (jax-ml/jax#26009) made `is_initialized`
public. tests/training/test_distributed.py fails when `jax.distributed` exposes more: use that then, and delete this
file.
"""

from typing import Any

from jax._src import distributed


def client() -> Any:
    """Return this process's connection to the store, None without `jax.distributed.initialize`."""
    return distributed.global_state.client
