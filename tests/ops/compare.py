"""Value, type and gradients of two functions, compared."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Sums of at most 9 * 70 float32 products of order one, in another order.
FLOAT32 = {"rtol": 1e-4, "atol": 1e-4}
# bfloat16 keeps 8 bits (a step of 2^-8 = 0.4 %): rounding inputs, kernel products and the result stays within a few.
BFLOAT16 = {"rtol": 0.05, "atol": 0.05}


def normal(seed: int, *shape: int, dtype=jnp.float32) -> Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)  # jax.random would compile for a second


def assert_same(actual, expected, args, tolerance=FLOAT32, seed: int = 9) -> None:
    """The same value, type, and gradient with respect to every argument, under jit."""

    def value_and_gradients(f):
        def both(cotangent: Array, *args: Array) -> tuple[Array, ...]:
            y, pull_back = jax.vjp(f, *args)
            return y, *pull_back(cotangent)

        y = jax.eval_shape(f, *args)
        return jax.jit(both)(normal(seed, *y.shape, dtype=y.dtype), *args)

    outcomes = value_and_gradients(actual), value_and_gradients(expected)
    assert outcomes[0][0].dtype == args[0].dtype
    for got, wanted in zip(*outcomes, strict=True):
        assert got.dtype == wanted.dtype
        scale = max(1.0, float(jnp.abs(wanted).max()))
        got, wanted = np.asarray(got, np.float32) / scale, np.asarray(wanted, np.float32) / scale
        np.testing.assert_allclose(got, wanted, **tolerance)


def float64(*arrays: Array) -> list[np.ndarray]:
    return [np.asarray(a, np.float64) for a in arrays]
