"""3x3 convolution: by Winograd on the CPU, several columns at once on a GPU. 1x1: a product of matrices."""

import functools

import jax
import jax.numpy as jnp
from jax import Array

from sharp_unet_jax.ops import cpu_winograd, definitions, gpu_columns
from sharp_unet_jax.ops.platform import by_platform
from sharp_unet_jax.ops.pointwise import sum_over_pixels


def conv1x1(x: Array, w: Array, stride: int = 1) -> Array:
    """1x1 convolution: x (N, H, W, I), w (1, 1, I, O) -> (N, ceil(H / stride), ceil(W / stride), O)."""

    def product(x: Array, w: Array) -> Array:
        # Pixels are one axis: of several, XLA's CPU code would copy transposed what the filter's gradient reads.
        x = x[:, ::stride, ::stride]
        return (x.reshape(-1, x.shape[3]) @ w[0, 0]).reshape(*x.shape[:3], -1)

    if stride == 1:
        return product(x, w)
    # Of a product of every other pixel XLA's compiler for GPUs can abort the process (openxla/xla#47381).
    return by_platform(x, w, cpu=product, default=functools.partial(definitions.conv1x1, stride=stride))


@jax.custom_vjp
def conv3x3(x: Array, w: Array, bias: Array | None = None) -> Array:
    """3x3 convolution, stride 1, zero "SAME" padding: x (N, H, W, I), w (3, 3, I, O) of one type -> (N, H, W, O).

    `bias` (O,) is added, in the same type: a GPU does so as it writes.
    """
    return by_platform(x, w, bias, cpu=_on_cpu, cuda=gpu_columns.convolve, default=definitions.conv3x3)


def _conv3x3_forward(x: Array, w: Array, bias: Array | None) -> tuple[Array, tuple[Array, Array, Array | None]]:
    return conv3x3(x, w, bias), (x, w, bias)


def _conv3x3_backward(residuals: tuple[Array, Array, Array | None], g: Array) -> tuple[Array, Array, Array | None]:
    x, w, bias = residuals

    def derived(x: Array, w: Array, g: Array) -> tuple[Array, Array]:
        return jax.vjp(definitions.conv3x3, x, w)[1](g)

    def on_cpu(x: Array, w: Array, g: Array) -> tuple[Array, Array]:
        if not _winograd_pays(x, w):
            return derived(x, w, g)
        return cpu_winograd.input_gradient(w, g), cpu_winograd.filter_gradient(x, g)

    def on_gpu(x: Array, w: Array, g: Array) -> tuple[Array, Array]:
        return gpu_columns.convolve(g, w[::-1, ::-1].swapaxes(2, 3)), gpu_columns.filter_gradient(x, w, g)

    of_x, of_w = by_platform(x, w, g, cpu=on_cpu, cuda=on_gpu, default=derived)
    return of_x, of_w, None if bias is None else sum_over_pixels(g)


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)


def _on_cpu(x: Array, w: Array, bias: Array | None) -> Array:
    if not _winograd_pays(x, w):
        return definitions.conv3x3(x, w, bias)
    y = cpu_winograd.convolve(x, w)
    return y if bias is None else definitions.add_bias(y, bias)


def _winograd_pays(x: Array, w: Array) -> bool:
    """Not with few channels or pixels: their products cost less than the transform of x or w. bfloat16 loses digits."""
    pixels = x.shape[0] * x.shape[1] * x.shape[2]
    return x.dtype == jnp.float32 and min(w.shape[2:]) >= 32 and x.shape[2] >= 8 and pixels >= 512
