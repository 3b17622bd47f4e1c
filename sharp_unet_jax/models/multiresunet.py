"""MultiResUNet (Ibtehaz & Rahman 2020, arXiv:1902.04049): a U-Net of multi-resolution blocks and residual paths.

The published counts for RGB images and one class are 7,238,228 trained parameters, and 7,262,750 with the running
statistics. They decide these details:

- W = 1.67 U channels in a block are shared by its three convolutions, each share rounded down;
- the running statistics are those of 12,261 channels: every convolution is normalised, the 1x1 shortcuts and the head
  among them, and so is every concatenation and sum of a block and every sum of a path; up-convolutions are not;
- convolutions have no bias, up-convolutions have one;
- normalised convolutions have no scale; normalised concatenations and sums have one.

ReLUs are not counted. The paper says that every convolution has one, but the output. The shortcuts have none: their
sums are followed by a ReLU, which would change nothing after two ReLUs. Kernels are Glorot uniform and the epsilon of
batch normalisation is 1e-3, the Keras defaults of the published network. Its momentum is this project's 0.9: an epoch
has a few steps, and with Keras's 0.99 the first epochs would be validated on the statistics of the start.

A sharp block filters the encoder's map before its residual path.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from sharp_unet_jax import ops
from sharp_unet_jax.models.layers import BatchNorm, Conv, rematerialised
from sharp_unet_jax.models.segmenter import Join, Maps, Skip, concatenated
from sharp_unet_jax.models.unet import UpConv

UNITS = (32, 64, 128, 256, 512)  # the paper's U at each level, finest first: the widths of a U-Net
EPSILON = 1e-3


class ConvNorm(nnx.Module):
    """Convolution without bias, then batch normalisation without scale."""

    def __init__(self, in_channels: int, out_channels: int, size: int, *, rngs: nnx.Rngs):
        self.conv = Conv(in_channels, out_channels, size, bias=False, rngs=rngs)
        self.norm = BatchNorm(out_channels, eps=EPSILON, scale=False)

    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, H, W, out_channels)."""
        return self.norm(self.conv(x), weight)


class MultiResBlock(nnx.Module):
    """Three 3x3 convolutions in a chain, whose results are concatenated, and a 1x1 shortcut.

    The chain sees 3x3, 5x5 and 7x7 pixels: three resolutions.
    """

    remat = False

    def __init__(self, in_channels: int, unit: int, *, rngs: nnx.Rngs):
        outputs = shares(unit)
        inputs = (in_channels, *outputs[:-1])
        self.chain = nnx.List([ConvNorm(i, o, 3, rngs=rngs) for i, o in zip(inputs, outputs, strict=True)])
        self.shortcut = ConvNorm(in_channels, sum(outputs), 1, rngs=rngs)
        self.norm1 = BatchNorm(sum(outputs), eps=EPSILON)
        self.norm2 = BatchNorm(sum(outputs), eps=EPSILON)

    @rematerialised
    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, H, W, sum of `shares`)."""
        maps = [x]
        for convolution in self.chain:
            maps.append(ops.relu(convolution(maps[-1], weight)))
        y = self.norm1(jnp.concatenate(maps[1:], axis=-1), weight)
        return self.norm2(ops.relu(y + self.shortcut(x, weight)), weight)


class ResStep(nnx.Module):
    """A step of a residual path: a 3x3 convolution and a 1x1 shortcut."""

    remat = False

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs):
        self.convolution = ConvNorm(in_channels, out_channels, 3, rngs=rngs)
        self.shortcut = ConvNorm(in_channels, out_channels, 1, rngs=rngs)
        self.norm = BatchNorm(out_channels, eps=EPSILON)

    @rematerialised
    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, H, W, out_channels)."""
        y = ops.relu(self.convolution(x, weight))
        return self.norm(ops.relu(y + self.shortcut(x, weight)), weight)


class MultiResEncoder(nnx.Module):
    """A block for each unit, with 2x2 max-pooling between them."""

    def __init__(self, in_channels: int, units: tuple[int, ...], *, rngs: nnx.Rngs):
        self.widths, self.stride = tuple(sum(shares(unit)) for unit in units), 2 ** (len(units) - 1)
        inputs = (in_channels, *self.widths[:-1])
        self.blocks = nnx.List([MultiResBlock(i, unit, rngs=rngs) for i, unit in zip(inputs, units, strict=True)])

    def __call__(self, x: jax.Array, weight: jax.Array | None = None) -> Maps:
        """Map (N, H, W, in_channels) to a feature map per unit, finest first, each half the size of the one before."""
        maps = [self.blocks[0](x, weight)]
        for block in self.blocks[1:]:
            maps.append(block(ops.max_pool(maps[-1]), weight))
        return maps


class MultiResDecoder(nnx.Module):
    """Up-convolution, skip connection with a residual path, and block at each level; then a normalised convolution.

    The finest path has one step for each pooling, the next ones have one less each: 4, 3, 2, 1.
    """

    heads: tuple[str, ...] = ("head",)

    def __init__(self, widths: tuple[int, ...], units: tuple[int, ...], *, num_classes: int, rngs: nnx.Rngs):
        """Build it for an encoder of `units` whose maps have `widths` channels; its lists are finest first."""
        self.ups: nnx.List[UpConv] = nnx.List()
        self.paths: nnx.List[nnx.List[ResStep]] = nnx.List()
        self.blocks: nnx.List[MultiResBlock] = nnx.List()
        for level, unit in enumerate(units[:-1]):
            inputs = (widths[level], *[unit] * (len(units) - 2 - level))
            self.ups.append(UpConv(widths[level + 1], unit, rngs=rngs))
            self.paths.append(nnx.List([ResStep(each, unit, rngs=rngs) for each in inputs]))
            self.blocks.append(MultiResBlock(2 * unit, unit, rngs=rngs))
        self.head = ConvNorm(widths[0], num_classes, 1, rngs=rngs)

    def __call__(self, maps: Maps, skip: Skip, weight: jax.Array | None = None) -> jax.Array:
        """Map the encoder's maps, finest first, to logits (N, H, W, num_classes)."""

        def after(path: nnx.List) -> Join:
            def join(below: jax.Array, x: jax.Array) -> jax.Array:
                for step in path:
                    x = step(x, weight)
                return concatenated(below, x)

            return join

        *finer, x = maps
        for level in reversed(range(len(finer))):
            x = skip(level, finer[level], self.ups[level](x), after(self.paths[level]))
            x = self.blocks[level](x, weight)
        return self.head(x, weight)


def shares(unit: int) -> tuple[int, int, int]:
    """Return the channels of the three convolutions of a block: shares of W = 1.67 units, rounded down."""
    width = 1.67 * unit
    return int(0.167 * width), int(0.333 * width), int(0.5 * width)


def parts(
    *, units: tuple[int, ...] = UNITS, num_classes: int, in_channels: int, rngs: nnx.Rngs
) -> tuple[MultiResEncoder, MultiResDecoder]:
    """Return the encoder and the decoder."""
    encoder = MultiResEncoder(in_channels, units, rngs=rngs)
    return encoder, MultiResDecoder(encoder.widths, units, num_classes=num_classes, rngs=rngs)
