"""The 3x3 convolution on the CPU with half of the multiplications: Winograd's F(4, 3) along the width.

Winograd, "Arithmetic complexity of computations" (1980); Lavin & Gray, "Fast algorithms for convolutional neural
networks" (2016). Four neighbouring outputs of a filter of width three take six products instead of twelve:

    y = A^T [(G w) * (B^T x)],  x of six pixels, w of three, y of four

Here each of the six products is a 3x1 convolution over the height and the channels.

Only the width is transformed. Transforming both axes would take 4 times fewer products than the definition, not 2
times, but would move 2.25 times the data, not 1.5 times. On a CPU this costs more than it saves, and the error would be
five times as large (figures: `bench/tried.md`).
"""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from sharp_unet_jax.ops.cpu_barrier import unfused

_B = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_A = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def convolve(x: Array, w: Array) -> Array:
    """3x3 convolution, stride 1, zero padding: x (N, H, W, I), w (3, 3, I, O), both float32 -> (N, H, W, O)."""
    return _convolve(x, _filters(w))


def input_gradient(w: Array, g: Array) -> Array:
    """Return the gradient of `convolve` for x: w (3, 3, I, O), g (N, H, W, O) -> (N, H, W, I).

    It is the convolution with the filter rotated by 180 degrees and its input and output channels exchanged. If the
    rotation were part of the transform's sums, each number would be read out of order three times instead of once.
    """
    return unfused(_convolve(g, _filters(_rotated(w))))


def filter_gradient(x: Array, g: Array) -> Array:
    """Return the gradient of `convolve` for w: x (N, H, W, I), g (N, H, W, O) -> (3, 3, I, O)."""
    g = _padded(g)
    outputs = _combine(_A.T, [g[:, :, 1 + j : g.shape[2] - 4 + j : 4] for j in range(4)])
    products = [_over_rows(v, u) for v, u in zip(_inputs(x), outputs, strict=True)]
    return _spread(_G.T, products, axis=1)


def _over_rows(v: Array, u: Array) -> Array:
    """Return the gradient of `_vertical` for its filter: v (N, H + 2, W, I), u (N, H + 2, W, O) -> (3, I, O).

    The first and last row of every image are zero in u also. This makes it valid to stack the rows of all images.
    """

    def correlate(image: Array, kernel: Array) -> Array:
        image, kernel = (a.reshape(-1, *a.shape[2:]) for a in (image, kernel))
        return lax.conv_general_dilated(image, kernel, (1,), ((1, 1),), dimension_numbers=("HCN", "HIO", "HNC"))

    # XLA transposes and copies the image, and reads each number of it three times. The image is therefore the array
    # with fewer channels, unless the result, which must then be transposed, is larger.
    if u.shape[3] < v.shape[3] and 3 * u.shape[3] < v.shape[0] * v.shape[1] * v.shape[2]:
        return unfused(correlate(unfused(u), v)[::-1].swapaxes(1, 2))
    return correlate(v, u)


def _rotated(w: Array) -> Array:
    """Rotate w (3, 3, I, O) by 180 degrees and exchange its channels: (3, 3, O, I).

    The exchange works in tiles: XLA's loop over the whole array would read from a new cache line each time.
    """
    inputs, outputs = w.shape[2:]
    tile = math.gcd(inputs, 32)
    tiles = unfused(w[::-1, ::-1].reshape(3, 3, inputs // tile, tile, outputs).swapaxes(3, 4))
    return unfused(tiles.swapaxes(2, 3)).reshape(3, 3, outputs, inputs)


def _convolve(x: Array, filters: list[Array]) -> Array:
    n, height, width, _ = x.shape
    outputs = _spread(_A, [_vertical(v, u) for v, u in zip(_inputs(x), filters, strict=True)], axis=3)
    return outputs.reshape(n, height, -1, filters[0].shape[2])[:, :, :width]


def _filters(w: Array) -> list[Array]:
    """Return G w for each row of the filter: six arrays (3, I, O)."""
    return _combine(_G, [w[:, j] for j in range(3)])


def _inputs(x: Array) -> list[Array]:
    """Return B^T x for each group of six columns, four apart: six arrays (N, H + 2, ceil(W / 4), I)."""
    x = _padded(x)
    return _combine(_B, [x[:, :, j : x.shape[2] - 5 + j : 4] for j in range(6)])


def _padded(x: Array) -> Array:
    """Pad each image with zeros: one on each side, and on the right enough to complete a group of four columns."""
    return jnp.pad(x, ((0, 0), (1, 1), (1, 1 + -x.shape[2] % 4), (0, 0)))


def _vertical(x: Array, u: Array) -> Array:
    """Correlate with a filter three high and one wide: x (N, H + 2, W, I), u (3, I, O) -> (N, H, W, O)."""
    return lax.conv_general_dilated(x, u[:, None], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _combine(matrix: np.ndarray, arrays: list[Array]) -> list[Array]:
    """Return one weighted sum of the arrays for each row of the matrix.

    XLA fuses a chain of sums; it would not fuse a matrix product.
    """
    terms = [[float(c) * array for c, array in zip(row, arrays, strict=True) if c] for row in matrix]
    return [functools.reduce(jnp.add, row) for row in terms]


def _spread(matrix: np.ndarray, arrays: list[Array], axis: int) -> Array:
    """Return the sums of `_combine` along a new axis.

    The result is a sum of broadcast arrays: `jnp.stack` compiles to a branch for each element.
    """
    shape = [-1 if i == axis else 1 for i in range(arrays[0].ndim + 1)]
    columns = [jnp.asarray(column.reshape(shape), arrays[0].dtype) for column in matrix.T]
    terms = [column * jnp.expand_dims(a, axis) for column, a in zip(columns, arrays, strict=True)]
    return functools.reduce(jnp.add, terms)
