"""Layers that several networks share: convolution with its parameters, batch normalisation, nearest up-sampling."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from sharp_unet_jax import ops

glorot = nnx.initializers.glorot_uniform()  # Keras's default, which the authors' notebook keeps
he = nnx.initializers.he_normal()  # of the networks with pretrained encoders, where they start from scratch


class Weight(nnx.Param):
    """A parameter that a layer takes in the type of its inputs, and in no other: `forward.types`."""


class Conv(nnx.Module):
    """Square convolution, zero padding of half its size on each side: PyTorch's, and Keras's "same" at stride 1."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int = 3,
        stride: int = 1,
        *,
        bias: bool = True,
        init: nnx.Initializer = glorot,
        rngs: nnx.Rngs,
    ):
        self.stride = stride
        self.kernel = Weight(init(rngs.params(), (size, size, in_channels, out_channels), jnp.float32))
        self.bias = Weight(jnp.zeros(out_channels, jnp.float32)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """(N, H, W, in_channels) to (N, ceil(H / stride), ceil(W / stride), out_channels), in the type of x."""
        kernel = self.kernel[...].astype(x.dtype)
        size = kernel.shape[0]
        if (size, self.stride) == (3, 1):
            return ops.conv3x3(x, kernel, None if self.bias is None else self.bias[...].astype(x.dtype))
        if size == 1:
            x = ops.conv1x1(x, kernel, self.stride)
        else:
            padding = [(size // 2, size // 2)] * 2
            strides, layout = (self.stride, self.stride), ("NHWC", "HWIO", "NHWC")
            x = lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout)
        return x if self.bias is None else add_bias(x, self.bias)


class BatchNorm(nnx.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) over all pixels of all images that count.

    Prediction is with running statistics.

    In training the statistics are of the whole batch, however it is sharded, weighted by image: a weight of 0, which
    padding has, leaves no trace in them. They are float32 whatever the type of x. The running variance is the plain
    one, as in Keras and Flax (PyTorch multiplies by n / (n - 1)); `eps` and `momentum` are torchvision's.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.9):
        self.eps, self.momentum = eps, momentum
        zeros, ones = jnp.zeros(channels, jnp.float32), jnp.ones(channels, jnp.float32)
        self.scale, self.bias = nnx.Param(ones), nnx.Param(zeros)
        self.mean, self.var = nnx.BatchStat(zeros), nnx.BatchStat(ones)

    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """(N, H, W, C) to the same shape and type; `weight` (N,) trains and updates the statistics, None predicts."""
        pixels = x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[3])
        if weight is None:
            mean, var, scale, bias = (a[None, None] for a in (self.mean, self.var, self.scale, self.bias))
            y = (pixels - mean) * lax.rsqrt(var + self.eps) * scale + bias
        else:
            count = jnp.sum(weight)
            # Padding alone counts as images do: unlike all weights of 0 that leaves every layer's result finite.
            counted = jnp.where(count > 0, weight, 1).astype(jnp.float32)
            share = counted / (jnp.sum(counted) * pixels.shape[1])
            y, mean, var = ops.normalised(pixels, share, self.scale[...], self.bias[...], self.eps)
            momentum = jnp.where(count > 0, self.momentum, 1)  # but changes nothing
            for running, now in ((self.mean, mean), (self.var, var)):
                running[...] = momentum * running[...] + (1 - momentum) * now
        return y.astype(x.dtype).reshape(x.shape)


Call = TypeVar("Call", bound=Callable[..., jax.Array])


def rematerialised(call: Call) -> Call:
    """For a block's `__call__`: where the block's `remat` is true, its inside is computed again for the gradient."""

    @functools.wraps(call)
    def wrapped(self: Any, *inputs: jax.Array | None) -> jax.Array:
        return (nnx.remat(call) if self.remat else call)(self, *inputs)

    return cast(Call, wrapped)


def add_bias(x: jax.Array, bias: Weight) -> jax.Array:
    """x (N, H, W, C) plus bias (C,), in the type of x."""
    return ops.add_bias(x, bias[...].astype(x.dtype))


def twice(x: jax.Array) -> jax.Array:
    """Every pixel as a square of four: (N, H, W, C) to (N, 2H, 2W, C)."""
    n, height, width, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (n, height, 2, width, 2, c))
    return x.reshape(n, 2 * height, 2 * width, c)
