"""VGG's convolutions as an encoder (Simonyan & Zisserman 2015; TernausNet, Iglovikov & Shvets 2018).

Attributes are named as in torchvision, `features.N`, so that its files load without a table.
"""

import jax
from flax import nnx

from sharp_unet_jax import ops
from sharp_unet_jax.models.layers import Conv, he

VGG16 = (2, 2, 3, 3, 3)  # convolutions in each of the five blocks
VGG19 = (2, 2, 4, 4, 4)


class VGGEncoder(nnx.Module):
    """Five blocks of 3x3 convolutions with ReLU, 2x2 max-pool after each.

    The first block's map, at the image's size, is no skip connection: so the paper's 23.7 M parameters count.
    """

    first_stride = 2

    def __init__(self, in_channels: int, convolutions: tuple[int, ...], *, rngs: nnx.Rngs):
        self.widths: tuple[int, ...] = (128, 256, 512, 512, 512)
        self.blocks: tuple[tuple[str, ...], ...] = ()
        features, number = {}, 0
        for count, width in zip(convolutions, (64, 128, 256, 512, 512), strict=True):
            block = tuple(str(number + 2 * i) for i in range(count))  # a ReLU follows each, in torchvision's count
            for name in block:
                features[name] = Conv(in_channels, width, init=he, rngs=rngs)
                in_channels = width
            self.blocks += (block,)
            number += 2 * count + 1  # and the pool
        self.features = nnx.Dict(features)

    def __call__(self, x: jax.Array, weight: jax.Array | None = None) -> list[jax.Array]:  # noqa: ARG002
        """(N, H, W, in_channels) to five maps: the ends of blocks two to five, and the last one pooled."""
        maps = []
        for block in self.blocks:
            for name in block:
                x = ops.relu(self.features[name](x))
            maps.append(x)
            x = ops.max_pool(x)
        return [*maps[1:], x]
