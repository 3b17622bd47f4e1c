"""Batch normalisation's arithmetic: mean and variance by weight of image, and their gradient."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from sharp_unet_jax.ops.platform import by_platform


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalised(x: Array, share: Array, scale: Array, bias: Array, eps: float) -> tuple[Array, Array, Array]:
    """Batch normalisation: x (N, M, C), M pixels an image -> y (N, M, C), mean (C,), variance (C,), all float32.

    y = (x - mean) / sqrt(variance + eps) * scale + bias. `share` (N,) is the weight of each pixel of an image in mean
    and variance: over all pixels it sums to 1. The gradient is that of y alone.
    """
    mean = _sums(share, x)
    var = _sums(share, jnp.square(x - mean[None, None]))
    return (x - mean[None, None]) * (scale * lax.rsqrt(var + eps))[None, None] + bias[None, None], mean, var


def _normalised_forward(x: Array, share: Array, scale: Array, bias: Array, eps: float) -> Any:
    y, mean, var = normalised(x, share, scale, bias, eps)
    return (y, mean, var), (x, share, scale, mean, var)


def _normalised_backward(eps: float, residuals: Any, gradients: Any) -> Any:
    x, share, scale, mean, var = residuals
    g, inverse = gradients[0], lax.rsqrt(var + eps)
    centred, ones = (x - mean[None, None]) * inverse[None, None], jnp.ones_like(share)
    of_scale, of_bias = _sums(ones, g * centred), _sums(ones, g)
    # Each pixel also moves the mean and the variance, by its share.
    moved = share[:, None, None] * (of_bias[None, None] + centred * of_scale[None, None])
    of_x = (g - moved) * (scale * inverse)[None, None]
    return of_x, jnp.zeros_like(share), of_scale, of_bias


def _sums(share: Array, x: Array) -> Array:
    """Of all pixels, weighted by image: share (N,), x (N, M, C) -> (C,)."""

    def product(share: Array, x: Array) -> Array:
        rows = x.reshape(-1, x.shape[2])
        share = jnp.repeat(share, x.shape[1])
        return jnp.matmul(share, rows, precision=lax.Precision.HIGHEST)  # float32 whatever the network is

    def on_cpu(share: Array, x: Array) -> Array:
        # Few at a time XLA fuses with what makes them. More, and it would write that down first, as for the product.
        few = math.gcd(x.shape[1], 16)
        return product(share, jnp.sum(x.reshape(x.shape[0], -1, few, x.shape[2]), axis=2))

    return by_platform(share, x, cpu=on_cpu, default=product)


normalised.defvjp(_normalised_forward, _normalised_backward)
