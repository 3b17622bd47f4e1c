"""Every operation in plain `lax`. Read this file first.

A TPU runs these functions, and `by_definition` asks for them on every platform. Each function has the name of the
operation in `sharp_unet_jax.ops` that it defines; shapes, dtypes and errors are documented there. The gradient of an
operation is JAX's derivative of its definition. Two gradients that are cheaper when written by hand stand at the end.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import ArrayLike

from sharp_unet_jax.ops import bilinear, kernels

NHWC = ("NHWC", "HWIO", "NHWC")


def depthwise(x: Array, kernel: ArrayLike, padding: str = "zero") -> Array:
    """Correlate every channel with its own small kernel, stride 1, output size equal to input size.

    Args:
      x: (N, H, W, C).
      kernel: (h, w), shared by all channels, or (h, w, C); h and w odd. Cast to the dtype of x.
      padding: "zero", or "reflect" (the edge pixel is not repeated), which needs H > h // 2 and W > w // 2.

    Returns: (N, H, W, C), the dtype of x.

    Raises ValueError for another kernel shape, another padding, or an image too small for "reflect".

    >>> from sharp_unet_jax import ops
    >>> ramp = jnp.arange(5.0).reshape(1, 1, 5, 1)
    >>> print(ops.depthwise(ramp, jnp.array([[-0.5, 0, 0.5]]))[0, 0, :, 0])  # half the difference of the neighbours
    [ 0.5  1.   1.   1.  -1.5]
    """
    kernel = kernels.per_channel(x, kernel)
    kernel = jnp.broadcast_to(kernel, (*kernel.shape[:3], x.shape[3]))
    # Zero padding is an option of the convolution: its gradient then has no padding to slice off.
    inside = "SAME" if padding == "zero" else "VALID"
    x = x if padding == "zero" else kernels.pad(x, kernel, padding)
    return lax.conv_general_dilated(x, kernel, (1, 1), inside, dimension_numbers=NHWC, feature_group_count=x.shape[3])


def sharpen(x: Array, kernel: str | ArrayLike = "laplacian", padding: str = "zero") -> Array:
    """Depthwise convolution with a kernel given by name or as an array."""
    return depthwise(x, kernels.as_array(kernel), padding)


def sharp_skip(below: Array, x: Array, kernel: str | ArrayLike = "laplacian", padding: str = "zero") -> Array:
    """Concatenate the decoder's map `below` and the sharpened encoder map x along the channels."""
    return jnp.concatenate([below, sharpen(x, kernel, padding)], axis=-1)


def conv3x3(x: Array, w: Array, bias: Array | None = None) -> Array:
    """3x3 convolution, stride 1, zero padding, plus bias."""
    y = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC)
    return y if bias is None else add_bias(y, bias)


def conv1x1(x: Array, w: Array, stride: int = 1) -> Array:
    """1x1 convolution of every `stride`-th pixel; with stride 1 a matrix product."""
    if stride == 1:
        # Pixels are one axis: with several, XLA's CPU code transposes and copies the input of the filter's gradient.
        return (x.reshape(-1, x.shape[3]) @ w[0, 0]).reshape(*x.shape[:3], -1)
    return lax.conv_general_dilated(x, w, (stride, stride), "VALID", dimension_numbers=NHWC)


def up_conv(x: Array, w: Array) -> Array:
    """2x2 transposed convolution, stride 2: out[n, 2i + a, 2j + b] = x[n, i, j] @ w[a, b]."""
    n, height, width, inputs = x.shape
    y = x @ w.transpose(2, 0, 1, 3).reshape(inputs, -1)
    return y.reshape(n, height, width, 2, 2, -1).swapaxes(2, 3).reshape(n, 2 * height, 2 * width, -1)


def max_pool(x: Array, size: int = 2) -> Array:
    """Maximum of each window of size x size pixels, stride 2; 3x3 windows are padded by -inf."""
    if size == 3:  # jax2onnx ignores the padding option of nnx.max_pool
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    return nnx.max_pool(x, window_shape=(size, size), strides=(2, 2))


def enlarge(x: Array, factor: int) -> Array:
    """Bilinear resizing to `factor` times the size, an even number: interpolate along both axes."""
    return bilinear.along(bilinear.along(x, factor, 1), factor, 2)


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return lax.max(x, jnp.zeros_like(x))


def add_bias(x: Array, bias: Array) -> Array:
    """Add one number to each channel."""
    return x + bias.reshape(1, 1, 1, -1)


def normalised(x: Array, share: Array, scale: Array, bias: Array, eps: float) -> tuple[Array, Array, Array]:
    """Normalise every channel by its weighted mean and variance; return y, mean and variance."""
    mean = weighted_sum(share, x)
    var = weighted_sum(share, jnp.square(x - mean[None, None]))
    return (x - mean[None, None]) * (scale * lax.rsqrt(var + eps))[None, None] + bias[None, None], mean, var


def weighted_sum(share: Array, x: Array) -> Array:
    """Sum over all pixels, each times its image's weight: share (N,), x (N, M, C), M pixels per image -> (C,)."""
    rows = x.reshape(-1, x.shape[2])
    share = jnp.repeat(share, x.shape[1])
    return jnp.matmul(share, rows, precision=lax.Precision.HIGHEST)  # float32, whatever the network's dtype is


def gradients(operation: Callable[..., Array], *inputs_and_g: Array) -> tuple[Array, ...]:
    """Return JAX's gradients of `operation` for its inputs: (operation, *inputs, g) -> one gradient per input."""
    *inputs, g = inputs_and_g
    return jax.vjp(operation, *inputs)[1](g)


def relu_gradient(y: Array, g: Array) -> Array:
    """Return the gradient of `relu` from its result y; it is 0 where y is 0."""
    # With y > 0, XLA would rewrite the condition as x > 0 and keep x in memory.
    return jnp.where(y == 0, jnp.zeros_like(g), g)


def bias_gradient(g: Array) -> Array:
    """Return the gradient of `add_bias` for the bias: g (N, H, W, C) -> (C,), summed in float32."""
    rows = jnp.sum(g, axis=2, dtype=jnp.float32)
    return jnp.sum(lax.optimization_barrier(rows), axis=(0, 1)).astype(g.dtype)
