"""The few operations worth their own lowering or gradient: sharpen, 3x3 convolution, 2x2 up-convolution and max-pool.

Every array is NHWC, float32 or bfloat16. Each operation has a definition in ordinary `lax`, which is what runs on GPU
and TPU; where XLA's CPU code for it is slow, the CPU gets another lowering of the same function, chosen by
`lax.platform_dependent` while compiling, unless `definitions` asks for the plain one. `tests/test_ops.py` holds every
one of them to its definition, in value and in gradient. Reverse-mode gradients only: `conv3x3` and `max_pool` bring
their own.
"""

import contextvars
import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.typing import ArrayLike

from sharp_unet_jax import winograd

_by_definition = contextvars.ContextVar("_by_definition", default=False)


@contextmanager
def definitions() -> Iterator[None]:
    """What is traced inside is the definition of every operation, on every platform: for other compilers to read."""
    token = _by_definition.set(True)
    try:
        yield
    finally:
        _by_definition.reset(token)


def _by_platform(*inputs: Array, cpu: Callable[..., Any], default: Callable[..., Any]) -> Any:
    if _by_definition.get():
        return default(*inputs)
    return lax.platform_dependent(*inputs, cpu=cpu, default=default)


_NHWC = ("NHWC", "HWIO", "NHWC")

# K of Sharp U-Net, equation (1): the 8-neighbour Laplacian. It sums to zero.
_K = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)
_K5 = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], np.float32)
_DELTA = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32)
# K convolved with the binomial [1, 2, 1] x [1, 2, 1] / 16: section 3.2 of the paper speaks of smoothing first.
_LAPLACIAN_OF_GAUSSIAN = np.array(
    [[-1, -3, -4, -3, -1], [-3, 0, 6, 0, -3], [-4, 6, 20, 6, -4], [-3, 0, 6, 0, -3], [-1, -3, -4, -3, -1]], np.float32
)
# Drawn once, without a meaning: it sums to zero and has the norm of K, and neither its symmetry nor its sign.
_RANDOM = np.array([[-5, -17, 18], [-6, -34, 6], [49, 32, -43]], np.float32)

