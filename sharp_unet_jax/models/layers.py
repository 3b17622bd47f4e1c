"""Layers that several networks share: convolution, batch normalisation, nearest-neighbour up-sampling."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from sharp_unet_jax import ops

glorot = nnx.initializers.glorot_uniform()  # Keras's default, as in the authors' notebook
he = nnx.initializers.he_normal()  # for networks that can have pretrained encoders, and for UNet++
MOMENTUM = 0.9  # of the running statistics of BatchNorm


class Weight(nnx.Param):
    """A parameter that its layer casts to the dtype of its input: `training.network` may cast it once, in advance."""


class Conv(nnx.Module):
    """Square convolution, padded by half its size with zeros: as in PyTorch, and Keras's "same" at stride 1."""

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
        """Map (N, H, W, in_channels) to (N, ceil(H / stride), ceil(W / stride), out_channels), in the dtype of x."""
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
    """Batch normalisation (Ioffe & Szegedy 2015) by the mean and variance of all pixels of a batch.

    Prediction uses running statistics. Training uses the statistics of the whole batch, whatever devices share it, and
    weights each image: padding has the weight 0 and leaves no trace. Statistics are float32 for every dtype of x. The
    running variance is the biased one, as in Keras and Flax; PyTorch multiplies it by n / (n - 1). `eps` and
    `MOMENTUM` are torchvision's.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5, scale: bool = True):
        """Build it for maps of `channels`; with `scale=False` it has only a bias."""
        self.eps = eps
        zeros, ones = jnp.zeros(channels, jnp.float32), jnp.ones(channels, jnp.float32)
        self.scale, self.bias = nnx.Param(ones) if scale else None, nnx.Param(zeros)
        self.mean, self.var = nnx.BatchStat(zeros), nnx.BatchStat(ones)

    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Normalise x (N, H, W, C); `weight` (N,) trains and updates the running statistics, None predicts."""
        pixels = x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[3])
        factor = jnp.ones_like(self.bias[...]) if self.scale is None else self.scale[...]
        if weight is None:
            mean, var, scale, bias = (a[None, None] for a in (self.mean, self.var, factor, self.bias))
            y = (pixels - mean) * lax.rsqrt(var + self.eps) * scale + bias
        else:
            count = jnp.sum(weight)
            # A batch of only padding is normalised as if it were real, to keep activations finite. Momentum 1 then
            # leaves the running statistics unchanged.
            counted = jnp.where(count > 0, weight, 1).astype(jnp.float32)
            share = counted / (jnp.sum(counted) * pixels.shape[1])
            y, mean, var = ops.normalised(pixels, share, factor, self.bias[...], self.eps)
            momentum = jnp.where(count > 0, MOMENTUM, 1)
            for running, batch in ((self.mean, mean), (self.var, var)):
                running[...] = momentum * running[...] + (1 - momentum) * batch
        return y.astype(x.dtype).reshape(x.shape)


Call = TypeVar("Call", bound=Callable[..., jax.Array])


def rematerialised(call: Call) -> Call:
    """Decorate a block's `__call__`: if the block's `remat` is true, the backward pass recomputes its activations."""

    @functools.wraps(call)
    def wrapped(self: Any, *inputs: jax.Array | None) -> jax.Array:
        return (nnx.remat(call) if self.remat else call)(self, *inputs)

    return cast(Call, wrapped)


def add_bias(x: jax.Array, bias: Weight) -> jax.Array:
    """Add bias (C,) to x (N, H, W, C), in the dtype of x."""
    return ops.add_bias(x, bias[...].astype(x.dtype))


def twice(x: jax.Array) -> jax.Array:
    """Repeat every pixel in a square of four: (N, H, W, C) to (N, 2H, 2W, C)."""
    n, height, width, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (n, height, 2, width, 2, c))
    return x.reshape(n, 2 * height, 2 * width, c)
