"""Convolutions on the CPU: matrix products, and Winograd's algorithm where it pays."""

import jax.numpy as jnp
from jax import Array, lax

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
    """3x3 convolution, by Winograd's algorithm or by columns where that pays."""
    if _winograd_pays(x, w):
        y = cpu_winograd.convolve(x, w)
    elif x.dtype == jnp.float32 and 4 <= w.shape[3] <= w.shape[2] // 3:
        y = _by_columns(x, w)
    else:
        return definitions.conv3x3(x, w, bias)
    return y if bias is None else definitions.add_bias(y, bias)


def conv3x3_gradients(x: Array, w: Array, g: Array) -> tuple[Array, ...]:
    """Return the gradients of `conv3x3` for x and w."""
    if _winograd_pays(x, w):
        return cpu_winograd.input_gradient(w, g), cpu_winograd.filter_gradient(x, g)
    dx, dw = definitions.gradients(definitions.conv3x3, x, w, g)
    few = w.shape[3] < w.shape[2] and 9 * w.shape[3] < x.shape[0] * x.shape[1] * x.shape[2]
    return dx, _filter_gradient_of_few_outputs(x, g) if few else dw


def _by_columns(x: Array, w: Array) -> Array:
    """3x3 convolution to few outputs: a 3x1 one with the columns of w as outputs, and the sum of three shifted results.

    XLA copies each input nine times for a 3x3 convolution, three times for a 3x1 one. With few outputs the copies cost
    more than the products.
    """
    tall = w.swapaxes(1, 2).reshape(3, 1, w.shape[2], -1)
    y = lax.conv_general_dilated(x, tall, (1, 1), ((1, 1), (0, 0)), dimension_numbers=definitions.NHWC)
    left, centre, right = (y.reshape(*x.shape[:3], 3, -1)[:, :, :, column] for column in range(3))
    beside = (0, 0, 0), (0, 0, 0)
    left = lax.pad(left, jnp.zeros((), x.dtype), (*beside, (1, -1, 0), (0, 0, 0)))
    right = lax.pad(right, jnp.zeros((), x.dtype), (*beside, (-1, 1, 0), (0, 0, 0)))
    return left + centre + right


def _filter_gradient_of_few_outputs(x: Array, g: Array) -> Array:
    """Return the gradient of the convolution for w, as the gradient of one from g to x, turned by 180 degrees.

    The two gradients correlate the same pixels. XLA copies the input of the convolution nine times, and g is smaller
    than x.
    """
    w = jnp.zeros((3, 3, g.shape[3], x.shape[3]), x.dtype)
    _, turned = definitions.gradients(definitions.conv3x3, g, w, x)
    return turned[::-1, ::-1].swapaxes(2, 3)


def _winograd_pays(x: Array, w: Array) -> bool:
    """Return True with enough channels and pixels: the products of few cost less than the transform of x or w.

    bfloat16 would lose digits.
    """
    pixels = x.shape[0] * x.shape[1] * x.shape[2]
    return x.dtype == jnp.float32 and min(w.shape[2:]) >= 32 and x.shape[2] >= 8 and pixels >= 512
