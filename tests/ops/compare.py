"""Values, dtypes and gradients of two functions, compared."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sharp_unet_jax import ops

# Sums of at most 9 * 70 float32 products of order one, in a different order.
FLOAT32 = {"rtol": 1e-4, "atol": 1e-4}
# bfloat16 keeps 8 bits (a step of 2^-8 = 0.4 %). Rounding of inputs, products and the result stays within a few steps.
BFLOAT16 = {"rtol": 0.05, "atol": 0.05}


def normal(seed: int, *shape: int, dtype=jnp.float32) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)  # jax.random would compile for a second


def assert_same(operation, definition, args, tolerance=FLOAT32) -> None:
    """Compare value, dtype and the gradient for every argument, under jit: as dispatched, and inside `by_definition`.

    If the functions return a tuple, the gradient is that of its first array.
    """
    first = jax.tree.leaves(jax.eval_shape(definition, *args))[0]
    cotangent = normal(9, *first.shape, dtype=first.dtype)

    def value_and_gradients(f, context, cotangent: Array, args: tuple[Array, ...]) -> list[Array]:
        with context:
            y, pull_back = jax.vjp(lambda *args: jax.tree.leaves(f(*args)), *args)
            return [*y, *pull_back([cotangent, *(jnp.zeros_like(each) for each in y[1:])])]

    @jax.jit
    def outcomes(cotangent: Array, args: tuple[Array, ...]) -> list[list[Array]]:
        ways = [
            (operation, contextlib.nullcontext()),
            (operation, ops.by_definition()),
            (definition, contextlib.nullcontext()),
        ]
        return [value_and_gradients(f, context, cotangent, args) for f, context in ways]

    *found, expected = outcomes(cotangent, args)
    assert expected[0].dtype == args[0].dtype
    for way in found:
        for one, other in zip(way, expected, strict=True):
            assert one.dtype == other.dtype
            scale = max(1.0, float(jnp.abs(other).max()))
            one, other = np.asarray(one, np.float32) / scale, np.asarray(other, np.float32) / scale
            np.testing.assert_allclose(one, other, **tolerance)


def float64(*arrays: Array) -> list[np.ndarray]:
    return [np.asarray(a, np.float64) for a in arrays]
