"""Batch normalisation in training: mean and variance weighted by image, and the gradient."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from sharp_unet_jax.ops import cpu_norm, definitions
from sharp_unet_jax.ops.cpu_barrier import unfused
from sharp_unet_jax.ops.platform import by_platform


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalised(x: Array, share: Array, scale: Array, bias: Array, eps: float) -> tuple[Array, Array, Array]:
    """Batch normalisation: x (N, M, C), M pixels per image -> y (N, M, C), mean (C,), variance (C,), all float32.

    y = (x - mean) / sqrt(variance + eps) * scale + bias. `share` (N,) is the weight of each pixel of an image in mean
    and variance; over all pixels the weights sum to 1. The gradient is only that of y: the gradients of mean and
    variance are ignored, and `share` gets none.
    """
    mean = _weighted_sum(share, x)
    var = _weighted_sum(share, jnp.square(x - mean[None, None]))
    return (x - mean[None, None]) * (scale * lax.rsqrt(var + eps))[None, None] + bias[None, None], mean, var


def _normalised_forward(x: Array, share: Array, scale: Array, bias: Array, eps: float) -> Any:
    x = _computed(x)
    y, mean, var = normalised(x, share, scale, bias, eps)
    return (y, mean, var), (x, share, scale, mean, var)


def _normalised_backward(eps: float, residuals: Any, gradients: Any) -> Any:
    x, share, scale, mean, var = residuals
    g, inverse = _computed(gradients[0]), lax.rsqrt(var + eps)
    centred, ones = (x - mean[None, None]) * inverse[None, None], jnp.ones_like(share)
    dscale, dbias = _weighted_sum(ones, g * centred), _weighted_sum(ones, g)
    # Each pixel also changes the mean and the variance, in proportion to its share.
    through_statistics = share[:, None, None] * (dbias[None, None] + centred * dscale[None, None])
    dx = _computed((g - through_statistics) * (scale * inverse)[None, None])
    return dx, jnp.zeros_like(share), dscale, dbias


normalised.defvjp(_normalised_forward, _normalised_backward)


def _computed(x: Array) -> Array:
    """Return x, on a CPU computed once: three loops read it, and if fused each would compute it again."""
    return by_platform(x, cpu=unfused, default=lambda x: x)


def _weighted_sum(share: Array, x: Array) -> Array:
    return by_platform(share, x, cpu=cpu_norm.weighted_sum, default=definitions.weighted_sum)
