"""Bias and ReLU: number by number, with the gradients that XLA would spend too much on."""

import jax
import jax.numpy as jnp
from jax import Array, lax

from sharp_unet_jax.ops import definitions
from sharp_unet_jax.ops.cpu_barrier import unfused
from sharp_unet_jax.ops.platform import by_platform


@jax.custom_vjp
def add_bias(x: Array, bias: Array) -> Array:
    """x (N, H, W, C) plus bias (C,), both of one type."""
    return definitions.add_bias(x, bias)


def _add_bias_forward(x: Array, bias: Array) -> tuple[Array, None]:
    return add_bias(x, bias), None


def _add_bias_backward(_: None, g: Array) -> tuple[Array, Array]:
    return g, sum_over_pixels(g)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def sum_over_pixels(g: Array) -> Array:
    """The gradient of a bias: g (N, H, W, C) -> (C,), summed in float32."""

    def by_rows(g: Array) -> Array:
        rows = jnp.sum(g, axis=2, dtype=jnp.float32)
        return jnp.sum(lax.optimization_barrier(rows), axis=(0, 1)).astype(g.dtype)

    return by_platform(g, cuda=_in_stages, default=by_rows)


def _in_stages(g: Array) -> Array:
    """Columns, lines, images: one sum of many numbers a channel would have too few threads to wait for memory."""
    sums = jnp.sum(g, axis=2, dtype=jnp.float32)
    images, lines, _ = sums.shape
    if images * lines > 1024:  # of fewer one sum takes no longer than two
        sums = jnp.sum(lax.optimization_barrier(sums), axis=1, keepdims=True)
    return jnp.sum(lax.optimization_barrier(sums), axis=(0, 1)).astype(g.dtype)


@jax.custom_vjp
def relu(x: Array) -> Array:
    """max(x, 0), any shape. The gradient at 0 is 0, as with `jax.nn.relu`, but taken from the result.

    So x need not be kept for it, and a GPU's convolution can apply bias and ReLU as it writes.
    """

    def on_cpu(x: Array) -> Array:
        # XLA's library of matrix products takes along what follows them: of a maximum it would read the zeros from
        # memory, and lose a NaN. Several read the result. Fused into each of them, all that led to it since the last
        # convolution would be computed again.
        return unfused(lax.clamp(jnp.zeros((), x.dtype), x, jnp.full((), jnp.inf, x.dtype)))

    return by_platform(x, cpu=on_cpu, default=definitions.relu)


def _relu_forward(x: Array) -> tuple[Array, Array]:
    y = relu(x)
    return y, y


def _relu_backward(y: Array, g: Array) -> tuple[Array]:
    def masked(y: Array, g: Array) -> Array:
        # Not y > 0: XLA turns that into x > 0, and x is kept after all.
        return jnp.where(y == 0, jnp.zeros_like(g), g)

    return (by_platform(y, g, cpu=lambda y, g: unfused(masked(y, g)), default=masked),)


relu.defvjp(_relu_forward, _relu_backward)
