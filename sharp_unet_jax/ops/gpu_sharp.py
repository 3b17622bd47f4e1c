"""The sharp block on a GPU: neighbours are read by index."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sharp_unet_jax.ops import definitions
from sharp_unet_jax.ops.kernels import per_channel


def sharpen(x: Array, kernel: Array, padding: str, first: int = 0) -> Array:
    """Sharpen x without its first `first` channels. Padding "reflect" gets the definition.

    A padded copy would cost a branch for each pixel and prevent the GPU's wide loads. If x is sliced first, XLA copies
    the slice, because it is read nine times.

    The time depends on the number of instructions: a row of neighbours is summed first, and then left out as a whole
    where it lies outside the image.
    """
    if padding != "zero":
        return definitions.depthwise(x[..., first:], kernel, padding)
    (n, height, width, c), (top, left) = x.shape, (kernel.shape[0] // 2, kernel.shape[1] // 2)
    kernel, pixels = per_channel(x[..., first:], kernel), x.reshape(n, height * width, c)
    row, column = jnp.divmod(jnp.arange(height * width), width)
    total = jnp.zeros((n, height, width, c - first), jnp.float32)
    for i, down in enumerate(range(-top, top + 1)):
        rows, line = np.arange(height) + down, jnp.zeros_like(total)
        for j, right in enumerate(range(-left, left + 1)):
            columns = np.arange(width) + right
            index = jnp.clip(row + down, 0, height - 1) * width + jnp.clip(column + right, 0, width - 1)
            neighbour = jnp.take(pixels, index, axis=1, mode="clip").reshape(x.shape)[..., first:].astype(jnp.float32)
            if right:
                neighbour = jnp.where(((columns >= 0) & (columns < width)).reshape(1, 1, -1, 1), neighbour, 0)
            line += kernel[i, j, None, None].astype(jnp.float32) * neighbour
        total += jnp.where(((rows >= 0) & (rows < height)).reshape(1, -1, 1, 1), line, 0) if down else line
    return total.astype(x.dtype)


def gradients(x: Array, kernel: Array, g: Array, padding: str, first: int) -> tuple[Array, Array]:
    """Return the gradients for x and the kernel: g is (N, H, W, first + C); its first `first` channels are unused."""
    dx, dkernel = jax.vjp(functools.partial(definitions.depthwise, padding=padding), x, kernel)[1](g[..., first:])
    if padding == "zero":
        # XLA fuses this with the sums for biases before and after it, into one GPU kernel. Up to 32 channels that is
        # cheaper; for more channels a separate pass is.
        apart = lax.optimization_barrier if x.shape[-1] > 32 else lambda x: x
        dx = apart(sharpen(apart(g), kernel[::-1, ::-1], padding, first))
    return dx, dkernel
