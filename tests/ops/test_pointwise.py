"""ReLU and bias: what their own gradients must keep."""

import jax
import jax.numpy as jnp
import numpy as np

from sharp_unet_jax.ops import add_bias, relu
from tests.ops.compare import normal


def test_relu_is_jaxs():
    x = jnp.array([-2.0, -0.0, 0.0, 1e-30, 3.0])
    np.testing.assert_array_equal(relu(x), jax.nn.relu(x))
    for f in (relu, jax.nn.relu):
        np.testing.assert_array_equal(jax.grad(lambda x, f=f: jnp.sum(2 * f(x)))(x), [0, 0, 0, 2, 2])


def test_relu_keeps_a_nan_behind_a_product_of_matrices():
    """XLA's CPU library of matrix products can fuse a maximum that follows; its maximum of NaN and 0 is 0."""
    x, w = normal(0, 512, 64).at[5].set(jnp.nan), normal(1, 64, 64)
    fused = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_ELTWISE"}
    y = jax.jit(lambda x, w: relu(x @ w), compiler_options=fused)(x, w)
    np.testing.assert_array_equal(np.isnan(y).any(axis=1), np.arange(512) == 5)
    assert np.isnan(y[5]).all()


def test_the_gradient_of_a_bias_is_summed_in_float32():
    """bfloat16 cannot hold 259, the sum of a row. The total, 777, is rounded once, to 776."""
    x, bias = jnp.ones((3, 1, 259, 1), jnp.bfloat16), jnp.zeros(1, jnp.bfloat16)
    gradient = jax.grad(lambda bias: jnp.sum(add_bias(x, bias).astype(jnp.float32)))(bias)
    np.testing.assert_array_equal(gradient.astype(jnp.float32), [776])
