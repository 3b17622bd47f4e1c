"""ResNets as encoders (He et al. 2016).

They are torchvision's variant "v1.5": the first 3x3 convolution of a stage has its stride. Attributes are named as in
torchvision, so that its files load without a table of names.
"""

import jax
from flax import nnx

from sharp_unet_jax import ops
from sharp_unet_jax.models.layers import BatchNorm, Conv, he, rematerialised

RESNET18 = (2, 2, 2, 2)  # blocks in each of the four stages
RESNET34 = RESNET50 = (3, 4, 6, 3)


class Basic(nnx.Module):
    """The block of ResNet-18 and 34: two 3x3 convolutions and a shortcut."""

    remat = False
    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, *, rngs: nnx.Rngs):
        self.conv1 = Conv(in_channels, width, 3, stride, bias=False, init=he, rngs=rngs)
        self.bn1 = BatchNorm(width)
        self.conv2 = Conv(width, width, bias=False, init=he, rngs=rngs)
        self.bn2 = BatchNorm(width)
        self.downsample = _shortcut(in_channels, width, stride, rngs=rngs)

    @rematerialised
    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, H / stride, W / stride, width)."""
        y = ops.relu(self.bn1(self.conv1(x), weight))
        y = self.bn2(self.conv2(y), weight)
        return ops.relu(y + _through(self.downsample, x, weight))


class Bottleneck(nnx.Module):
    """The block of ResNet-50: convolutions of 1x1, 3x3, and 1x1 to four times the width, and a shortcut."""

    remat = False
    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, *, rngs: nnx.Rngs):
        self.conv1 = Conv(in_channels, width, 1, bias=False, init=he, rngs=rngs)
        self.bn1 = BatchNorm(width)
        self.conv2 = Conv(width, width, 3, stride, bias=False, init=he, rngs=rngs)
        self.bn2 = BatchNorm(width)
        self.conv3 = Conv(width, 4 * width, 1, bias=False, init=he, rngs=rngs)
        self.bn3 = BatchNorm(4 * width)
        self.downsample = _shortcut(in_channels, 4 * width, stride, rngs=rngs)

    @rematerialised
    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, H / stride, W / stride, 4 * width)."""
        y = ops.relu(self.bn1(self.conv1(x), weight))
        y = ops.relu(self.bn2(self.conv2(y), weight))
        y = self.bn3(self.conv3(y), weight)
        return ops.relu(y + _through(self.downsample, x, weight))


Block = type[Basic] | type[Bottleneck]


class ResNetEncoder(nnx.Module):
    """7x7 convolution with stride 2, 3x3 max-pooling, and four stages of residual blocks."""

    stride = 32

    def __init__(self, in_channels: int, block: Block, counts: tuple[int, ...], *, rngs: nnx.Rngs):
        self.widths = (64, *(block.expansion * width for width in (64, 128, 256, 512)))
        self.conv1 = Conv(in_channels, 64, 7, 2, bias=False, init=he, rngs=rngs)
        self.bn1 = BatchNorm(64)
        self.layer1 = _stage(block, 64, 64, counts[0], stride=1, rngs=rngs)
        self.layer2 = _stage(block, self.widths[1], 128, counts[1], stride=2, rngs=rngs)
        self.layer3 = _stage(block, self.widths[2], 256, counts[2], stride=2, rngs=rngs)
        self.layer4 = _stage(block, self.widths[3], 512, counts[3], stride=2, rngs=rngs)

    def __call__(self, x: jax.Array, weight: jax.Array | None = None) -> list[jax.Array]:
        """Map (N, H, W, in_channels) to five feature maps, finest first, the finest half the image's size."""
        maps = [ops.relu(self.bn1(self.conv1(x), weight))]
        x = ops.max_pool(maps[0], 3)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = block(x, weight)
            maps.append(x)
        return maps


def _stage(block: Block, in_channels: int, width: int, count: int, *, stride: int, rngs: nnx.Rngs) -> nnx.List:
    first = block(in_channels, width, stride, rngs=rngs)
    return nnx.List([first, *(block(block.expansion * width, width, 1, rngs=rngs) for _ in range(count - 1))])


def _shortcut(in_channels: int, out_channels: int, stride: int, *, rngs: nnx.Rngs) -> nnx.List | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nnx.List(
        [Conv(in_channels, out_channels, 1, stride, bias=False, init=he, rngs=rngs), BatchNorm(out_channels)]
    )


def _through(shortcut: nnx.List | None, x: jax.Array, weight: jax.Array | None) -> jax.Array:
    if shortcut is None:
        return x
    convolution, norm = shortcut
    return norm(convolution(x), weight)
