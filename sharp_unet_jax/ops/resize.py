"""Bilinear resizing: the lowering for each platform, and the gradient."""

import functools

import jax
from jax import Array

from sharp_unet_jax.ops import cpu_resize, definitions
from sharp_unet_jax.ops.platform import by_platform


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def enlarge(x: Array, factor: int) -> Array:
    """Bilinear resizing by an even factor: x (N, H, W, C) -> (N, factor H, factor W, C).

    Equal to `jax.image.resize(..., "linear")` and to PyTorch's `interpolate(..., mode="bilinear")`. The former takes a
    product with a dense matrix for each axis: at 512 pixels per side this costs more than a 3x3 convolution.
    """
    return by_platform(
        x,
        cpu=functools.partial(cpu_resize.enlarge, factor=factor),
        default=functools.partial(definitions.enlarge, factor=factor),
    )


def _enlarge_forward(x: Array, factor: int) -> tuple[Array, None]:
    return enlarge(x, factor), None


def _enlarge_backward(factor: int, _: None, g: Array) -> tuple[Array]:
    def derived(g: Array) -> Array:
        n, height, width, channels = g.shape
        x = jax.ShapeDtypeStruct((n, height // factor, width // factor, channels), g.dtype)
        (dx,) = jax.linear_transpose(functools.partial(definitions.enlarge, factor=factor), x)(g)
        return dx

    return (by_platform(g, cpu=functools.partial(cpu_resize.gradient, factor=factor), default=derived),)


enlarge.defvjp(_enlarge_forward, _enlarge_backward)
