"""UNet++: a U-Net whose skip connections are blocks too (Zhou et al. 2018, arXiv:1807.10165; 2020, arXiv:1912.05074).

X(i, 0) is the encoder's map of level i. X(i, j) is a block on the up-convolution of X(i+1, j-1) joined with X(i, 0) to
X(i, j-1). A sharp twin filters X(i, 0) wherever it is joined. A head is a 1x1 convolution: of X(0, 4), or with deep
supervision one of each X(0, 1) to X(0, 4).

Kernels are He normal as published; those of up-convolutions are Glorot uniform, Keras's default. The authors' dropout
and weight decay are left out: all networks here train under one recipe.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.models.layers import Conv, he
from sharp_unet_jax.models.segmenter import Maps, Segmenter, Skip
from sharp_unet_jax.models.unet import WIDTHS, Block, UNetEncoder, UpConv


class Path(nnx.Module):
    """The way up from X(n, 0) by X(n-1, 1), X(n-2, 2) and so on to X(0, n)."""

    def __init__(self, widths: tuple[int, ...], *, rngs: nnx.Rngs):
        """Build it for levels 0 to n of `widths`."""
        levels = list(zip(widths[1:], widths[:-1], strict=True))[::-1]
        self.ups = nnx.List([UpConv(below, width, rngs=rngs) for below, width in levels])
        self.blocks = nnx.List(
            [Block((j + 1) * width, width, init=he, rngs=rngs) for j, (_, width) in enumerate(levels, 1)]
        )

    def __call__(self, rows: list[Maps], skip: Skip) -> None:
        """Append X(i, n-i) to each of the rows below n; rows[i] holds X(i, 0) to X(i, n-i-1)."""
        x = rows[len(self.ups)][0]
        for up, block, level in zip(self.ups, self.blocks, reversed(range(len(self.ups))), strict=True):
            first, *others = rows[level]
            x = block(skip(level, first, up(x), functools.partial(_joined, others)))
            rows[level].append(x)


class UNetPlusPlusDecoder(nnx.Module):
    """A path up from each map of the encoder but the finest, and a 1x1 convolution of the last X(0, n) or of all."""

    def __init__(self, widths: tuple[int, ...], *, deep: bool, num_classes: int, rngs: nnx.Rngs):
        self.paths = nnx.List([Path(widths[: n + 1], rngs=rngs) for n in range(1, len(widths))])
        count = len(self.paths) if deep else 1
        self.classifiers = nnx.List([Conv(widths[0], num_classes, 1, init=he, rngs=rngs) for _ in range(count)])
        self.heads: tuple[str, ...] = tuple(f"classifiers.{n}" for n in range(count))

    def __call__(self, maps: Maps, skip: Skip, weight: jax.Array | None = None) -> list[jax.Array]:  # noqa: ARG002
        """Map the encoder's maps, finest first, to the logits (N, H, W, num_classes) of each head, the deepest last."""
        rows = [[x] for x in maps]  # rows[i][j] is X(i, j)
        for path in self.paths:
            path(rows, skip)
        finest = rows[0][-len(self.classifiers) :]
        return [head(x) for head, x in zip(self.classifiers, finest, strict=True)]


def parts(
    *, num_classes: int, in_channels: int, rngs: nnx.Rngs, deep: bool = False, widths: tuple[int, ...] = WIDTHS
) -> tuple[UNetEncoder, UNetPlusPlusDecoder]:
    """Return the encoder and the decoder; with `deep` supervision the decoder has a head for each X(0, n)."""
    encoder = UNetEncoder(in_channels, widths, init=he, rngs=rngs)
    return encoder, UNetPlusPlusDecoder(widths, deep=deep, num_classes=num_classes, rngs=rngs)


def pruned(segmenter: Segmenter, level: int) -> Segmenter:
    """Return the part of a UNet++ with deep supervision that the head of X(0, level) needs: a smaller, faster network.

    >>> from sharp_unet_jax import models
    >>> model = models.build("unetpp_deep", rngs=nnx.Rngs(0))
    >>> small = models.unetpp.pruned(model, 2)
    >>> image = jnp.ones((1, 32, 32, 3))
    >>> small(image).shape
    (1, 32, 32, 1)

    Args:
        segmenter: `unetpp_deep` or `sharp_unetpp_deep`, from `build` or the `network` of a finished run.
        level: 1 to 4.

    Returns:
        A network with copies of the weights. Its logits are those of the head, for images of any size: it pads images
        as `segmenter` does.

    Raises:
        InputError: for a network without deep supervision, and for another level.
    """
    small = nnx.clone(segmenter)
    encoder, decoder = small.encoder, small.decoder
    if not (isinstance(encoder, UNetEncoder) and isinstance(decoder, UNetPlusPlusDecoder) and len(decoder.heads) > 1):
        raise InputError("pruned: the network has no head to prune to: take unetpp_deep or sharp_unetpp_deep")
    if level not in range(1, len(decoder.paths) + 1):
        raise InputError(f"pruned: level must be from 1 to {len(decoder.paths)}, got {level}")
    encoder.widths = encoder.widths[: level + 1]
    encoder.blocks = nnx.List(encoder.blocks[: level + 1])
    decoder.paths = nnx.List(decoder.paths[:level])
    decoder.classifiers = nnx.List([decoder.classifiers[level - 1]])
    decoder.heads = decoder.heads[:1]
    return small


def _joined(others: Maps, below: jax.Array, x: jax.Array) -> jax.Array:
    """Concatenate the map from below, X(i, 0) and the others of its row, X(i, 1) to X(i, j-1)."""
    return jnp.concatenate([below, x, *others], axis=-1)
