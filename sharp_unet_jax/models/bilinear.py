"""Bilinear resizing by whole factors, without anti-aliasing: PyTorch's `interpolate(..., mode="bilinear")`.

`jax.image.resize(..., "linear", antialias=False)` gives the same numbers by a product with a dense matrix for each
axis. At 512 pixels a side that costs more than a convolution of 64 channels.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def enlarge(x: jax.Array, factor: int) -> jax.Array:
    """Resize (N, H, W, C) to (N, factor H, factor W, C); `factor` is even. Reverse-mode gradients only."""
    for axis in (1, 2):
        size = [*x.shape]
        size[axis] *= factor
        shape = [factor if i == axis + 1 else 1 for i in range(5)]
        terms = [
            jnp.asarray(weights.reshape(shape), x.dtype) * jnp.expand_dims(near, axis + 1)
            for weights, near in zip(_weights(factor), _neighbours(x, axis), strict=True)
        ]
        x = functools.reduce(jnp.add, terms).reshape(size)
    return x


def _forward(x: jax.Array, factor: int) -> tuple[jax.Array, None]:
    return enlarge(x, factor), None


def _backward(factor: int, _: None, g: jax.Array) -> tuple[jax.Array]:
    """Return the gradient for x.

    It is a product with a small matrix for each square. XLA's CPU code for the derived sums takes 10 to 200 times as
    long.
    """
    for axis in (2, 1):
        size = [*g.shape]
        size[axis] //= factor
        rows = g.reshape(*g.shape[:axis], size[axis], factor, -1)
        weights = jnp.broadcast_to(jnp.asarray(_weights(factor), g.dtype), (*rows.shape[:-2], 3, factor))
        sums = jnp.moveaxis(weights @ rows, -2, 0).reshape(3, *size)
        (g,) = jax.linear_transpose(functools.partial(_neighbours, axis=axis), sums[0])(sums)
    return (g,)


enlarge.defvjp(_forward, _backward)


def centres(x: jax.Array, factor: int, size: int) -> jax.Array:
    """Cut x (N, factor h, factor w, C) into squares and keep size x size pixels in each middle: (N, size h, size w, C).

    The mean of the middle 2x2 pixels is the bilinear reduction by an even factor.
    """
    n, height, width, channels = x.shape
    height, width, start = height // factor, width // factor, (factor - size) // 2
    squares = x.reshape(n, height, factor, width, factor, channels)
    middle = squares[:, :, start : start + size, :, start : start + size]
    return middle.reshape(n, size * height, size * width, channels)


def _weights(factor: int) -> np.ndarray:
    """Return how much the pixels before, at and after a position count in the outputs of its square: (3, factor)."""
    place = (np.arange(factor) + 0.5) / factor - 0.5
    return np.stack([np.maximum(-place, 0), 1 - np.abs(place), np.maximum(place, 0)])


def _neighbours(x: jax.Array, axis: int) -> jax.Array:
    """Return for each position of an axis the pixels before, at and after it; the edges repeat."""
    end = x.shape[axis] - 1
    first, inner, outer, last = (
        lax.slice_in_dim(x, start, stop, axis=axis) for start, stop in ((0, 1), (0, end), (1, None), (end, None))
    )
    return jnp.stack([jnp.concatenate([first, inner], axis), x, jnp.concatenate([outer, last], axis)])
