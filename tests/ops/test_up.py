"""Up-convolution against `lax`, in value and in the gradient of every argument."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax

from sharp_unet_jax.ops import up_conv
from tests.ops.compare import BFLOAT16, FLOAT32, assert_same, float64, normal


@pytest.mark.parametrize("case", [(2, 4, 3, 5, 7), (1, 1, 1, 1, 1), (3, 5, 2, 8, 1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, FLOAT32), (jnp.bfloat16, BFLOAT16)])
def test_up_conv_is_laxs_transposed_convolution(case, dtype, tolerance):
    n, height, width, i, o = case

    def expected(x: Array, w: Array) -> Array:
        dimensions = ("NHWC", "HWIO", "NHWC")
        return lax.conv_transpose(x, w[::-1, ::-1], (2, 2), "VALID", dimension_numbers=dimensions)

    args = normal(0, n, height, width, i, dtype=dtype), normal(1, 2, 2, i, o, dtype=dtype)
    assert_same(up_conv, expected, args, tolerance)


def test_up_conv_puts_each_tap_where_it_says():
    x, w = float64(normal(0, 2, 3, 4, 5), normal(1, 2, 2, 5, 6))
    y = up_conv(jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32))
    for a in (0, 1):
        for b in (0, 1):
            np.testing.assert_allclose(y[:, a::2, b::2], x @ w[a, b], rtol=1e-5, atol=1e-5)
