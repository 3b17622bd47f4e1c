"""A barrier that XLA's CPU compiler keeps. It removes `lax.optimization_barrier` before it fuses operations.

If an array is fused into the operation that copies or pads it, XLA computes it number by number, at several times the
cost.
"""

import jax
from jax import Array
from jax.experimental.xla_metadata import set_xla_metadata


def unfused(x: Array) -> Array:
    """Return x, computed before any operation reads it: a call of the identity function that XLA may not inline."""
    with set_xla_metadata(inlineable="false"):
        return jax.jit(lambda x: x)(x)
