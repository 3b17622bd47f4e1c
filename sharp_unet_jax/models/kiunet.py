"""KiU-Net (Valanarasu et al. 2020, arXiv:2006.04878): two branches, one with maps coarser than the image, one finer.

The coarse branch, a small U-Net, pools its maps by 2 at each level. The fine branch (Ki-Net) doubles them. Behind both
blocks of a level, a cross residual fusion block (CRFB) adds to each branch's map what it makes of the other's. Skip
connections add the encoder's maps to the decoder's, two in either branch. The branches' sum gives the logits.

The parameter count settles the structure. The network that its authors built for one grey channel and two classes has
290,658 parameters (0.29 M are published). A fusion block of 64 channels that no forward pass uses has 74,112 of them:
it is left out here. The other 216,546 are in convolutions with bias and in batch normalisation with scale and bias:

- 95,088 in the 3x3 convolutions of two branches, from 1 channel to 16, 32, 64, 32, 16 and 8
- 672 in batch normalisation behind each of them
- 120,768 in fusion blocks of 16, 32, 64, 32 and 16 channels: two 3x3 convolutions each, with batch normalisation
- 18 in a 1x1 convolution from 8 channels to two classes

RGB adds 576, and one class takes 9 away: 217,113.

The count does not settle the order. Here a block is convolution, resizing, batch normalisation, ReLU; in a fusion block
the resizing is last, and both directions read the maps before the fusion; skip connections take maps behind the
encoder's fusion and add them behind the decoder's. Kernels are He normal and `eps` is 1e-5, as in this project's other
networks from PyTorch. PyTorch's default kernels are uniform, with a sixth of that variance.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from sharp_unet_jax import ops
from sharp_unet_jax.models.layers import BatchNorm, Conv, he, rematerialised
from sharp_unet_jax.models.segmenter import Maps, Skip

WIDTHS = (8, 16, 32, 64)  # the first is the width of the decoder's end


class Block(nnx.Module):
    """3x3 convolution, resizing by 2, batch normalisation and ReLU."""

    remat = False

    def __init__(self, in_channels: int, out_channels: int, *, grows: bool, rngs: nnx.Rngs):
        self.conv, self.norm = Conv(in_channels, out_channels, init=he, rngs=rngs), BatchNorm(out_channels)
        self.grows = grows

    @rematerialised
    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, 2H, 2W, out_channels) if it grows, else to (N, H / 2, W / 2, ...)."""
        x = self.conv(x)
        return ops.relu(self.norm(ops.enlarge(x, 2) if self.grows else ops.max_pool(x), weight))


