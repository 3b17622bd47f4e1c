"""The sharp block: the lowering for each platform, and the gradients."""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from sharp_unet_jax.ops import cpu_sharp, definitions, gpu_sharp
from sharp_unet_jax.ops.kernels import as_array
from sharp_unet_jax.ops.platform import by_platform


def sharpen(x: Array, kernel: str | ArrayLike = "laplacian", padding: str = "zero") -> Array:
    """The sharp block of Sharp U-Net (equation 1): a pure function without parameters, for any network in JAX.

    Equal to `depthwise(x, kernel, padding)`, with the same arguments, result and errors. `kernel` can also be a name in
    `KERNELS`; an unknown name raises ValueError. Only reverse-mode gradients are defined. With zero padding a constant
    c gives 0 inside, 3c along an edge, and 5c in a corner.

    >>> from sharp_unet_jax import ops
    >>> constant = jnp.ones((1, 3, 3, 1))
    >>> print(ops.sharpen(constant)[0, :, :, 0])
    [[5. 3. 5.]
     [3. 0. 3.]
     [5. 3. 5.]]
    >>> print(ops.sharpen(constant, "sharpen", "reflect")[0, :, :, 0])  # its kernel sums to 1: a constant stays
    [[1. 1. 1.]
     [1. 1. 1.]
     [1. 1. 1.]]

    The CPU adds shifted copies: the grouped convolution takes at least 27 times the processor time (192x256x32). A GPU
    reads neighbours by index, which XLA fuses with the operations around it.
    """
    return _sharpen(x, as_array(kernel), padding)


def sharp_skip(below: Array, x: Array, kernel: str | ArrayLike = "laplacian", padding: str = "zero") -> Array:
    """A sharp skip connection: concatenates the decoder's map (N, H, W, D) and the sharpened encoder map (N, H, W, C).

    Equal to `concatenate([below, sharpen(x, kernel, padding)], axis=-1)`, (N, H, W, D + C), with the same errors. Both
    maps have one dtype. The two steps are one operation because of the gradient: a GPU reads neighbours directly in the
    gradient of the whole result. If the gradient is sliced first, XLA copies it.
    """
    return _sharp_skip(below, x, as_array(kernel), padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _sharpen(x: Array, kernel: Array, padding: str) -> Array:
    return by_platform(
        x,
        kernel,
        cpu=functools.partial(cpu_sharp.sharpen, padding=padding),
        cuda=functools.partial(gpu_sharp.sharpen, padding=padding),
        default=functools.partial(definitions.depthwise, padding=padding),
    )


def _sharpen_forward(x: Array, kernel: Array, padding: str) -> tuple[Array, tuple[Array, Array]]:
    return _sharpen(x, kernel, padding), (x, kernel)


def _sharpen_backward(padding: str, residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    return _gradients(*residuals, g, padding)


_sharpen.defvjp(_sharpen_forward, _sharpen_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _sharp_skip(below: Array, x: Array, kernel: Array, padding: str) -> Array:
    return jnp.concatenate([below, _sharpen(x, kernel, padding)], axis=-1)


def _sharp_skip_forward(below: Array, x: Array, kernel: Array, padding: str) -> tuple[Array, tuple[Array, Array]]:
    return _sharp_skip(below, x, kernel, padding), (x, kernel)


def _sharp_skip_backward(padding: str, residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array, Array]:
    first = g.shape[-1] - residuals[0].shape[-1]
    return g[..., :first], *_gradients(*residuals, g, padding, first)


_sharp_skip.defvjp(_sharp_skip_forward, _sharp_skip_backward)


def _gradients(x: Array, kernel: Array, g: Array, padding: str, first: int = 0) -> tuple[Array, Array]:
    """Return the gradients for x and the kernel: g is (N, H, W, first + C); its first `first` channels are unused."""

    def derived(x: Array, kernel: Array, g: Array) -> tuple[Array, ...]:
        return jax.vjp(functools.partial(definitions.depthwise, padding=padding), x, kernel)[1](g[..., first:])

    cpu = functools.partial(cpu_sharp.gradients, padding=padding, first=first)
    cuda = functools.partial(gpu_sharp.gradients, padding=padding, first=first)
    return by_platform(x, kernel, g, cpu=cpu, cuda=cuda, default=derived)
