"""The sharp block: shifted copies on the CPU, neighbours by index on a GPU, a grouped convolution elsewhere."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from sharp_unet_jax.ops.cpu_barrier import unfused
from sharp_unet_jax.ops.definitions import depthwise
from sharp_unet_jax.ops.kernels import named, pad, per_channel
from sharp_unet_jax.ops.platform import by_platform


def sharpen(x: Array, kernel: str | ArrayLike = "laplacian", padding: str = "zero") -> Array:
    """The sharp block of Sharp U-Net (equation 1): a pure function, without parameters, for any network in JAX.

    It is `depthwise(x, kernel, padding)`, `kernel` also by its name in `KERNELS`: arguments, result and errors are
    those, and ValueError for an unknown name. Gradients are reverse-mode alone. Under zero padding a constant c gives 0
    but at the border: 3c along an edge, 5c in a corner.

    >>> from sharp_unet_jax import ops
    >>> constant = jnp.ones((1, 3, 3, 1))
    >>> print(ops.sharpen(constant)[0, :, :, 0])
    [[5. 3. 5.]
     [3. 0. 3.]
     [5. 3. 5.]]
    >>> print(ops.sharpen(constant, "sharpen", "reflect")[0, :, :, 0])  # 1 more in the centre: a constant stays
    [[1. 1. 1.]
     [1. 1. 1.]
     [1. 1. 1.]]

    On the CPU it is a sum of shifted copies, where the grouped convolution takes 27 times the processor time and more
    (192x256x32). On a GPU neighbours are read by index, which XLA fuses with what surrounds it.
    """
    return _sharpen(x, _array(kernel), padding)


def sharp_skip(below: Array, x: Array, kernel: str | ArrayLike = "laplacian", padding: str = "zero") -> Array:
    """A sharp skip connection: the decoder's map (N, H, W, D) and the sharpened encoder's (N, H, W, C), of one type.

    It is `concatenate([below, sharpen(x, kernel, padding)], axis=-1)`, (N, H, W, D + C), with the same errors. One
    operation for its gradient's sake: a GPU reads the neighbours in what comes back where they lie. Of a gradient that
    was cut in two XLA makes a copy first.
    """
    return _sharp_skip(below, x, _array(kernel), padding)


def _array(kernel: str | ArrayLike) -> Array:
    return jnp.asarray(named(kernel) if isinstance(kernel, str) else kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _sharpen(x: Array, kernel: Array, padding: str) -> Array:
    return by_platform(
        x,
        kernel,
        cpu=functools.partial(_inside_first, padding=padding),
        cuda=functools.partial(_gathered, padding=padding),
        default=functools.partial(depthwise, padding=padding),
    )


def _sharpen_forward(x: Array, kernel: Array, padding: str) -> tuple[Array, tuple[Array, Array]]:
    return _sharpen(x, kernel, padding), (x, kernel)


def _sharpen_backward(padding: str, residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    return _gradients(*residuals, g, padding)


_sharpen.defvjp(_sharpen_forward, _sharpen_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _sharp_skip(below: Array, x: Array, kernel: Array, padding: str) -> Array:
    return jnp.concatenate([below, _sharpen(x, kernel, padding)], axis=-1)


def _sharp_skip_forward(below: Array, x: Array, kernel: Array, padding: str) -> tuple[Array, tuple[Array, Array]]:
    return _sharp_skip(below, x, kernel, padding), (x, kernel)


def _sharp_skip_backward(padding: str, residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array, Array]:
    first = g.shape[-1] - residuals[0].shape[-1]
    return g[..., :first], *_gradients(*residuals, g, padding, first)


_sharp_skip.defvjp(_sharp_skip_forward, _sharp_skip_backward)


def _gradients(x: Array, kernel: Array, g: Array, padding: str, first: int = 0) -> tuple[Array, Array]:
    """Of x and the kernel, from what comes back: g (N, H, W, first + C), whose `first` channels are not of x."""

    def derived(operation: Callable[..., Array], x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        return jax.vjp(functools.partial(operation, padding=padding), x, kernel)[1](g[..., first:])

    def cpu(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        of_x, of_kernel = derived(_shifted_sum, x, kernel, g)
        if padding == "zero":  # the same with the kernel turned
            of_x = _inside_first(g[..., first:], kernel[::-1, ::-1], padding)
        return of_x, of_kernel

    def cuda(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        of_x, of_kernel = derived(depthwise, x, kernel, g)
        if padding == "zero":
            # XLA makes one kernel of this and the sums for biases before and after it. The one for sums of up to 32
            # channels takes the nine reads along, the one for more is slower by more than a pass of their own.
            apart = lax.optimization_barrier if x.shape[-1] > 32 else lambda x: x
            of_x = apart(_gathered(apart(g), kernel[::-1, ::-1], padding, first))
        return of_x, of_kernel

    return by_platform(x, kernel, g, cpu=cpu, cuda=cuda, default=functools.partial(derived, depthwise))


def _shifted_sum(x: Array, kernel: Array, padding: str) -> Array:
    kernel = per_channel(x, kernel)
    return _inside(pad(x, kernel, padding), kernel)


def _inside(x: Array, kernel: Array) -> Array:
    """The sum of shifted copies where all of the kernel (h, w, 1, 1 or C) lies on x: h - 1 rows, w - 1 columns less."""
    height, width = x.shape[1] - kernel.shape[0] + 1, x.shape[2] - kernel.shape[1] + 1
    total = jnp.zeros((x.shape[0], height, width, x.shape[3]), jnp.float32)
    for i, j in np.ndindex(kernel.shape[:2]):
        total += kernel[i, j, None, None] * x[:, i : i + height, j : j + width].astype(jnp.float32)
    return total.astype(x.dtype)


def _inside_first(x: Array, kernel: Array, padding: str) -> Array:
    """`_shifted_sum` with padding for the border alone: a padded copy of all would be a second pass over memory."""
    top, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    if x.shape[1] <= 2 * top or x.shape[2] <= 2 * left:
        return _shifted_sum(x, kernel, padding)

    def near(edge: Array) -> Array:  # right where the edge is, not where it was cut off
        return _shifted_sum(edge, kernel, padding)

    y = jnp.pad(_inside(x, per_channel(x, kernel)), ((0, 0), (top, top), (left, left), (0, 0)))
    if top:
        y = y.at[:, :top].set(near(x[:, : 2 * top])[:, :top])
        y = y.at[:, -top:].set(near(x[:, -2 * top :])[:, -top:])
    if left:
        y = y.at[:, :, :left].set(near(x[:, :, : 2 * left])[:, :, :left])
        y = y.at[:, :, -left:].set(near(x[:, :, -2 * left :])[:, :, -left:])
    return unfused(y)  # the concatenation that follows would compute it pixel by pixel


def _gathered(x: Array, kernel: Array, padding: str, first: int = 0) -> Array:
    """Each neighbour by its index: the border of a padded copy would cost a branch a pixel, and a GPU's wide loads.

    Of x without its `first` channels: were these cut off before, XLA would copy what is left, which is read nine times.
    What counts is the number of instructions, so a line is summed before it is left out where it lies outside.
    """
    if padding != "zero":
        return depthwise(x[..., first:], kernel, padding)
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
