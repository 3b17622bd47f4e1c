"""Batch normalisation on the CPU."""

import jax
import jax.numpy as jnp

from sharp_unet_jax.ops import normalised
from tests.ops.compare import normal


def test_what_leads_to_an_input_or_a_gradient_is_computed_once():
    """Three loops read the input, and three the gradient; if fused, each would compute it again."""
    x, share, ones = normal(0, 4, 1024, 32), jnp.full(4, 1 / 4096), jnp.ones(32)

    def total(x):
        y, _, _ = normalised(jnp.abs(x), share, ones, ones, 1e-3)
        return jnp.sum(jnp.sin(y))

    program = jax.jit(jax.grad(total)).lower(x).compile().as_text()
    assert program.count(" abs(") == 1
    assert program.count(" cosine(") == 1
