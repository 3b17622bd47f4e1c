"""The decoder for pretrained encoders, as in the published TernausNet and ResNet U-Nets.

Each step doubles the size (nearest neighbour), joins the skip connection if its level has one, and convolves twice.
"""

from itertools import zip_longest

import jax
from flax import nnx

from sharp_unet_jax import ops
from sharp_unet_jax.models.layers import BatchNorm, Conv, he, rematerialised, twice
from sharp_unet_jax.models.segmenter import Maps, Skip

WIDTHS = (256, 128, 64, 32, 16)


class ConvBlock(nnx.Module):
    """Two 3x3 convolutions without bias, each followed by batch normalisation and ReLU."""

    remat = False

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs):
        self.conv1 = Conv(in_channels, out_channels, bias=False, init=he, rngs=rngs)
        self.bn1 = BatchNorm(out_channels)
        self.conv2 = Conv(out_channels, out_channels, bias=False, init=he, rngs=rngs)
        self.bn2 = BatchNorm(out_channels)

    @rematerialised
    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, H, W, out_channels)."""
        x = ops.relu(self.bn1(self.conv1(x), weight))
        return ops.relu(self.bn2(self.conv2(x), weight))


class Decoder(nnx.Module):
    """Five steps up to the image's size, then a 3x3 convolution; with `centre`, first a block on the coarsest map."""

    heads: tuple[str, ...] = ("head",)

    def __init__(self, widths: tuple[int, ...], *, centre: bool = False, num_classes: int, rngs: nnx.Rngs):
        deepest, *skips = reversed(widths)
        self.centre = ConvBlock(deepest, deepest, rngs=rngs) if centre else None
        steps = zip_longest((deepest, *WIDTHS[:-1]), skips, WIDTHS, fillvalue=0)
        self.blocks = nnx.List([ConvBlock(below + skip, width, rngs=rngs) for below, skip, width in steps])
        self.head = Conv(WIDTHS[-1], num_classes, rngs=rngs)

    def __call__(self, maps: Maps, skip: Skip, weight: jax.Array | None = None) -> jax.Array:
        """Map the encoder's five maps, finest first, to logits (N, H, W, num_classes)."""
        *finer, x = maps
        if self.centre is not None:
            x = self.centre(x, weight)
        for block, level in zip_longest(self.blocks, reversed(range(len(finer)))):
            x = twice(x)
            x = block(x if level is None else skip(level, finer[level], x), weight)
        return self.head(x)
