"""Max-pool: the lowering for each platform, and the gradient."""

import functools

import jax
from jax import Array

from sharp_unet_jax.ops import cpu_gpu_pool, definitions
from sharp_unet_jax.ops.platform import by_platform


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(x: Array, size: int = 2) -> Array:
    """Maximum of each window of size x size pixels, stride 2: x (N, H, W, C), size 2 or 3.

    2x2 windows give (N, H // 2, W // 2, C); an odd last row or column is dropped. 3x3 windows have one pixel of
    padding, which never is the maximum, and give (N, (H + 1) // 2, (W + 1) // 2, C).

    The whole gradient of a window goes to its first maximum in reading order, as with `lax.reduce_window`. Behind a
    ReLU many windows have ties at 0.
    """
    largest = functools.partial(cpu_gpu_pool.max_pool, size=size)
    return by_platform(x, cpu=largest, cuda=largest, default=functools.partial(definitions.max_pool, size=size))


def _max_pool_forward(x: Array, size: int) -> tuple[Array, tuple[Array, Array]]:
    return max_pool(x, size), (x, cpu_gpu_pool.winners(x, size))


def _max_pool_backward(size: int, residuals: tuple[Array, Array], g: Array) -> tuple[Array]:
    def derived(x: Array, winners: Array, g: Array) -> Array:  # noqa: ARG001
        return definitions.gradients(functools.partial(definitions.max_pool, size=size), x, g)[0]

    cpu = functools.partial(cpu_gpu_pool.cpu_gradient, size=size)
    cuda = functools.partial(cpu_gpu_pool.gradient, size=size)
    return (by_platform(*residuals, g, cpu=cpu, cuda=cuda, default=derived),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)
