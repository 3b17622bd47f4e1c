"""Max-pool, and its gradient without a scatter."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from sharp_unet_jax.ops import definitions
from sharp_unet_jax.ops.cpu_barrier import unfused
from sharp_unet_jax.ops.platform import by_platform


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(x: Array, size: int = 2) -> Array:
    """Largest of each window of size x size pixels, stride 2: x (N, H, W, C), size 2 or 3.

    Of 2x2: (N, H // 2, W // 2, C); an odd last row or column is lost. Of 3x3, with one pixel of padding that never
    wins: (N, (H + 1) // 2, (W + 1) // 2, C).

    The first largest of a window, in reading order, gets the whole gradient, as with `lax.reduce_window`: behind a ReLU
    many windows tie at 0.
    """

    def largest(x: Array) -> Array:
        return functools.reduce(jnp.maximum, _windows(x, size))

    return by_platform(x, cpu=largest, cuda=largest, default=functools.partial(definitions.max_pool, size=size))


def _max_pool_forward(x: Array, size: int) -> tuple[Array, tuple[Array, Array]]:
    return max_pool(x, size), (x, _which(_windows(x, size)))


def _max_pool_backward(size: int, residuals: tuple[Array, Array], g: Array) -> tuple[Array]:
    def plain(x: Array, which: Array, g: Array) -> Array:  # noqa: ARG001
        return jax.vjp(functools.partial(definitions.max_pool, size=size), x)[1](g)[0]

    def on_cpu(x: Array, which: Array, g: Array) -> Array:
        # Fused, every pixel finds it again: of one window of four it may, of four windows of nine not.
        return _select(x, which if size == 2 else unfused(which), g, size)

    return (by_platform(*residuals, g, cpu=on_cpu, cuda=functools.partial(_select, size=size), default=plain),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _windows(x: Array, size: int) -> list[Array]:
    """The pixels of each window, in reading order: size * size arrays of the result's shape."""
    height, width = (x.shape[1] + size - 2) // 2, (x.shape[2] + size - 2) // 2
    if size == 3:
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    return [x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2] for i in range(size) for j in range(size)]


def _which(windows: list[Array]) -> Array:
    """The place of the first largest of each window in reading order, from 0, uint8."""
    largest, which = windows[0], jnp.zeros(windows[0].shape, jnp.uint8)
    for place, pixel in enumerate(windows[1:], 1):
        which = jnp.where(pixel > largest, jnp.uint8(place), which)
        largest = jnp.maximum(largest, pixel)
    return which


def _select(x: Array, which: Array, g: Array, size: int) -> Array:
    """The gradient of `max_pool`, for each pixel by itself: a scatter would be several times as slow."""
    n, height, width, c = g.shape
    # Which row of a window an even and an odd row of pixels is: of the window of their pair, and of the next one.
    # Columns are the same. 9 is none.
    rows = {2: [(0, 1)], 3: [(1, 2), (9, 0)]}[size]
    pixels = jnp.zeros((n, height, 2, width, 2, c), g.dtype)
    for (down, row), (right, column) in itertools.product(enumerate(rows), repeat=2):
        place = np.add.outer(size * np.array(row), column).astype(np.uint8).reshape(1, 1, 2, 1, 2, 1)
        border = ((0, 0), (0, down), (0, right), (0, 0))
        found, given = (jnp.pad(a[:, down:, right:], border)[:, :, None, :, None] for a in (which, g))
        pixels += jnp.where(found == place, given, jnp.zeros_like(given))
    pixels = pixels.reshape(n, 2 * height, 2 * width, c)[:, : x.shape[1], : x.shape[2]]
    return jnp.pad(pixels, ((0, 0), (0, x.shape[1] - pixels.shape[1]), (0, x.shape[2] - pixels.shape[2]), (0, 0)))
