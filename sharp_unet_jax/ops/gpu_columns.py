"""The 3x3 convolution of few channels on a GPU: several columns of the image at once.

The matrix units of a GPU process 64 channels at a time. A convolution with 32 output channels leaves half of them idle,
one with 3 input channels even more. Neighbouring columns can be the channels of another convolution with the same sums:
its filter holds the given filter once for each column, and zeros elsewhere. In memory nothing moves: rows of (W, C) are
rows of (W / p, p C).

This is for bfloat16, the dtype of these units. Other dtypes get the definition.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from sharp_unet_jax.ops import definitions

_UNITS = 64  # channels


def conv3x3(x: Array, w: Array, bias: Array | None = None) -> Array:
    """3x3 convolution, stride 1, zero padding, plus bias: x (N, H, W, I), w (3, 3, I, O), (O,) -> (N, H, W, O)."""
    inputs, outputs = w.shape[2:]
    if inputs < 8:
        return _blocks(x, w, bias, 8)
    return _strides(x, w, bias, _UNITS // outputs if outputs in (8, 16, 32) else 1)


def conv3x3_gradients(x: Array, w: Array, g: Array) -> tuple[Array, Array]:
    """Return the gradients of `conv3x3` for x and w: x (N, H, W, I), w (3, 3, I, O), g (N, H, W, O)."""
    return conv3x3(g, w[::-1, ::-1].swapaxes(2, 3)), _filter_gradient(x, w, g)


def _filter_gradient(x: Array, w: Array, g: Array) -> Array:
    def convolved(w: Array) -> Array:
        inputs = w.shape[2]
        return _blocks(x, w, None, min(8, _UNITS // inputs)) if inputs < _UNITS else conv3x3(x, w)

    return jax.vjp(convolved, w)[1](g)[0]


def _strides(x: Array, w: Array, bias: Array | None, p: int) -> Array:
    """Convolve with `p` columns of the output as channels: (p + 2) / 3 times the products."""
    if p == 1 or x.shape[2] % p or x.dtype != jnp.bfloat16:
        return definitions.conv3x3(x, w, bias)
    border = ((1, 1), (1, 1))
    y = lax.conv_general_dilated(x, _repeated(w, p), (1, p), border, dimension_numbers=definitions.NHWC)
    if bias is not None:
        y = definitions.add_bias(y, jnp.tile(bias, p))
    return y.reshape(*x.shape[:3], -1)


def _blocks(x: Array, w: Array, bias: Array | None, p: int) -> Array:
    """Convolve with `p` columns of the output and of the input as channels: p times the products."""
    n, height, width, inputs = x.shape
    if width % p or x.dtype != jnp.bfloat16:
        return definitions.conv3x3(x, w, bias)
    w = jnp.pad(_repeated(w, p), ((0, 0), (p - 1, p - 1), (0, 0), (0, 0))).reshape(3, 3, p * inputs, -1)
    bias = None if bias is None else jnp.tile(bias, p)
    return definitions.conv3x3(x.reshape(n, height, width // p, p * inputs), w, bias).reshape(n, height, width, -1)


def _repeated(w: Array, p: int) -> Array:
    """Repeat the filter for `p` columns, each time one column further right: (3, 3, I, O) -> (3, p + 2, I, p O)."""
    return jnp.concatenate([jnp.pad(w, ((0, 0), (j, p - 1 - j), (0, 0), (0, 0))) for j in range(p)], axis=3)
