"""The Attention U-Net of Abraham & Khan (2019, arXiv:1810.07842), after Oktay et al. (2018, arXiv:1804.03999).

An attention gate multiplies every pixel of an encoder's map by a number from 0 to 1 before the map joins the decoder's.
The gate computes the number from the map itself and from a coarser map, its signal. The finest map has no gate. A sharp
block filters the map before its gate.

The published counts are 847,076 trained parameters, and 849,316 with the running statistics. The same authors' larger
network, whose decoder is the same, has 5,640,103 and 5,647,143 with four outputs. One regular structure was found that
has all of these counts, both networks with RGB images. It decides these details:

- every convolution has a bias; batch normalisation has scale and bias, and follows all convolutions of the encoder,
  those of the signals and the last one of each gate;
- a signal has as many channels as the map that it comes from: the encoder's coarsest map for the coarsest gate, and
  what the coarsest gate's level hands on for both other gates;
- inside the gates maps have 128, 64 and 32 channels, coarsest first;
- every gate has a 3x3 transposed convolution of its signal, with stride 1 if the size is the right one already;
- the decoder has no blocks.

It leaves a choice for the widths of the up-convolutions, coarsest first: 32, 64, 32, 32 or 32, 32, 64, 32. It is
the former here, because its second and third width are those inside the gates of their levels. The counts say nothing
of the initialisation and the epsilon of batch normalisation. Kernels are Glorot uniform and epsilon is 1e-3, Keras's
defaults: the published network is written in Keras. The momentum is this project's 0.9: an epoch has a few steps, and
with Keras's 0.99 the first epochs would be validated on the statistics of the start.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from sharp_unet_jax import ops
from sharp_unet_jax.models.layers import BatchNorm, Conv, Weight, add_bias, glorot, rematerialised, twice
from sharp_unet_jax.models.segmenter import Join, Maps, Skip, concatenated

WIDTHS = (32, 32, 64, 64, 128)  # of the encoder's maps, finest first
UPS = (32, 32, 64, 32)  # of the up-convolutions, finest first
GATES = (32, 64, 128)  # inside the gates, finest first: the second level has the first gate
EPSILON = 1e-3


class ConvNorm(nnx.Module):
    """Convolution, batch normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, size: int = 3, *, rngs: nnx.Rngs):
        self.conv = Conv(in_channels, out_channels, size, rngs=rngs)
        self.norm = BatchNorm(out_channels, eps=EPSILON)

    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, H, W, out_channels)."""
        return ops.relu(self.norm(self.conv(x), weight))


class Block(nnx.Module):
    """Two 3x3 convolutions, each with batch normalisation and ReLU."""

    remat = False

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs):
        self.first = ConvNorm(in_channels, out_channels, rngs=rngs)
        self.second = ConvNorm(out_channels, out_channels, rngs=rngs)

    @rematerialised
    def __call__(self, x: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, H, W, out_channels)."""
        return self.second(self.first(x, weight), weight)


