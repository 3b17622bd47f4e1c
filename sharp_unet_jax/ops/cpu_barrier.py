"""A barrier that XLA's CPU compiler keeps: it removes `lax.optimization_barrier` before it fuses.

Fused into what copies or pads it, an array is computed number by number, at several times the cost.
"""

import jax
from jax import Array
from jax.experimental.xla_metadata import set_xla_metadata


def unfused(x: Array) -> Array:
    """x, computed before what reads it: a call that does nothing and may not be inlined."""
    with set_xla_metadata(inlineable="false"):
        return jax.jit(lambda x: x)(x)
