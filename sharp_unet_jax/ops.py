"""The few operations worth their own lowering or gradient: sharpen, 3x3 and 2x2 up-convolution, bias, ReLU, max-pool.

Every array is NHWC, float32 or bfloat16. Each operation has a definition in ordinary `lax`, which is what a TPU runs;
where XLA's code for it is slow, the CPU or a GPU gets another lowering of the same function, chosen by
`lax.platform_dependent` while compiling, unless `definitions` asks for the plain one. `tests/test_ops.py` and
`tests/test_gpu.py` hold every one of them to its definition, in value and in gradient. Reverse-mode gradients only:
most bring their own.
"""

import contextvars
import difflib
import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.typing import ArrayLike

from sharp_unet_jax import columns, winograd
from sharp_unet_jax.unfused import unfused

_by_definition = contextvars.ContextVar("_by_definition", default=False)


@contextmanager
def definitions() -> Iterator[None]:
    """What is traced inside is the definition of every operation, on every platform: for other compilers to read."""
    token = _by_definition.set(True)
    try:
        yield
    finally:
        _by_definition.reset(token)


def by_platform(*inputs: Any, default: Callable[..., Any], **platforms: Callable[..., Any]) -> Any:
    """`lax.platform_dependent`, or `default` inside `definitions`."""
    if _by_definition.get():
        return default(*inputs)
    return lax.platform_dependent(*inputs, default=default, **platforms)


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
    inside = "SAME" if padding == "zero" else "VALID"  # with padding of its own its gradient needs none to be cut off
    x = x if padding == "zero" else _pad(x, kernel, padding)
    return lax.conv_general_dilated(x, kernel, (1, 1), inside, dimension_numbers=_NHWC, feature_group_count=x.shape[3])


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
    if isinstance(kernel, str):
        kernel = _named(kernel)
    return _sharpen(x, jnp.asarray(kernel), padding)


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
    def derived(operation: Callable[..., Array]) -> Callable[[Array, Array, Array], tuple[Array, Array]]:
        return lambda x, kernel, g: jax.vjp(functools.partial(operation, padding=padding), x, kernel)[1](g)

    def turned(operation: Callable[..., Array], slower: Callable[..., Array]) -> Callable[..., tuple[Array, Array]]:
        def gradient(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
            of_x, of_kernel = derived(slower)(x, kernel, g)
            if padding == "zero":  # the same with the kernel turned
                of_x = lax.optimization_barrier(operation(g, kernel[::-1, ::-1], padding))  # for a GPU: see `unfused`
            return of_x, of_kernel

        return gradient

    cpu, cuda = turned(_inside_first, _shifted_sum), turned(_gathered, depthwise)
    return by_platform(*residuals, g, cpu=cpu, cuda=cuda, default=derived(depthwise))


_sharpen.defvjp(_sharpen_forward, _sharpen_backward)


def _shifted_sum(x: Array, kernel: Array, padding: str) -> Array:
    kernel = _per_channel(x, kernel)
    return _inside(_pad(x, kernel, padding), kernel)


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

    y = jnp.pad(_inside(x, _per_channel(x, kernel)), ((0, 0), (top, top), (left, left), (0, 0)))
    if top:
        y = y.at[:, :top].set(near(x[:, : 2 * top])[:, :top])
        y = y.at[:, -top:].set(near(x[:, -2 * top :])[:, -top:])
    if left:
        y = y.at[:, :, :left].set(near(x[:, :, : 2 * left])[:, :, :left])
        y = y.at[:, :, -left:].set(near(x[:, :, -2 * left :])[:, :, -left:])
    return unfused(y)  # the concatenation that follows would compute it pixel by pixel


def _gathered(x: Array, kernel: Array, padding: str) -> Array:
    """Each neighbour by its index: the border of a padded copy would cost a branch a pixel, and a GPU's wide loads."""
    (n, height, width, c), (top, left) = x.shape, (kernel.shape[0] // 2, kernel.shape[1] // 2)
    if padding != "zero":
        return depthwise(x, kernel, padding)
    kernel, pixels = _per_channel(x, kernel), x.reshape(n, height * width, c)
    row, column = jnp.divmod(jnp.arange(height * width), width)
    total = jnp.zeros(pixels.shape, jnp.float32)
    for i, j in np.ndindex(kernel.shape[:2]):
        rows, columns = np.arange(height) + i - top, np.arange(width) + j - left
        inside = np.logical_and.outer((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
        index = jnp.clip(row + i - top, 0, height - 1) * width + jnp.clip(column + j - left, 0, width - 1)
        neighbour = pixels if (i, j) == (top, left) else jnp.take(pixels, index, axis=1, mode="clip")
        neighbour = jnp.where(inside.reshape(1, -1, 1), neighbour, jnp.zeros_like(neighbour))
        total += kernel[i, j][None] * neighbour.astype(jnp.float32)
    return total.astype(x.dtype).reshape(x.shape)


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


def _convolve(x: Array, w: Array, bias: Array | None = None) -> Array:
    return _biased(lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=_NHWC), bias)


@jax.custom_vjp
def add_bias(x: Array, bias: Array) -> Array:
    """x (N, H, W, C) plus bias (C,), both of one type."""
    return x + bias.reshape(1, 1, 1, -1)


def _add_bias_forward(x: Array, bias: Array) -> tuple[Array, None]:
    return add_bias(x, bias), None


def _add_bias_backward(_: None, g: Array) -> tuple[Array, Array]:
    return g, _over_pixels(g)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def _over_pixels(g: Array) -> Array:
    """The gradient of a bias: g (N, H, W, C) -> (C,), summed in float32."""
    rows = jnp.sum(g, axis=2, dtype=jnp.float32)
    # One sum for all would have too few threads: a GPU's memory waits for them.
    return jnp.sum(lax.optimization_barrier(rows), axis=(0, 1)).astype(g.dtype)


def _biased(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + bias.reshape(1, 1, 1, -1)


@jax.custom_vjp
def conv3x3(x: Array, w: Array, bias: Array | None = None) -> Array:
    """3x3 convolution, stride 1, zero "SAME" padding: x (N, H, W, I), w (3, 3, I, O) of one type -> (N, H, W, O).

    `bias` (O,) is added, in the same type: a GPU does so as it writes.
    """
    return by_platform(x, w, bias, cpu=_convolve_on_cpu, cuda=columns.convolve, default=_convolve)


def _conv3x3_forward(x: Array, w: Array, bias: Array | None) -> tuple[Array, tuple[Array, Array, Array | None]]:
    return conv3x3(x, w, bias), (x, w, bias)


def _conv3x3_backward(residuals: tuple[Array, Array, Array | None], g: Array) -> tuple[Array, Array, Array | None]:
    x, w, bias = residuals

    def plain(x: Array, w: Array, g: Array) -> tuple[Array, Array]:
        return jax.vjp(_convolve, x, w)[1](g)

    def on_cpu(x: Array, w: Array, g: Array) -> tuple[Array, Array]:
        if not _winograd_pays(x, w):
            return plain(x, w, g)
        return winograd.input_gradient(w, g), winograd.filter_gradient(x, g)

    def on_gpu(x: Array, w: Array, g: Array) -> tuple[Array, Array]:
        return columns.convolve(g, w[::-1, ::-1].swapaxes(2, 3)), columns.filter_gradient(x, w, g)

    of_x, of_w = by_platform(x, w, g, cpu=on_cpu, cuda=on_gpu, default=plain)
    return of_x, of_w, None if bias is None else _over_pixels(g)


conv3x3.defvjp(_conv3x3_forward, _conv3x3_backward)


def _convolve_on_cpu(x: Array, w: Array, bias: Array | None = None) -> Array:
    return _biased(winograd.convolve(x, w), bias) if _winograd_pays(x, w) else _convolve(x, w, bias)


def _winograd_pays(x: Array, w: Array) -> bool:
    """Not with few channels or pixels: their products cost less than the transform of x or w. bfloat16 loses digits."""
    pixels = x.shape[0] * x.shape[1] * x.shape[2]
    return x.dtype == jnp.float32 and min(w.shape[2:]) >= 32 and x.shape[2] >= 8 and pixels >= 512


def up_conv(x: Array, w: Array) -> Array:
    """2x2 transposed convolution, stride 2: x (N, H, W, I), w (2, 2, I, O) -> (N, 2H, 2W, O).

    out[n, 2i + a, 2j + b] = x[n, i, j] @ w[a, b]: the windows do not overlap, so it is a matrix product and a
    permutation. Equal to `lax.conv_transpose(x, w[::-1, ::-1], (2, 2), "VALID")`; Keras stores the same w as
    (2, 2, O, I), PyTorch as (I, O, 2, 2).
    """
    n, height, width, inputs = x.shape

    def at_once(x: Array, w: Array) -> Array:
        y = x @ w.transpose(2, 0, 1, 3).reshape(inputs, -1)
        return y.reshape(n, height, width, 2, 2, -1).swapaxes(2, 3).reshape(n, 2 * height, 2 * width, -1)

    def by_rows(x: Array, w: Array) -> Array:
        # Columns lie as they do in the image. XLA's CPU code would turn the one product's activations, and them back;
        # and what the filter's gradient reads, were the pixels not one axis.
        pixels = x.reshape(-1, inputs)
        rows = [(pixels @ w[a].swapaxes(0, 1).reshape(inputs, -1)).reshape(n, height, width, -1) for a in (0, 1)]
        return jnp.stack(rows, axis=2).reshape(n, 2 * height, 2 * width, -1)

    return by_platform(x, w, cpu=by_rows, default=at_once)


@jax.custom_vjp
def relu(x: Array) -> Array:
    """max(x, 0), any shape. The gradient at 0 is 0, as with `jax.nn.relu`, but taken from the result.

    So x need not be kept for it, and a GPU's convolution can apply bias and ReLU as it writes.
    """

    def largest(x: Array) -> Array:
        return lax.max(x, jnp.zeros_like(x))

    def on_cpu(x: Array) -> Array:
        # XLA's library of matrix products takes along what follows them: of a maximum it would read the zeros from
        # memory, and lose a NaN. Several read the result. Fused into each of them, all that led to it since the last
        # convolution would be computed again.
        return unfused(lax.clamp(jnp.zeros((), x.dtype), x, jnp.full((), jnp.inf, x.dtype)))

    return by_platform(x, cpu=on_cpu, default=largest)


def _relu_forward(x: Array) -> tuple[Array, Array]:
    y = relu(x)
    return y, y


def _relu_backward(y: Array, g: Array) -> tuple[Array]:
    def masked(y: Array, g: Array) -> Array:
        # Not y > 0: XLA turns that into x > 0, and x is kept after all.
        return jnp.where(y == 0, jnp.zeros_like(g), g)

    return (by_platform(y, g, cpu=lambda y, g: unfused(masked(y, g)), default=masked),)


relu.defvjp(_relu_forward, _relu_backward)


def _reduce_max(x: Array, size: int) -> Array:
    """The definition of `max_pool`. jax2onnx would forget the padding as an option of the pool."""
    if size == 3:
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    return nnx.max_pool(x, window_shape=(size, size), strides=(2, 2))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(x: Array, size: int = 2) -> Array:
    """Largest of each window of size x size pixels, stride 2: x (N, H, W, C), size 2 or 3.

    Of 2x2: (N, H // 2, W // 2, C); an odd last row or column is lost. Of 3x3, with one pixel of padding that never
    wins: (N, (H + 1) // 2, (W + 1) // 2, C).

    The first largest of a window, in reading order, gets the whole gradient, as with `lax.reduce_window`: behind a ReLU
    many windows tie at 0.
    """

    def largest(x: Array) -> Array:
        return functools.reduce(jnp.maximum, _windows(x, size))

    return by_platform(x, cpu=largest, cuda=largest, default=functools.partial(_reduce_max, size=size))


def _max_pool_forward(x: Array, size: int) -> tuple[Array, tuple[Array, Array]]:
    return max_pool(x, size), (x, _which(_windows(x, size)))


def _max_pool_backward(size: int, residuals: tuple[Array, Array], g: Array) -> tuple[Array]:
    def plain(x: Array, which: Array, g: Array) -> Array:  # noqa: ARG001
        return jax.vjp(functools.partial(_reduce_max, size=size), x)[1](g)[0]

    def on_cpu(x: Array, which: Array, g: Array) -> Array:
        # Fused, every pixel finds it again: of one window of four it may, of four windows of nine not.
        return _select(x, which if size == 2 else unfused(which), g, size)

    return (by_platform(*residuals, g, cpu=on_cpu, cuda=functools.partial(_select, size=size), default=plain),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _windows(x: Array, size: int) -> list[Array]:
    """The pixels of each window, in reading order: size * size arrays of the result's shape."""
    height, width = (x.shape[1] + size - 2) // 2, (x.shape[2] + size - 2) // 2
    if size == 3:
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    return [x[:, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2] for i in range(size) for j in range(size)]


def _which(windows: list[Array]) -> Array:
    """The place of the first largest of each window in reading order, from 0, uint8."""
    largest, which = windows[0], jnp.zeros(windows[0].shape, jnp.uint8)
    for place, pixel in enumerate(windows[1:], 1):
        which = jnp.where(pixel > largest, jnp.uint8(place), which)
        largest = jnp.maximum(largest, pixel)
    return which


def _select(x: Array, which: Array, g: Array, size: int) -> Array:
    """The gradient of `max_pool`, for each pixel by itself: a scatter would be several times as slow."""
    n, height, width, c = g.shape
    # Which row of a window an even and an odd row of pixels is: of the window of their pair, and of the next one.
    # Columns are the same. 9 is none.
    rows = {2: [(0, 1)], 3: [(1, 2), (9, 0)]}[size]
    pixels = jnp.zeros((n, height, 2, width, 2, c), g.dtype)
    for (down, row), (right, column) in itertools.product(enumerate(rows), repeat=2):
        place = np.add.outer(size * np.array(row), column).astype(np.uint8).reshape(1, 1, 2, 1, 2, 1)
        border = ((0, 0), (0, down), (0, right), (0, 0))
        found, given = (jnp.pad(a[:, down:, right:], border)[:, :, None, :, None] for a in (which, g))
        pixels += jnp.where(found == place, given, jnp.zeros_like(given))
    pixels = pixels.reshape(n, 2 * height, 2 * width, c)[:, : x.shape[1], : x.shape[2]]
    return jnp.pad(pixels, ((0, 0), (0, x.shape[1] - pixels.shape[1]), (0, x.shape[2] - pixels.shape[2]), (0, 0)))