class ToFine(nnx.Module):
    """3x3 convolution, batch normalisation, ReLU, bilinear enlargement: what the coarse map adds to the fine one."""

    remat = False

    def __init__(self, channels: int, factor: int, *, rngs: nnx.Rngs):
        self.conv, self.norm = Conv(channels, channels, init=he, rngs=rngs), BatchNorm(channels)
        self.factor = factor

    @rematerialised
    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map (N, H, W, C) to (N, factor H, factor W, C)."""
        return ops.enlarge(ops.relu(self.norm(self.conv(x), weight)), self.factor)


class ToCoarse(nnx.Module):
    """3x3 convolution, batch normalisation, ReLU, bilinear reduction: what the fine map adds to the coarse one.

    The reduction averages the 2x2 pixels in the middle of each square of factor x factor. Prediction computes no
    others. In training, batch statistics need all.
    """

    remat = False

    def __init__(self, channels: int, factor: int, *, rngs: nnx.Rngs):
        self.conv, self.norm = Conv(channels, channels, init=he, rngs=rngs), BatchNorm(channels)
        self.factor = factor

    @rematerialised
    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map (N, H, W, C) to (N, H / factor, W / factor, C)."""
        factor = self.factor
        if weight is None:
            x, factor = centres(x, factor, 4), 4  # all that the convolution sees of the middle
        x = ops.relu(centres(self.norm(self.conv(x), weight), factor, 2))
        n, height, width, channels = x.shape
        return jnp.mean(x.reshape(n, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


class Fusion(nnx.Module):
    """Cross residual fusion block: each branch's map plus what the other's, before the fusion, adds to it."""

    def __init__(self, channels: int, factor: int, *, rngs: nnx.Rngs):
        self.to_fine, self.to_coarse = ToFine(channels, factor, rngs=rngs), ToCoarse(channels, factor, rngs=rngs)

    def __call__(self, fine: jax.Array, coarse: jax.Array, weight: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Return both maps; a side of the fine one, (N, H, W, C), is `factor` times the coarse one's."""
        return fine + self.to_fine(coarse, weight), coarse + self.to_coarse(fine, weight)


class Level(nnx.Module):
    """A block of either branch, then their fusion, unless both maps have the same size (`factor` is 1).

    Outwards the fine branch grows and the coarse one shrinks; back it is the reverse.
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int, *, outwards: bool, rngs: nnx.Rngs):
        self.fine = Block(in_channels, out_channels, grows=outwards, rngs=rngs)
        self.coarse = Block(in_channels, out_channels, grows=not outwards, rngs=rngs)
        self.fusion = Fusion(out_channels, factor, rngs=rngs) if factor > 1 else None

    def __call__(self, fine: jax.Array, coarse: jax.Array, weight: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """Map the branches' maps, (N, h, w, in_channels) each, to those of the next level."""
        fine, coarse = self.fine(fine, weight), self.coarse(coarse, weight)
        return (fine, coarse) if self.fusion is None else self.fusion(fine, coarse, weight)


class KiUNetEncoder(nnx.Module):
    """Levels outwards: the fine maps have 2, 4 and 8 times the image's sides, the coarse ones 1/2, 1/4 and 1/8."""

    def __init__(self, in_channels: int, widths: tuple[int, ...] = WIDTHS, *, rngs: nnx.Rngs):
        self.widths, self.stride = (*reversed(widths[1:]), *widths[1:]), 2 ** (len(widths) - 1)
        pairs = enumerate(zip((in_channels, *widths[1:-1]), widths[1:], strict=True), 1)
        self.levels = nnx.List([Level(i, o, 4**level, outwards=True, rngs=rngs) for level, (i, o) in pairs])

    def __call__(self, x: jax.Array, weight: jax.Array | None = None) -> list[jax.Array]:
        """Map (N, H, W, in_channels) to the maps of both branches, finest first."""
        fine = coarse = x
        maps: list[jax.Array] = []
        for level in self.levels:
            fine, coarse = level(fine, coarse, weight)
            maps = [fine, *maps, coarse]
        return maps


class KiUNetDecoder(nnx.Module):
    """Levels back to the image's size, with skip connections in between, and a 1x1 convolution."""

    heads: tuple[str, ...] = ("head",)

    def __init__(self, widths: tuple[int, ...] = WIDTHS, *, num_classes: int, rngs: nnx.Rngs):
        pairs = list(enumerate(zip(widths[1:], widths[:-1], strict=True)))[::-1]
        self.levels = nnx.List([Level(i, o, 4**level, outwards=False, rngs=rngs) for level, (i, o) in pairs])
        self.head = Conv(widths[0], num_classes, 1, rngs=rngs)

    def __call__(self, maps: Maps, skip: Skip, weight: jax.Array | None = None) -> jax.Array:
        """Map the encoder's maps, finest first, to logits (N, H, W, num_classes)."""
        fine, coarse = self.levels[0](maps[0], maps[-1], weight)
        for number, level in enumerate(self.levels[1:], 1):
            fine = skip(number, maps[number], fine, jnp.add)
            coarse = skip(len(maps) - 1 - number, maps[-1 - number], coarse, jnp.add)
            fine, coarse = level(fine, coarse, weight)
        return self.head(fine + coarse)


def centres(x: jax.Array, factor: int, size: int) -> jax.Array:
    """Cut x (N, factor h, factor w, C) into squares and keep size x size pixels in each middle: (N, size h, size w, C).

    The mean of the middle 2x2 pixels is the bilinear reduction by an even factor.
    """
    n, height, width, channels = x.shape
    height, width, start = height // factor, width // factor, (factor - size) // 2
    squares = x.reshape(n, height, factor, width, factor, channels)
    middle = squares[:, :, start : start + size, :, start : start + size]
    return middle.reshape(n, size * height, size * width, channels)


def parts(
    widths: tuple[int, ...] = WIDTHS, *, num_classes: int, in_channels: int, rngs: nnx.Rngs
) -> tuple[KiUNetEncoder, KiUNetDecoder]:
    """Return the encoder and the decoder."""
    encoder = KiUNetEncoder(in_channels, widths, rngs=rngs)
    return encoder, KiUNetDecoder(widths, num_classes=num_classes, rngs=rngs)
