"""Bilinear resizing on the CPU."""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from sharp_unet_jax.ops import bilinear
from sharp_unet_jax.ops.cpu_barrier import unfused


def enlarge(x: Array, factor: int) -> Array:
    """Interpolate the two axes one after the other.

    Every pixel is read `factor` times and more. If fused, each reading would compute everything since the last
    convolution again.
    """
    for axis in (1, 2):
        x = bilinear.along(unfused(x), factor, axis)
    return x


def gradient(g: Array, factor: int) -> Array:
    """Return the gradient of `enlarge`, by a product with a small matrix for each pixel.

    XLA computes the derived sums number by number: they take 20 times as long and more.
    """
    for axis in (2, 1):
        size = [*g.shape]
        size[axis] //= factor
        squares = g.reshape(*g.shape[:axis], size[axis], factor, -1)
        weights = jnp.asarray(bilinear.weights(factor), g.dtype)
        # One product for each pixel, and not one for all: XLA would transpose g for it.
        sums = jnp.broadcast_to(weights, (*squares.shape[:-2], *weights.shape)) @ squares
        sums = jnp.moveaxis(sums, -2, 0).reshape(len(weights), *size)
        (g,) = jax.linear_transpose(functools.partial(bilinear.neighbours, axis=axis), sums[0])(sums)
    return g