KERNELS: dict[str, np.ndarray] = {
    "laplacian": _K,
    "sharpen": _DELTA + _K,  # equation (2): I + K * I
    "laplacian_of_gaussian": _LAPLACIAN_OF_GAUSSIAN / 16,
    "laplacian_5point": _K5,
    "unsharp": _DELTA + _K5,
    "scaled": _K / 8,  # K multiplies the scale of white features by about 8.5
    "random": _RANDOM / 10,
    "learnable": _K,  # where a learnable kernel starts
}


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
    >>> print(ops.depthwise(ramp, np.array([[-0.5, 0, 0.5]]))[0, 0, :, 0])  # half the difference of the neighbours
    [ 0.5  1.   1.   1.  -1.5]
    """
    kernel = _per_channel(x, kernel)
    kernel = jnp.broadcast_to(kernel, (*kernel.shape[:3], x.shape[3]))
    return lax.conv_general_dilated(
        _pad(x, kernel, padding), kernel, (1, 1), "VALID", dimension_numbers=_NHWC, feature_group_count=x.shape[3]
    )


def sharpen(x: Array, kernel: str | ArrayLike = "laplacian", padding: str = "zero") -> Array:
    """The sharp block of Sharp U-Net (equation 1): a pure function, without parameters, for any network in JAX.

    It is `depthwise(x, kernel, padding)`, `kernel` also by its name in `KERNELS`: arguments, result and errors are
    those, and ValueError for an unknown name. Under zero padding a constant c gives 0 but at the border: 3c along an
    edge, 5c in a corner.

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

    On the CPU it is the sum of shifted copies, which XLA fuses with what surrounds it: 1/27 of the grouped
    convolution's processor time at 192x256x32.
    """
    if isinstance(kernel, str):
        kernel = _named(kernel)

    def shifted_sum(x: Array, kernel: Array) -> Array:
        kernel = _per_channel(x, kernel)
        padded, (height, width) = _pad(x, kernel, padding).astype(jnp.float32), x.shape[1:3]
        total = jnp.zeros(x.shape, jnp.float32)
        for i, j in np.ndindex(kernel.shape[:2]):
            total += kernel[i, j, None, None] * padded[:, i : i + height, j : j + width]
        # XLA would fuse the sum into the concatenation that follows, pixel by pixel: up to 10 % of a whole step.
        return lax.optimization_barrier(total.astype(x.dtype))

    return _by_platform(
        x, jnp.asarray(kernel), cpu=shifted_sum, default=lambda x, kernel: depthwise(x, kernel, padding)
    )


def _named(name: str) -> np.ndarray:
    if name not in KERNELS:
        nearest = difflib.get_close_matches(name, KERNELS, n=1, cutoff=0)[0]
        raise ValueError(f"unknown kernel {name!r}: did you mean {nearest!r}? known: {', '.join(KERNELS)}")
    return KERNELS[name]


def _per_channel(x: Array, kernel: ArrayLike) -> Array:
    """(h, w) or (h, w, C) -> (h, w, 1, 1 or C), in the type of x."""
    kernel = jnp.asarray(kernel, x.dtype)
    odd = kernel.ndim in (2, 3) and kernel.shape[0] % 2 == 1 == kernel.shape[1] % 2
    if not odd or kernel.shape[2:] not in ((), x.shape[3:]):
        raise ValueError(f"kernel must be (h, w) or (h, w, C) with odd h and w, not {kernel.shape}, for x {x.shape}")
    return kernel[:, :, None, None] if kernel.ndim == 2 else kernel[:, :, None, :]


def _pad(x: Array, kernel: Array, padding: str) -> Array:
    """Widen H and W by half a kernel on each side."""
    top, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    if padding == "zero":
        return jnp.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    if padding != "reflect":
        raise ValueError(f"padding must be 'zero' or 'reflect', not {padding!r}")
    if x.shape[1] <= top or x.shape[2] <= left:
        raise ValueError(f"padding 'reflect' needs an image larger than {top}x{left}, not {x.shape[1]}x{x.shape[2]}")
    return jnp.pad(x, ((0, 0), (top, top), (left, left), (0, 0)), mode="reflect")


def _convolve(x: Array, w: Array) -> Array:
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=_NHWC)


@jax.custom_vjp
def conv3x3(x: Array, w: Array) -> Array:
    """3x3 convolution, stride 1, zero "SAME" padding: x (N, H, W, I), w (3, 3, I, O) of one type -> (N, H, W, O)."""
    return _by_platform(x, w, cpu=_convolve_on_cpu, default=_convolve)


def _conv3x3_forward(x: Array, w: Array) -> tuple[Array, tuple[Array, Array]]:
    return conv3x3(x, w), (x, w)


def _conv3x3_backward(residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    def plain(x: Array, w: Array, g: Array) -> tuple[Array, Array]:
        return jax.vjp(_convolve, x, w)[1](g)

    def on_cpu(x: Array, w: Array, g: Array) -> tuple[Array, Array]:
        if not _winograd_pays(x, w):
            return plain(x, w, g)
        return winograd.input_gradient(w, g), winograd.filter_gradient(x, g)

    return _by_platform(*residuals, g, cpu=on_cpu, default=plain)


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)


def _convolve_on_cpu(x: Array, w: Array) -> Array:
    return winograd.convolve(x, w) if _winograd_pays(x, w) else _convolve(x, w)


def _winograd_pays(x: Array, w: Array) -> bool:
    """Not with few channels or pixels: their products cost less than the transform of x or w. bfloat16 loses digits."""
    pixels = x.shape[0] * x.shape[1] * x.shape[2]
    return x.dtype == jnp.float32 and min(w.shape[2:]) >= 32 and x.shape[2] >= 8 and pixels >= 512


def up_conv(x: Array, w: Array) -> Array:
    """2x2 transposed convolution, stride 2: x (N, H, W, I), w (2, 2, I, O) -> (N, 2H, 2W, O).

    out[n, 2i + a, 2j + b] = x[n, i, j] @ w[a, b]: the windows do not overlap, so each of two rows is a matrix product
    whose columns lie as they do in the image, on every platform. Equal to
    `lax.conv_transpose(x, w[::-1, ::-1], (2, 2), "VALID")`; Keras stores the same w as (2, 2, O, I), PyTorch as
    (I, O, 2, 2).
    """
    n, height, width, inputs = x.shape
    rows = [x @ w[a].swapaxes(0, 1).reshape(inputs, -1) for a in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(n, 2 * height, 2 * width, w.shape[3])


def _reduce_max(x: Array) -> Array:
    return nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))


@jax.custom_vjp
def max_pool(x: Array) -> Array:
    """Largest of each 2x2 window, stride 2: (N, H, W, C) -> (N, H // 2, W // 2, C); an odd last row or column is lost.

    The first largest of a window, in reading order, gets the whole gradient, as with `lax.reduce_window`: behind a ReLU
    many windows tie at 0.
    """
    return _reduce_max(x)


def _max_pool_forward(x: Array) -> tuple[Array, Array]:
    return _reduce_max(x), x


def _max_pool_backward(x: Array, g: Array) -> tuple[Array]:
    return (_by_platform(x, g, cpu=_scatter, default=lambda x, g: jax.vjp(_reduce_max, x)[1](g)[0]),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _scatter(x: Array, g: Array) -> Array:
    """The gradient of `max_pool`, by comparing the four pixels of each window."""
    n, height, width, c = g.shape
    windows = x[:, : 2 * height, : 2 * width].reshape(n, height, 2, width, 2, c)
    a, b, c_, d = (windows[:, :, i, :, j] for i in (0, 1) for j in (0, 1))
    upper, left_above, left_below = jnp.maximum(a, b) >= jnp.maximum(c_, d), a >= b, c_ >= d
    zero = jnp.zeros_like(g)
    above = jnp.stack([jnp.where(upper & left_above, g, zero), jnp.where(upper & ~left_above, g, zero)], axis=3)
    below = jnp.stack([jnp.where(~upper & left_below, g, zero), jnp.where(~upper & ~left_below, g, zero)], axis=3)
    inside = jnp.stack([above, below], axis=2).reshape(n, 2 * height, 2 * width, c)
    return jnp.pad(inside, ((0, 0), (0, x.shape[1] - 2 * height), (0, x.shape[2] - 2 * width), (0, 0)))
