"""The U-Net of the paper (section 3.2): five blocks down, four up, two 3x3 convolutions with ReLU in each.

Kernels are Glorot uniform and biases zero: the Keras defaults of the authors' notebook.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from sharp_unet_jax import ops
from sharp_unet_jax.models.layers import Conv, Weight, add_bias, glorot, rematerialised
from sharp_unet_jax.models.segmenter import Maps, Skip

WIDTHS = (32, 64, 128, 256, 512)
WIDE_WIDTHS = (35, 70, 140, 280, 560)


class Block(nnx.Module):
    """Two 3x3 convolutions, each followed by a ReLU."""

    remat = False

    def __init__(self, in_channels: int, out_channels: int, *, init: nnx.Initializer = glorot, rngs: nnx.Rngs):
        self.first = Conv(in_channels, out_channels, init=init, rngs=rngs)
        self.second = Conv(out_channels, out_channels, init=init, rngs=rngs)

    @rematerialised
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, H, W, out_channels)."""
        return ops.relu(self.second(ops.relu(self.first(x))))


class UpConv(nnx.Module):
    """2x2 transposed convolution with stride 2 and bias: it doubles the size."""

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs):
        # Keras's kernel is (h, w, out, in) and swaps fan in and fan out; Glorot uniform depends only on their sum.
        self.kernel = Weight(glorot(rngs.params(), (2, 2, in_channels, out_channels), jnp.float32))
        self.bias = Weight(jnp.zeros(out_channels, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, 2H, 2W, out_channels)."""
        return add_bias(ops.up_conv(x, self.kernel[...].astype(x.dtype)), self.bias)


class UNetEncoder(nnx.Module):
    """A block for each width, with 2x2 max-pooling between them."""

    def __init__(
        self, in_channels: int, widths: tuple[int, ...] = WIDTHS, *, init: nnx.Initializer = glorot, rngs: nnx.Rngs
    ):
        self.widths, self.stride = widths, 2 ** (len(widths) - 1)
        inputs = (in_channels, *widths[:-1])
        self.blocks = nnx.List([Block(i, o, init=init, rngs=rngs) for i, o in zip(inputs, widths, strict=True)])

    def __call__(self, x: jax.Array, weight: jax.Array | None = None) -> list[jax.Array]:  # noqa: ARG002
        """Map (N, H, W, in_channels) to a feature map per width, finest first, each half the size of the one before."""
        features = [self.blocks[0](x)]
        for block in self.blocks[1:]:
            features.append(block(ops.max_pool(features[-1])))
        return features


class UNetDecoder(nnx.Module):
    """Up-convolution, skip connection and block at each level, coarsest first, then a 1x1 convolution."""

    heads: tuple[str, ...] = ("head",)

    def __init__(
        self, widths: tuple[int, ...] = WIDTHS, up_widths: tuple[int, ...] = (), *, num_classes: int, rngs: nnx.Rngs
    ):
        """Build it for an encoder of `widths`; up-convolutions give `up_widths` channels, by default the skip's."""
        levels = list(zip(widths[1:], up_widths or widths[:-1], widths[:-1], strict=True))[::-1]
        self.ups = nnx.List([UpConv(below, up, rngs=rngs) for below, up, _ in levels])
        self.blocks = nnx.List([Block(width + up, width, rngs=rngs) for _, up, width in levels])
        self.head = Conv(widths[0], num_classes, 1, rngs=rngs)

    def __call__(self, maps: Maps, skip: Skip, weight: jax.Array | None = None) -> jax.Array:  # noqa: ARG002
        """Map the encoder's maps, finest first, to logits (N, H, W, num_classes)."""
        *finer, x = maps
        for up, block, level in zip(self.ups, self.blocks, reversed(range(len(finer))), strict=True):
            x = block(skip(level, finer[level], up(x)))
        return self.head(x)
