"""Batch normalisation on the CPU: no pass over a map computes again what led to it."""

import re

import jax
import jax.numpy as jnp
from jax import Array

from sharp_unet_jax.ops import normalised
from tests.ops.compare import normal


def test_a_cpu_computes_the_input_and_its_gradient_once():
    """The input is a sine. A cosine and a sum read its gradient, the only difference in the backward pass."""

    def step(u: Array, bias: Array, g: Array) -> tuple[Array, ...]:
        def function(u: Array, bias: Array) -> Array:
            x = jnp.sin(u) + bias.reshape(1, 1, -1)
            return normalised(x, jnp.full(2, 1 / 8192), jnp.ones(32), jnp.zeros(32), 1e-3)[0]

        y, vjp = jax.vjp(function, u, bias)
        return y, *vjp(g)

    args = normal(0, 2, 4096, 32), normal(1, 32), normal(2, 2, 4096, 32)
    program = jax.jit(step).lower(*args).compile().as_text()
    sines = re.findall(r"\bsine\(", program)
    differences = re.findall(r'\bsubtract\(.*op_name="[^"]*transpose\(jvp\(\)\)/sub"', program)
    assert (len(sines), len(differences)) == (1, 1)


def test_what_leads_to_an_input_or_a_gradient_is_computed_once():
    """Three loops read the input, and three the gradient; if fused, each would compute it again."""
    x, share, ones = normal(0, 4, 1024, 32), jnp.full(4, 1 / 4096), jnp.ones(32)

    def total(x):
        y, _, _ = normalised(jnp.abs(x), share, ones, ones, 1e-3)
        return jnp.sum(jnp.sin(y))

    program = jax.jit(jax.grad(total)).lower(x).compile().as_text()
    assert program.count(" abs(") == 1
    assert program.count(" cosine(") == 1
