"""Convolutions of 1x1 and 3x3, and the up-convolution: the lowering for each platform, and the gradients."""

import functools

import jax
from jax import Array

from sharp_unet_jax.ops import cpu_conv, definitions, gpu_columns
from sharp_unet_jax.ops.platform import by_platform
from sharp_unet_jax.ops.pointwise import bias_gradient


def conv1x1(x: Array, w: Array, stride: int = 1) -> Array:
    """1x1 convolution: x (N, H, W, I), w (1, 1, I, O) -> (N, ceil(H / stride), ceil(W / stride), O)."""
    if stride == 1:
        return definitions.conv1x1(x, w)
    # A GPU gets the convolution: on a matrix product of every other pixel, XLA's GPU compiler can abort the process
    # (openxla/xla#47381).
    strided = functools.partial(definitions.conv1x1, stride=stride)
    return by_platform(x, w, cpu=functools.partial(cpu_conv.conv1x1, stride=stride), default=strided)


def up_conv(x: Array, w: Array) -> Array:
    """2x2 transposed convolution, stride 2: x (N, H, W, I), w (2, 2, I, O) -> (N, 2H, 2W, O).

    Equal to `lax.conv_transpose(x, w[::-1, ::-1], (2, 2), "VALID")`. Keras stores the same w as (2, 2, O, I), PyTorch
    as (I, O, 2, 2).
    """
    return by_platform(x, w, cpu=cpu_conv.up_conv, default=definitions.up_conv)


@jax.custom_vjp
def conv3x3(x: Array, w: Array, bias: Array | None = None) -> Array:
    """3x3 convolution, stride 1, zero "SAME" padding: x (N, H, W, I), w (3, 3, I, O) -> (N, H, W, O).

    `bias` (O,), if given, is added; a GPU adds it as it writes the result. All arrays have one dtype.
    """
    return by_platform(x, w, bias, cpu=cpu_conv.conv3x3, cuda=gpu_columns.conv3x3, default=definitions.conv3x3)


def _conv3x3_forward(x: Array, w: Array, bias: Array | None) -> tuple[Array, tuple[Array, Array, Array | None]]:
    return conv3x3(x, w, bias), (x, w, bias)


def _conv3x3_backward(residuals: tuple[Array, Array, Array | None], g: Array) -> tuple[Array, Array, Array | None]:
    x, w, bias = residuals
    derived = functools.partial(definitions.gradients, definitions.conv3x3)
    dx, dw = by_platform(x, w, g, cpu=cpu_conv.conv3x3_gradients, cuda=gpu_columns.conv3x3_gradients, default=derived)
    return dx, dw, None if bias is None else bias_gradient(g)


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)
