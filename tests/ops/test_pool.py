"""Max-pool against `lax`, in value and in gradient, ties and NaN included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax

from sharp_unet_jax.ops import max_pool
from tests.ops.compare import BFLOAT16, FLOAT32, assert_same, normal


def reduce_window(x: Array, size: int = 2) -> Array:
    border = ((0, 0), *[((size - 1) // 2,) * 2] * 2, (0, 0))
    return lax.reduce_window(x, x.dtype.type(-np.inf), lax.max, (1, size, size, 1), (1, 2, 2, 1), border)


@pytest.mark.parametrize("shape", [(2, 8, 6, 3), (2, 7, 6, 1), (1, 8, 5, 4), (3, 9, 7, 2), (1, 2, 2, 1)])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_max_pool_is_laxs_reduce_window(shape, size, dtype):
    pools = [functools.partial(pool, size=size) for pool in (max_pool, reduce_window)]
    # of 3x3 a pixel has a share in up to four windows, which are summed in any order
    tolerance = {"rtol": 0, "atol": 0} if size == 2 else {jnp.float32: FLOAT32, jnp.bfloat16: BFLOAT16}[dtype]
    np.testing.assert_array_equal(*(pool(normal(0, *shape, dtype=dtype)) for pool in pools))
    assert_same(*pools, (normal(0, *shape, dtype=dtype),), tolerance)
    behind_relu = [lambda x, pool=pool: pool(jax.nn.relu(x)) for pool in pools]
    assert_same(*behind_relu, (normal(1, *shape, dtype=dtype),), tolerance)


@pytest.mark.parametrize("size", [2, 3])
def test_a_pool_keeps_a_nan(size):
    x = normal(0, 1, 6, 6, 1).at[0, 2, 3, 0].set(jnp.nan)
    np.testing.assert_array_equal(jax.jit(max_pool, static_argnums=1)(x, size), reduce_window(x, size))


def test_max_pool_gives_a_tie_to_the_first_in_reading_order():
    # every window of the values 0, 1, 2: 81 of them, 65 with a tie somewhere, 33 with a tie for the largest
    windows = np.stack(np.meshgrid(*[[0.0, 1.0, 2.0]] * 4, indexing="ij"), -1).reshape(-1, 4)
    x = jnp.asarray(windows, jnp.float32).reshape(-1, 2, 2, 1)
    gradient = np.asarray(jax.grad(lambda x: max_pool(x).sum())(x)).reshape(-1, 4)
    np.testing.assert_array_equal(gradient, np.eye(4)[windows.argmax(1)])
    np.testing.assert_array_equal(gradient, np.asarray(jax.grad(lambda x: reduce_window(x).sum())(x)).reshape(-1, 4))


def test_max_pool_of_3x3_gives_a_tie_to_the_first_in_reading_order():
    # of an image of 5x5 one window lies wholly inside: in the middle
    windows = np.random.default_rng(0).integers(0, 3, (500, 9)).astype(np.float32)
    x = jnp.pad(jnp.asarray(windows).reshape(-1, 3, 3, 1), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1)
    gradient = jax.grad(lambda x: max_pool(x, 3)[:, 1, 1].sum())(x)
    np.testing.assert_array_equal(gradient[:, 1:4, 1:4, 0].reshape(-1, 9), np.eye(9)[windows.argmax(1)])


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
@pytest.mark.parametrize("size", [2, 3])
def test_the_gradient_of_max_pool_scatters_nothing(size, platform):
    traced = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x, size)))).trace(normal(0, 1, 8, 8, 1))
    assert "scatter" not in traced.lower(lowering_platforms=(platform,)).as_text()
