"""What each operation is, in ordinary `lax`: to be read first. A TPU runs these, and other compilers read them.

A function here has the name of the one in `sharp_unet_jax.ops` that it defines, and shapes and types are said there.
"""

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import ArrayLike

from sharp_unet_jax.ops import kernels

NHWC = ("NHWC", "HWIO", "NHWC")


def depthwise(x: Array, kernel: ArrayLike, padding: str = "zero") -> Array:
    """Correlate every channel with its own small kernel, stride 1, same size: the definition of `sharpen`.

    Args:
      x: (N, H, W, C).
      kernel: (h, w), shared by all channels, or (h, w, C); h and w odd. Cast to the type of x.
      padding: "zero", or "reflect" (the edge pixel is not repeated), which needs H > h // 2 and W > w // 2.

    Returns: (N, H, W, C), the type of x.

    Raises ValueError for a kernel of another shape, another padding, or an image too small for "reflect".

    >>> from sharp_unet_jax import ops
    >>> ramp = jnp.arange(5.0).reshape(1, 1, 5, 1)
    >>> print(ops.depthwise(ramp, jnp.array([[-0.5, 0, 0.5]]))[0, 0, :, 0])  # half the difference of the neighbours
    [ 0.5  1.   1.   1.  -1.5]
    """
    kernel = kernels.per_channel(x, kernel)
    kernel = jnp.broadcast_to(kernel, (*kernel.shape[:3], x.shape[3]))
    inside = "SAME" if padding == "zero" else "VALID"  # with padding of its own its gradient needs none to be cut off
    x = x if padding == "zero" else kernels.pad(x, kernel, padding)
    return lax.conv_general_dilated(x, kernel, (1, 1), inside, dimension_numbers=NHWC, feature_group_count=x.shape[3])


def conv3x3(x: Array, w: Array, bias: Array | None = None) -> Array:
    """3x3 convolution, stride 1, zero padding, plus bias."""
    y = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC)
    return y if bias is None else add_bias(y, bias)


def conv1x1(x: Array, w: Array, stride: int = 1) -> Array:
    """1x1 convolution: of every `stride`-th pixel."""
    return lax.conv_general_dilated(x, w, (stride, stride), "VALID", dimension_numbers=NHWC)


def sharp_skip(below: Array, x: Array, kernel: ArrayLike, padding: str = "zero") -> Array:
    """The decoder's map, and beside it the encoder's, sharpened."""
    return jnp.concatenate([below, depthwise(x, kernel, padding)], axis=-1)


def add_bias(x: Array, bias: Array) -> Array:
    """One number for each channel."""
    return x + bias.reshape(1, 1, 1, -1)


def up_conv(x: Array, w: Array) -> Array:
    """out[n, 2i + a, 2j + b] = x[n, i, j] @ w[a, b]: the windows do not overlap."""
    n, height, width, inputs = x.shape
    y = x @ w.transpose(2, 0, 1, 3).reshape(inputs, -1)
    return y.reshape(n, height, width, 2, 2, -1).swapaxes(2, 3).reshape(n, 2 * height, 2 * width, -1)


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return lax.max(x, jnp.zeros_like(x))


def max_pool(x: Array, size: int) -> Array:
    """Largest of each window, stride 2, padded by -inf. jax2onnx would forget the padding as an option of the pool."""
    if size == 3:
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    return nnx.max_pool(x, window_shape=(size, size), strides=(2, 2))
