"""Convolutions on the CPU: matrix products, and Winograd's algorithm where it pays."""

import jax.numpy as jnp
from jax import Array

from sharp_unet_jax.ops import cpu_winograd, definitions


def conv1x1(x: Array, w: Array, stride: int) -> Array:
    """1x1 convolution as a matrix product of every `stride`-th pixel."""
    return definitions.conv1x1(x[:, ::stride, ::stride], w)


def up_conv(x: Array, w: Array) -> Array:
    """Up-convolution as two matrix products, one for each output row of a pixel.

    The columns of each product lie as in the output image. XLA's CPU code would transpose the activations of a single
    product, and the result back. With pixels on several axes, it would also transpose the input of the filter's
    gradient.
    """
    n, height, width, inputs = x.shape
    pixels = x.reshape(-1, inputs)
    rows = [(pixels @ w[a].swapaxes(0, 1).reshape(inputs, -1)).reshape(n, height, width, -1) for a in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(n, 2 * height, 2 * width, -1)


def conv3x3(x: Array, w: Array, bias: Array | None) -> Array:
    """3x3 convolution, by Winograd's algorithm where it pays."""
    if not _winograd_pays(x, w):
        return definitions.conv3x3(x, w, bias)
    y = cpu_winograd.convolve(x, w)
    return y if bias is None else definitions.add_bias(y, bias)


def conv3x3_gradients(x: Array, w: Array, g: Array) -> tuple[Array, ...]:
    """Return the gradients of `conv3x3` for x and w."""
    if not _winograd_pays(x, w):
        return definitions.gradients(definitions.conv3x3, x, w, g)
    return cpu_winograd.input_gradient(w, g), cpu_winograd.filter_gradient(x, g)


def _winograd_pays(x: Array, w: Array) -> bool:
    """Return True with enough channels and pixels: the products of few cost less than the transform of x or w.

    bfloat16 would lose digits.
    """
    pixels = x.shape[0] * x.shape[1] * x.shape[2]
    return x.dtype == jnp.float32 and min(w.shape[2:]) >= 32 and x.shape[2] >= 8 and pixels >= 512
