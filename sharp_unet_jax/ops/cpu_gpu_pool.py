"""Max-pool on the CPU and on GPUs: the gradient selects instead of scattering."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
from jax import Array

from sharp_unet_jax.ops.cpu_barrier import unfused


def max_pool(x: Array, size: int) -> Array:
    """Maximum of strided slices of x, one slice for each pixel of a window."""
    return functools.reduce(jnp.maximum, _windows(x, size))


def winners(x: Array, size: int) -> Array:
    """Return the index of the first maximum of each window in reading order, from 0, uint8."""
    first, *others = _windows(x, size)
    largest, index = first, jnp.zeros(first.shape, jnp.uint8)
    for place, pixel in enumerate(others, 1):
        index = jnp.where(pixel > largest, jnp.uint8(place), index)
        largest = jnp.maximum(largest, pixel)
    return index


def gradient(x: Array, winners: Array, g: Array, size: int) -> Array:
    """Return the gradient of `max_pool`: each pixel selects from its windows. A scatter is several times as slow."""
    n, height, width, c = g.shape
    # Rows of pixels come in pairs. A pair belongs to the window of its own index and, for 3x3, to the next window too.
    # `rows` says, for each of these windows, which of the window's rows the even and the odd row of pixels are; 9 means
    # none. Columns are the same.
    rows = {2: [(0, 1)], 3: [(1, 2), (9, 0)]}[size]
    pixels = jnp.zeros((n, height, 2, width, 2, c), g.dtype)
    for (down, row), (right, column) in itertools.product(enumerate(rows), repeat=2):
        place = np.add.outer(size * np.array(row), column).astype(np.uint8).reshape(1, 1, 2, 1, 2, 1)
        border = ((0, 0), (0, down), (0, right), (0, 0))
        winner, given = (jnp.pad(a[:, down:, right:], border)[:, :, None, :, None] for a in (winners, g))
        pixels += jnp.where(winner == place, given, jnp.zeros_like(given))
    pixels = pixels.reshape(n, 2 * height, 2 * width, c)[:, : x.shape[1], : x.shape[2]]
    return jnp.pad(pixels, ((0, 0), (0, x.shape[1] - pixels.shape[1]), (0, x.shape[2] - pixels.shape[2]), (0, 0)))


def cpu_gradient(x: Array, winners: Array, g: Array, size: int) -> Array:
    """Return `gradient` for the CPU.

    If fused, each pixel recomputes `winners` for each of its windows: cheap for one window of four pixels, not for four
    windows of nine.
    """
    return gradient(x, winners if size == 2 else unfused(winners), g, size)


def _windows(x: Array, size: int) -> list[Array]:
    """Return the pixels of each window, in reading order: size * size arrays of the result's shape."""
    height, width = (x.shape[1] + size - 2) // 2, (x.shape[2] + size - 2) // 2
    if size == 3:
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    return [x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2] for i in range(size) for j in range(size)]
