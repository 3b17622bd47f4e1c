"""The sharp block on the CPU: a sum of shifted copies."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sharp_unet_jax.ops.cpu_barrier import unfused
from sharp_unet_jax.ops.kernels import pad, per_channel


def sharpen(x: Array, kernel: Array, padding: str) -> Array:
    """Sum shifted copies of x inside, and of padded strips of x along the border.

    A padded copy of all of x would be a second pass over memory.
    """
    top, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    if x.shape[1] <= 2 * top or x.shape[2] <= 2 * left:
        return _padded_sum(x, kernel, padding)

    def near(edge: Array) -> Array:  # correct at the edge of the image, wrong where the strip was cut off
        return _padded_sum(edge, kernel, padding)

    y = jnp.pad(_inner_sum(x, per_channel(x, kernel)), ((0, 0), (top, top), (left, left), (0, 0)))
    if top:
        y = y.at[:, :top].set(near(x[:, : 2 * top])[:, :top])
        y = y.at[:, -top:].set(near(x[:, -2 * top :])[:, -top:])
    if left:
        y = y.at[:, :, :left].set(near(x[:, :, : 2 * left])[:, :, :left])
        y = y.at[:, :, -left:].set(near(x[:, :, -2 * left :])[:, :, -left:])
    return unfused(y)  # fused into the concatenation that follows, it would be computed pixel by pixel


def gradients(x: Array, kernel: Array, g: Array, padding: str, first: int) -> tuple[Array, Array]:
    """Return the gradients for x and the kernel: g is (N, H, W, first + C); its first `first` channels are unused."""
    dx, dkernel = jax.vjp(functools.partial(_padded_sum, padding=padding), x, kernel)[1](g[..., first:])
    if padding == "zero":  # the gradient for x is the same operation with the kernel rotated by 180 degrees
        dx = sharpen(g[..., first:], kernel[::-1, ::-1], padding)
    return dx, dkernel


def _padded_sum(x: Array, kernel: Array, padding: str) -> Array:
    kernel = per_channel(x, kernel)
    return _inner_sum(pad(x, kernel, padding), kernel)


def _inner_sum(x: Array, kernel: Array) -> Array:
    """Sum the shifted copies where all of the kernel (h, w, 1, 1 or C) lies on x: h - 1 fewer rows, w - 1 columns."""
    height, width = x.shape[1] - kernel.shape[0] + 1, x.shape[2] - kernel.shape[1] + 1
    total = jnp.zeros((x.shape[0], height, width, x.shape[3]), jnp.float32)
    for i, j in np.ndindex(kernel.shape[:2]):
        total += kernel[i, j, None, None] * x[:, i : i + height, j : j + width].astype(jnp.float32)
    return total.astype(x.dtype)
