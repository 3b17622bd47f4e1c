"""Kernels of the sharp block by name, and how a kernel is applied: to each channel, and at the border."""

import difflib

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

# K of Sharp U-Net, equation (1): the 8-neighbour Laplacian. It sums to zero.
_K = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32)
_K5 = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], np.float32)
_DELTA = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32)
# K convolved with the binomial [1, 2, 1] x [1, 2, 1] / 16: section 3.2 of the paper describes smoothing first.
_LAPLACIAN_OF_GAUSSIAN = np.array(
    [[-1, -3, -4, -3, -1], [-3, 0, 6, 0, -3], [-4, 6, 20, 6, -4], [-3, 0, 6, 0, -3], [-1, -3, -4, -3, -1]], np.float32
)
# A control, drawn at random once. It sums to zero and has the norm of K, but neither the symmetry of K nor its signs.
_RANDOM = np.array([[-5, -17, 18], [-6, -34, 6], [49, 32, -43]], np.float32)

KERNELS: dict[str, np.ndarray] = {
    "laplacian": _K,
    "sharpen": _DELTA + _K,  # equation (2): I + K * I
    "laplacian_of_gaussian": _LAPLACIAN_OF_GAUSSIAN / 16,
    "laplacian_5point": _K5,
    "unsharp": _DELTA + _K5,
    "scaled": _K / 8,  # K multiplies the scale of white features by about 8.5
    "random": _RANDOM / 10,
    "learnable": _K,  # the initial value of a learnable kernel
}


def as_array(kernel: str | ArrayLike) -> Array:
    """Return the kernel as an array, looked up in `KERNELS` if it is a name.

    Raises ValueError for an unknown name.
    """
    if not isinstance(kernel, str):
        return jnp.asarray(kernel)
    if kernel not in KERNELS:
        nearest = difflib.get_close_matches(kernel, KERNELS, n=1, cutoff=0)[0]
        raise ValueError(f"unknown kernel {kernel!r}: did you mean {nearest!r}? known: {', '.join(KERNELS)}")
    return jnp.asarray(KERNELS[kernel])


def per_channel(x: Array, kernel: ArrayLike) -> Array:
    """Return the kernel (h, w) or (h, w, C) as (h, w, 1, 1 or C), in the dtype of x (N, H, W, C).

    Raises ValueError for another shape, and for x of whole numbers, which cannot hold what a kernel gives.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x must be of a floating dtype, not {x.dtype}: an image is x / 255")
    kernel = jnp.asarray(kernel, x.dtype)
    odd = kernel.ndim in (2, 3) and kernel.shape[0] % 2 == 1 == kernel.shape[1] % 2
    if not odd or kernel.shape[2:] not in ((), x.shape[3:]):
        raise ValueError(f"kernel must be (h, w) or (h, w, C) with odd h and w, not {kernel.shape}, for x {x.shape}")
    return kernel[:, :, None, None] if kernel.ndim == 2 else kernel[:, :, None, :]


def pad(x: Array, kernel: Array, padding: str) -> Array:
    """Pad H and W of x by half a kernel (h, w, ...) on each side, with zeros ("zero") or mirrored pixels ("reflect").

    Raises ValueError for another padding, or an image too small to reflect.
    """
    top, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    if padding == "zero":
        return jnp.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    if padding != "reflect":
        raise ValueError(f"padding must be 'zero' or 'reflect', not {padding!r}")
    if x.shape[1] <= top or x.shape[2] <= left:
        raise ValueError(f"padding 'reflect' needs an image larger than {top}x{left}, not {x.shape[1]}x{x.shape[2]}")
    return jnp.pad(x, ((0, 0), (top, top), (left, left), (0, 0)), mode="reflect")
