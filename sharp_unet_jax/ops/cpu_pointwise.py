"""ReLU on the CPU."""

import jax.numpy as jnp
from jax import Array, lax

from sharp_unet_jax.ops import definitions
from sharp_unet_jax.ops.cpu_barrier import unfused


def relu(x: Array) -> Array:
    """ReLU as a clamp from 0 to infinity, computed once.

    XLA's library of matrix products (YNNPACK) fuses the operation that follows a product. If that were a maximum, the
    library would read the zeros from memory, and lose a NaN.

    Several operations read the result. If it were fused into each of them, each would compute everything since the last
    convolution again.
    """
    return unfused(lax.clamp(jnp.zeros((), x.dtype), x, jnp.full((), jnp.inf, x.dtype)))


def relu_gradient(y: Array, g: Array) -> Array:
    """Return the gradient of `relu` from its result y, computed once."""
    return unfused(definitions.relu_gradient(y, g))