class DownConv(nnx.Module):
    """2x2 convolution with stride 2, padded as Keras's "same": it halves the size."""

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs):
        self.kernel = Weight(glorot(rngs.params(), (2, 2, in_channels, out_channels), jnp.float32))
        self.bias = Weight(jnp.zeros(out_channels, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, ceil(H / 2), ceil(W / 2), out_channels)."""
        layout = ("NHWC", "HWIO", "NHWC")
        x = lax.conv_general_dilated(x, self.kernel[...].astype(x.dtype), (2, 2), "SAME", dimension_numbers=layout)
        return add_bias(x, self.bias)


class UpConv(nnx.Module):
    """3x3 transposed convolution with stride 2, padded as Keras's "same": it doubles the size."""

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs):
        self.kernel = Weight(glorot(rngs.params(), (3, 3, in_channels, out_channels), jnp.float32))
        self.bias = Weight(jnp.zeros(out_channels, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map (N, H, W, in_channels) to (N, 2H, 2W, out_channels)."""
        return add_bias(transposed(x, self.kernel[...].astype(x.dtype)), self.bias)


def transposed(x: jax.Array, w: jax.Array) -> jax.Array:
    """Return the 3x3 transposed convolution with stride 2: x (N, H, W, I), w (3, 3, I, O) -> (N, 2H, 2W, O).

    Each pixel (i, j) of x adds x[i, j] @ w[a, b] to the pixel (2i + a, 2j + b) of the result. Equal to
    `lax.conv_transpose(x, w.swapaxes(2, 3), (2, 2), "SAME", transpose_kernel=True)`, whose gradients take XLA's CPU
    code some 20 times as long. Keras stores the same w as (3, 3, O, I).
    """
    n, height, width, inputs = x.shape
    taps = w.swapaxes(1, 2).reshape(3, 1, 1, inputs, -1)  # the three taps of a row of the kernel side by side
    first, second, third = (_columns(ops.conv1x1(x, row)) for row in taps)
    even = first + jnp.pad(third[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0)))
    return jnp.stack([even, second], axis=2).reshape(n, 2 * height, 2 * width, -1)


def _columns(products: jax.Array) -> jax.Array:
    """Return even and odd columns, (N, H, W, 2 O), from the products with three taps (N, H, W, 3 O)."""
    first, second, third = jnp.split(products, 3, axis=-1)
    even = first + jnp.pad(third[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))
    return jnp.concatenate([even, second], axis=-1)


class Gate(nnx.Module):
    """Attention gate: a map times a number for each pixel, then a 1x1 convolution and batch normalisation."""

    remat = False

    def __init__(self, channels: int, width: int, signal: int, *, doubles: bool, rngs: nnx.Rngs):
        """Build it for maps of `channels`, and signals of `signal` channels.

        A signal has half the size of the map, or with `doubles` a quarter. `width` is the number of channels in which
        both meet.
        """
        self.signal = ConvNorm(signal, signal, 1, rngs=rngs)
        self.of_map = DownConv(channels, width, rngs=rngs)
        self.of_signal = Conv(signal, width, 1, rngs=rngs)
        # A transposed convolution with stride 1 is a convolution with the kernel rotated by 180 degrees.
        self.resize = UpConv(width, width, rngs=rngs) if doubles else Conv(width, width, rngs=rngs)
        self.attention = Conv(width, 1, 1, rngs=rngs)
        self.result, self.norm = Conv(channels, channels, 1, rngs=rngs), BatchNorm(channels, eps=EPSILON)

    @rematerialised
    def __call__(self, x: jax.Array, signal: jax.Array, weight: jax.Array | None) -> jax.Array:
        """Map x (N, H, W, channels) and the signal (N, h, w, signal) to (N, H, W, channels)."""
        coarse = self.resize(self.of_signal(self.signal(signal, weight)))
        attention = jax.nn.sigmoid(self.attention(ops.relu(self.of_map(x) + coarse)))
        return self.norm(self.result(x * twice(attention)), weight)


class AttentionEncoder(nnx.Module):
    """A block for each width, with 2x2 max-pooling between them."""

    def __init__(self, in_channels: int, widths: tuple[int, ...], *, rngs: nnx.Rngs):
        self.widths, self.stride = widths, 2 ** (len(widths) - 1)
        inputs = (in_channels, *widths[:-1])
        self.blocks = nnx.List([Block(i, o, rngs=rngs) for i, o in zip(inputs, widths, strict=True)])

    def __call__(self, x: jax.Array, weight: jax.Array | None = None) -> Maps:
        """Map (N, H, W, in_channels) to a feature map per width, finest first, each half the size of the one before."""
        maps = [self.blocks[0](x, weight)]
        for block in self.blocks[1:]:
            maps.append(block(ops.max_pool(maps[-1]), weight))
        return maps


class AttentionDecoder(nnx.Module):
    """Up-convolution with ReLU and a gated skip connection at each level, coarsest first, then a 1x1 convolution."""

    heads: tuple[str, ...] = ("head",)

    def __init__(
        self,
        widths: tuple[int, ...],
        ups: tuple[int, ...],
        gates: tuple[int, ...],
        *,
        num_classes: int,
        rngs: nnx.Rngs,
    ):
        """Build it, see `WIDTHS`, `UPS` and `GATES`; its lists are finest first."""
        joined = [up + width for up, width in zip(ups, widths[:-1], strict=True)]
        below = (*joined[1:], widths[-1])
        self.ups = nnx.List([UpConv(i, o, rngs=rngs) for i, o in zip(below, ups, strict=True)])
        self.gates = nnx.List(
            [
                Gate(widths[1], gates[0], joined[3], doubles=True, rngs=rngs),
                Gate(widths[2], gates[1], joined[3], doubles=False, rngs=rngs),
                Gate(widths[3], gates[2], widths[4], doubles=False, rngs=rngs),
            ]
        )
        self.head = Conv(joined[0], num_classes, 1, rngs=rngs)

    def __call__(self, maps: Maps, skip: Skip, weight: jax.Array | None = None) -> jax.Array:
        """Map the encoder's five maps, finest first, to logits (N, H, W, num_classes)."""

        def gated(level: int, signal: jax.Array) -> Join:
            return lambda below, x: concatenated(below, self.gates[level - 1](x, signal, weight))

        x = signal = maps[4]
        for level in (3, 2, 1, 0):
            below = ops.relu(self.ups[level](x))
            x = skip(level, maps[level], below, gated(level, signal) if level else concatenated)
            signal = x if level == 3 else signal
        return self.head(x)


def parts(
    widths: tuple[int, ...] = WIDTHS,
    ups: tuple[int, ...] = UPS,
    gates: tuple[int, ...] = GATES,
    *,
    num_classes: int,
    in_channels: int,
    rngs: nnx.Rngs,
) -> tuple[AttentionEncoder, AttentionDecoder]:
    """Return the encoder and the decoder."""
    encoder = AttentionEncoder(in_channels, widths, rngs=rngs)
    return encoder, AttentionDecoder(widths, ups, gates, num_classes=num_classes, rngs=rngs)
