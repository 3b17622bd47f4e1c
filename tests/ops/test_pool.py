"""Max-pool on the CPU: ties, NaN, and the lowering of the gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax

from sharp_unet_jax.ops import max_pool
from tests.ops.compare import normal


def reduce_window(x: Array, size: int = 2) -> Array:
    border = ((0, 0), *[((size - 1) // 2,) * 2] * 2, (0, 0))
    return lax.reduce_window(x, x.dtype.type(-np.inf), lax.max, (1, size, size, 1), (1, 2, 2, 1), border)


SHAPES = [(2, 8, 6, 3), (2, 7, 6, 1), (1, 8, 5, 4), (3, 9, 7, 2), (1, 2, 2, 1)]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(("shape", "dtype"), [*((shape, jnp.float32) for shape in SHAPES), (SHAPES[3], jnp.bfloat16)])
def test_values_and_gradients_with_ties_are_those_of_reduce_window(shape, size, dtype):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-2, 2, shape), dtype)  # many windows have ties, some of them below zero
    y = reduce_window(x, size)
    g = jnp.asarray(rng.integers(-9, 9, y.shape), dtype)  # sums of integers are exact in any order

    @jax.jit
    def gradients(x: Array, g: Array) -> list[Array]:
        pools = (functools.partial(pool, size=size) for pool in (max_pool, reduce_window))
        return [jax.vjp(pool, x)[1](g)[0] for pool in pools]

    pooled = jax.jit(max_pool, static_argnums=1)(x, size)
    np.testing.assert_array_equal(pooled, y)
    assert pooled.dtype == dtype
    np.testing.assert_array_equal(*gradients(x, g))


@pytest.mark.parametrize("size", [2, 3])
def test_a_nan_is_kept(size):
    x = normal(0, 1, 6, 6, 1).at[0, 2, 3, 0].set(jnp.nan)
    np.testing.assert_array_equal(jax.jit(max_pool, static_argnums=1)(x, size), reduce_window(x, size))


def test_a_tie_goes_to_the_first_in_reading_order():
    # all windows of the values 0, 1, 2: 81 windows, 65 with a tie somewhere, 33 with a tie for the maximum
    windows = np.stack(np.meshgrid(*[[0.0, 1.0, 2.0]] * 4, indexing="ij"), -1).reshape(-1, 4)
    x = jnp.asarray(windows, jnp.float32).reshape(-1, 2, 2, 1)
    gradient = np.asarray(jax.jit(jax.grad(lambda x: max_pool(x).sum()))(x)).reshape(-1, 4)
    np.testing.assert_array_equal(gradient, np.eye(4)[windows.argmax(1)])


def test_a_tie_of_3x3_goes_to_the_first_in_reading_order():
    # an image of 5x5 has one window that lies wholly inside: in the middle
    windows = np.random.default_rng(0).integers(0, 3, (500, 9)).astype(np.float32)
    x = np.pad(windows.reshape(-1, 3, 3, 1), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1)
    gradient = jax.jit(jax.grad(lambda x: max_pool(x, 3)[:, 1, 1].sum()))(x)
    np.testing.assert_array_equal(gradient[:, 1:4, 1:4, 0].reshape(-1, 9), np.eye(9)[windows.argmax(1)])


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
@pytest.mark.parametrize("size", [2, 3])
def test_the_gradient_scatters_nothing(size, platform):
    traced = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x, size)))).trace(normal(0, 1, 8, 8, 1))
    assert "scatter" not in traced.lower(lowering_platforms=(platform,)).as_text()
