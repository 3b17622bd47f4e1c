"""Bilinear interpolation along one axis, by a whole even factor: each pixel becomes `factor` pixels."""

import functools

import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def along(x: Array, factor: int, axis: int) -> Array:
    """Enlarge an axis of x (N, H, W, C) by the factor: sum the pixels before, at and after, times their weights."""
    size = [*x.shape]
    size[axis] *= factor
    shape = [factor if i == axis + 1 else 1 for i in range(5)]
    terms = [
        jnp.asarray(weight.reshape(shape), x.dtype) * jnp.expand_dims(pixels, axis + 1)
        for weight, pixels in zip(weights(factor), neighbours(x, axis), strict=True)
    ]
    return functools.reduce(jnp.add, terms).reshape(size)


def weights(factor: int) -> np.ndarray:
    """Return how much the pixels before, at and after a pixel count in those that it becomes: (3, factor)."""
    place = (np.arange(factor) + 0.5) / factor - 0.5
    return np.stack([np.maximum(-place, 0), 1 - np.abs(place), np.maximum(place, 0)])


def neighbours(x: Array, axis: int) -> Array:
    """Return the pixels before, at and after each pixel of an axis: (3, *x.shape). Pixels of the edge repeat."""
    end = x.shape[axis] - 1
    first, inner, outer, last = (
        lax.slice_in_dim(x, start, stop, axis=axis) for start, stop in ((0, 1), (0, end), (1, None), (end, None))
    )
    return jnp.stack([jnp.concatenate([first, inner], axis), x, jnp.concatenate([outer, last], axis)])
