"""Encoder, skip connections and decoder, and the segmentation network that they make.

Every part takes `weight` (N,): how much each image counts in the batch statistics of a training step, 0 for padding.
`None` means prediction. Nothing else tells training from prediction.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

from sharp_unet_jax import ops

Maps = list[jax.Array]  # feature maps (N, h, w, C), finest first
Skip = Callable[[int, jax.Array, jax.Array], jax.Array]  # skip(level, x, below), see `PlainSkip`


class Encoder(Protocol):
    """Interface of encoders."""

    widths: tuple[int, ...]  # channels of its feature maps, finest first
    first_stride: int  # height of the image over height of the finest map

    def __call__(self, x: jax.Array, weight: jax.Array | None = None, /) -> Maps:
        """Map (N, H, W, C) to feature maps, finest first, each half the size of the one before."""
        ...


class Decoder(Protocol):
    """Interface of decoders."""

    heads: tuple[str, ...]  # names of the layers whose outputs are logits, `num_classes` channels each

    def __call__(self, maps: Maps, skip: Skip, weight: jax.Array | None = None, /) -> jax.Array:
        """Map the encoder's maps, finest first, to logits (N, H, W, num_classes).

        H and W are those of the finest map times the encoder's `first_stride`. The decoder calls `skip` wherever a map
        joins another of its level, as often as it likes. Grad-CAM looks at what each call returns.
        """
        ...


class PlainSkip(nnx.Module):
    """U-Net's skip connections: concatenation."""

    def __call__(self, level: int, x: jax.Array, below: jax.Array) -> jax.Array:  # noqa: ARG002
        """Join the decoder's map and the encoder's.

        Args:
            level: 0 is the finest; maps of the next level are half the size.
            x: the encoder's map, (N, H, W, C).
            below: the decoder's map, up-sampled to this level, (N, H, W, D).

        Returns:
            (N, H, W, D + C).
        """
        return jnp.concatenate([below, x], axis=-1)


class SharpSkip(nnx.Module):
    """The paper's sharp blocks: every channel of the encoder's map is convolved with one kernel (equation 1).

    The kernel is a constant. With `kernel="learnable"` every channel of every level has its own kernel, initialised to
    the Laplacian. No other kernel adds parameters.
    """

    def __init__(self, widths: Sequence[int], *, kernel: str, padding: str):
        self.kernel, self.padding = kernel, padding
        if kernel == "learnable":
            start = jnp.asarray(ops.KERNELS[kernel])[:, :, None]
            self.kernels = nnx.List([nnx.Param(jnp.tile(start, (1, 1, width))) for width in widths])

    def __call__(self, level: int, x: jax.Array, below: jax.Array) -> jax.Array:
        """Join the maps as `PlainSkip` does, with x filtered by the kernel."""
        kernel = self.kernels[level][...] if self.kernel == "learnable" else self.kernel
        return ops.sharp_skip(below, x, kernel, self.padding)


class Normalisation(nnx.Variable):
    """Mean or standard deviation of the inputs: no parameter, but part of the weights that were trained with it."""


class Segmenter(nnx.Module):
    """A segmentation network, for images of any size.

    The network computes in `dtype`; parameters and logits are float32. It normalises images by `mean` and `std`, which
    are 0 and 1 or come with pretrained weights.
    """

    def __init__(
        self, encoder: Encoder, skip: Skip, decoder: Decoder, *, in_channels: int, dtype: DTypeLike = jnp.float32
    ):
        self.encoder, self.skip, self.decoder = encoder, skip, decoder
        self.mean = Normalisation(jnp.zeros(in_channels, jnp.float32))
        self.std = Normalisation(jnp.ones(in_channels, jnp.float32))
        self.dtype = dtype

    @property
    def strides(self) -> tuple[int, ...]:
        """Height of the padded image over the height of each level's maps, finest first."""
        return tuple(self.encoder.first_stride * 2**level for level in range(len(self.encoder.widths)))

    @property
    def stride(self) -> int:
        """The coarsest level's stride: the network pads height and width of images to multiples of it."""
        return self.strides[-1]

    def __call__(self, x: jax.Array, weight: jax.Array | None = None, *, freeze_encoder: bool = False) -> jax.Array:
        """Compute the logits of images.

        Args:
            x: (N, H, W, in_channels), float in [0, 1]. Where H and W are no multiples of `stride`, the lower and right
                edges are repeated up to the next multiple, and the logits are cropped to H and W.
            weight: (N,) updates the batch statistics (`layers.BatchNorm`); None predicts.
            freeze_encoder: the encoder predicts, whatever `weight` is.

        Returns:
            (N, H, W, num_classes) float32.
        """
        height, width = x.shape[1:3]
        x = (x - self.mean[...].reshape(1, 1, 1, -1)) / self.std[...].reshape(1, 1, 1, -1)
        x = _extend(_extend(x.astype(self.dtype), 1, self.stride), 2, self.stride)
        maps = self.encoder(x, None if freeze_encoder else weight)
        return self.decoder(maps, self.skip, weight)[:, :height, :width].astype(jnp.float32)


def _extend(x: jax.Array, axis: int, multiple: int) -> jax.Array:
    """Repeat the last row or column of `x` along `axis` up to the next multiple."""
    missing = -x.shape[axis] % multiple
    if not missing:  # jax2onnx and other converters translate an empty padding wrongly
        return x
    last = lax.slice_in_dim(x, x.shape[axis] - 1, x.shape[axis], axis=axis)
    return jnp.concatenate([x, jnp.repeat(last, missing, axis)], axis)
