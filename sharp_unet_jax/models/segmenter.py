"""An encoder, skip connections and a decoder make a segmentation network.

An encoder is any module with `widths` (channels of its feature maps, finest first) that maps (N, H, W, C) to a list
of such maps, each half the size of the one before. The decoder and the skip know nothing else of it.

Every part takes `weight` (N,), what each image counts in batch statistics while training; None, and the same network
predicts. Nothing else tells training from prediction.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

from sharp_unet_jax import ops

Maps = list[jax.Array]
Joins = list[Callable[[jax.Array], jax.Array]]  # for each level, finest first: the decoder's map to it and the skip's


class Encoder(Protocol):
    """What a network needs to know of its encoder."""

    widths: tuple[int, ...]
    first_stride: int  # how many times smaller than the image the finest map is

    def __call__(self, x: jax.Array, weight: jax.Array | None = None, /) -> Maps:
        """(N, H, W, C) to feature maps, finest first, each half the size of the one before."""
        ...


class PlainSkip(nnx.Module):
    """U-Net's skip connections: the encoder's maps as they are, beside the decoder's."""

    def __call__(self, level: int, x: jax.Array, below: jax.Array) -> jax.Array:  # noqa: ARG002
        """The decoder's map `below` (N, H, W, D) and the encoder's x (N, H, W, C) of a level, 0 the finest."""
        return jnp.concatenate([below, x], axis=-1)


class SharpSkip(nnx.Module):
    """The paper's sharp blocks: every channel of an encoder's map convolved with one fixed kernel (equation 1).

    With `kernel="learnable"` every channel of every map has its own, initialised at the Laplacian: the only kernel
    that adds parameters.
    """

    def __init__(self, widths: Sequence[int], *, kernel: str, padding: str):
        self.kernel, self.padding = kernel, padding
        if kernel == "learnable":
            start = jnp.asarray(ops.KERNELS[kernel])[:, :, None]
            self.kernels = nnx.List([nnx.Param(jnp.tile(start, (1, 1, width))) for width in widths])

    def __call__(self, level: int, x: jax.Array, below: jax.Array) -> jax.Array:
        """As `PlainSkip`, with x filtered."""
        kernel = self.kernels[level][...] if self.kernel == "learnable" else self.kernel
        return ops.sharp_skip(below, x, kernel, self.padding)


class Normalisation(nnx.Variable):
    """Mean or standard deviation of the inputs: no parameter, and kept with the weights that were trained on it."""


class Segmenter(nnx.Module):
    """Encoder, skips and decoder under one roof, for images of any size.

    Arithmetic is in `dtype`; parameters and the logits stay float32. Images are normalised by `mean` and `std`, which
    pretrained weights bring along; 0 and 1 otherwise.
    """

    def __init__(
        self,
        encoder: Encoder,
        skip: Callable[[int, jax.Array, jax.Array], jax.Array],
        decoder: Callable[[jax.Array, Joins, jax.Array | None], jax.Array],
        *,
        in_channels: int,
        dtype: DTypeLike = jnp.float32,
    ):
        self.encoder, self.skip, self.decoder = encoder, skip, decoder
        self.mean = Normalisation(jnp.zeros(in_channels, jnp.float32))
        self.std = Normalisation(jnp.ones(in_channels, jnp.float32))
        self.dtype = dtype

    def __call__(self, x: jax.Array, weight: jax.Array | None = None, *, freeze_encoder: bool = False) -> jax.Array:
        """Images (N, H, W, in_channels), float in [0, 1], to logits (N, H, W, num_classes), float32.

        Sizes that the encoder cannot halve often enough are padded at the lower right by repeating the edge, and the
        logits cropped back. `weight` (N,) trains the batch normalisation (`layers.BatchNorm`), in the
        encoder only while it is not frozen.
        """
        height, width = x.shape[1:3]
        multiple = self.encoder.first_stride * 2 ** (len(self.encoder.widths) - 1)
        x = (x - self.mean[...].reshape(1, 1, 1, -1)) / self.std[...].reshape(1, 1, 1, -1)
        x = _extend(_extend(x.astype(self.dtype), 1, multiple), 2, multiple)
        *maps, x = self.encoder(x, None if freeze_encoder else weight)
        joins: Joins = [functools.partial(self.skip, level, each) for level, each in enumerate(maps)]
        logits = self.decoder(x, joins, weight)
        return logits[:, :height, :width].astype(jnp.float32)


def _extend(x: jax.Array, axis: int, multiple: int) -> jax.Array:
    """`x` up to a multiple along `axis`, its last row or column repeated."""
    missing = -x.shape[axis] % multiple
    if not missing:  # converters of programs, jax2onnx for one, get a padding of nothing wrong
        return x
    last = lax.slice_in_dim(x, x.shape[axis] - 1, x.shape[axis], axis=axis)
    return jnp.concatenate([x, jnp.repeat(last, missing, axis)], axis)
