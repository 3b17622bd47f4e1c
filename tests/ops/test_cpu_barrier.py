"""The barrier between operations on the CPU."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sharp_unet_jax.ops.cpu_barrier import unfused

X = jnp.arange(4 * 64 * 64 * 32, dtype=jnp.float32).reshape(4, 64, 64, 32) / 1000


def beside_its_sum(x: Array) -> Array:
    total = unfused(x[:, :-1] + x[:, 1:])
    return jnp.pad(jnp.concatenate([total, x[:, 1:]], axis=-1), ((0, 0), (0, 0), (1, 1), (0, 0)))


def test_the_sum_is_not_fused_into_the_concatenation():
    program = jax.jit(beside_its_sum).lower(X).compile().as_text()
    computations = [part for part in program.split("\n\n") if " concatenate(" in part]
    assert computations
    assert not any(" add(" in part for part in computations)


def test_the_barrier_changes_no_value_gradient_or_batch():
    np.testing.assert_array_equal(jax.jit(unfused)(X), X)
    np.testing.assert_array_equal(jax.jit(jax.grad(lambda x: jnp.sum(unfused(x) ** 2)))(X), 2 * X)
    np.testing.assert_array_equal(jax.jit(jax.vmap(unfused))(X), X)
