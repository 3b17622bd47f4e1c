"""The convolutions of VGG as an encoder (Simonyan & Zisserman 2015; TernausNet, Iglovikov & Shvets 2018).

Attributes are named `features.N` as in torchvision, so that its files load without a table of names.
"""

import jax
from flax import nnx

from sharp_unet_jax import ops
from sharp_unet_jax.models.layers import Conv, he

VGG16 = (2, 2, 3, 3, 3)  # convolutions in each of the five blocks
VGG19 = (2, 2, 4, 4, 4)


class VGGEncoder(nnx.Module):
    """Five blocks of 3x3 convolutions with ReLU, each followed by 2x2 max-pooling.

    The first block's map, which has the image's size, is no skip connection: the paper's 23.7 M parameters need this.
    """

    stride = 32

    def __init__(self, in_channels: int, convolutions: tuple[int, ...], *, rngs: nnx.Rngs):
        self.widths: tuple[int, ...] = (128, 256, 512, 512, 512)
        self.blocks: tuple[tuple[str, ...], ...] = ()
        features, number = {}, 0
        for count, width in zip(convolutions, (64, 128, 256, 512, 512), strict=True):
            block = tuple(str(number + 2 * i) for i in range(count))  # torchvision numbers the ReLUs, too
            for name in block:
                features[name] = Conv(in_channels, width, init=he, rngs=rngs)
                in_channels = width
            self.blocks += (block,)
            number += 2 * count + 1  # the pool has a number
        self.features = nnx.Dict(features)

    def __call__(self, x: jax.Array, weight: jax.Array | None = None) -> list[jax.Array]:  # noqa: ARG002
        """Map (N, H, W, in_channels) to five maps: the outputs of blocks two to five, and the last one pooled."""
        maps = []
        for block in self.blocks:
            for name in block:
                x = ops.relu(self.features[name](x))
            maps.append(x)
            x = ops.max_pool(x)
        return [*maps[1:], x]
