"""Kernels by name, and what they are applied to."""

import jax.numpy as jnp
import pytest

from sharp_unet_jax import ops


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32, jnp.bool_])
def test_whole_numbers_are_refused(dtype):
    with pytest.raises(ValueError, match="x must be of a floating dtype, not"):
        ops.sharpen(jnp.zeros((1, 5, 5, 1), dtype))
