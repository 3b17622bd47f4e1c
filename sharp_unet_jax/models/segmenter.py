"""Encoder, skip connections and decoder, and the segmentation network that they make.

Every part takes `weight` (N,): how much each image counts in the batch statistics of a training step, 0 for padding.
`None` means prediction. Nothing else tells training from prediction.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

from sharp_unet_jax import ops

Maps = list[jax.Array]  # feature maps (N, h, w, C), finest first
Join = Callable[[jax.Array, jax.Array], jax.Array]  # (below, x) to what the decoder goes on with


class Encoder(Protocol):
    """Interface of encoders."""

    widths: tuple[int, ...]  # channels of its feature maps, finest first
    stride: int  # height and width of its images are multiples of it

    def __call__(self, x: jax.Array, weight: jax.Array | None = None, /) -> Maps:
        """Map (N, H, W, C) to feature maps, finest first."""
        ...


def concatenated(below: jax.Array, x: jax.Array) -> jax.Array:
    """Join the decoder's map (N, H, W, D) and the encoder's (N, H, W, C) to (N, H, W, D + C), as a U-Net does."""
    return jnp.concatenate([below, x], axis=-1)


class Skip(Protocol):
    """Interface of skip connections: the only thing in which twins differ."""

    def __call__(self, level: int, x: jax.Array, below: jax.Array, join: Join = concatenated, /) -> jax.Array:
        """Filter the encoder's map and join it with the decoder's.

        Args:
            level: index of x among the encoder's maps; 0 is the finest.
            x: the encoder's map, (N, H, W, C).
            below: the decoder's map that x meets.
            join: what happens when they meet, of `below` and the filtered x. It holds what a network has on this way: a
                sum, an attention gate, convolutions of x.

        Returns:
            What `join` returns.
        """
        ...


class Decoder(Protocol):
    """Interface of decoders."""

    heads: tuple[str, ...]  # names of the layers whose outputs are logits, `num_classes` channels each

    def __call__(self, maps: Maps, skip: Skip, weight: jax.Array | None = None, /) -> jax.Array | list[jax.Array]:
        """Map the encoder's maps to logits (N, H, W, num_classes); H and W are the image's.

        The decoder calls `skip` wherever a map joins another, as often as it likes. Grad-CAM looks at what each call
        returns. A decoder with deep supervision returns the logits of every head, the most trusted one last.
        """
        ...


class PlainSkip(nnx.Module):
    """U-Net's skip connections: no filter."""

    def __call__(self, level: int, x: jax.Array, below: jax.Array, join: Join = concatenated) -> jax.Array:  # noqa: ARG002
        """Join the maps, see `Skip`."""
        return join(below, x)


class SharpSkip(nnx.Module):
    """The paper's sharp blocks: every channel of the encoder's map is convolved with one kernel (equation 1).

    The kernel is a constant. With `kernel="learnable"` every channel of every level has its own kernel, initialised to
    the Laplacian. No other kernel adds parameters.
    """

    def __init__(self, widths: Mapping[int, int], *, kernel: str, padding: str):
        """Build them for maps of `widths` channels, by level."""
        self.kernel, self.padding, self.levels = kernel, padding, tuple(widths)
        if kernel == "learnable":
            start = jnp.asarray(ops.KERNELS[kernel])[:, :, None]
            self.kernels = nnx.List([nnx.Param(jnp.tile(start, (1, 1, width))) for width in widths.values()])

    def __call__(self, level: int, x: jax.Array, below: jax.Array, join: Join = concatenated) -> jax.Array:
        """Join the maps, see `Skip`, with x filtered by the kernel."""
        kernel = self.kernels[self.levels.index(level)][...] if self.kernel == "learnable" else self.kernel
        if join is concatenated:
            return ops.sharp_skip(below, x, kernel, self.padding)
        return join(below, ops.sharpen(x, kernel, self.padding))


def skipped(encoder: Encoder, decoder: Decoder, image: tuple[int, int, int]) -> dict[int, tuple[int, int, int]]:
    """Return the shapes (h, w, C) of the maps that skip connections take from images (H, W, channels), by level.

    H and W are multiples of the encoder's stride. Nothing is computed.
    """
    shapes: dict[int, tuple[int, int, int]] = {}

    def record(level: int, x: jax.Array, below: jax.Array, join: Join = concatenated) -> jax.Array:
        _, height, width, channels = x.shape
        shapes[level] = height, width, channels
        return join(below, x)

    x = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    jax.eval_shape(lambda encoder, decoder, x: decoder(encoder(x), record), encoder, decoder, x)
    return dict(sorted(shapes.items()))


class Normalisation(nnx.Variable):
    """Mean or standard deviation of the inputs: no parameter, but part of the weights that were trained with it."""


class Segmenter(nnx.Module):
    """A segmentation network, for images of any size.

    The network computes in `dtype`; parameters and logits are float32. It normalises images by `mean` and `std`, which
    are 0 and 1 or come with pretrained weights. `head` says what a network with several heads answers: "last", the last
    one's logits, or "mean", the logits of their mean probability.
    """

    def __init__(
        self,
        encoder: Encoder,
        skip: Skip,
        decoder: Decoder,
        *,
        in_channels: int,
        dtype: DTypeLike = jnp.float32,
        head: str = "mean",
    ):
        self.encoder, self.skip, self.decoder = encoder, skip, decoder
        self.mean = Normalisation(jnp.zeros(in_channels, jnp.float32))
        self.std = Normalisation(jnp.ones(in_channels, jnp.float32))
        self.dtype, self.head = dtype, head

    @property
    def stride(self) -> int:
        """The network pads height and width of images to multiples of it."""
        return self.encoder.stride

    def __call__(self, x: jax.Array, weight: jax.Array | None = None, *, freeze_encoder: bool = False) -> jax.Array:
        """Compute the logits of images, (N, H, W, num_classes) float32; see `outputs` for the arguments."""
        *others, last = self.outputs(x, weight, freeze_encoder=freeze_encoder)
        return last if self.head == "last" else mean_of_heads([*others, last])

    def outputs(
        self, x: jax.Array, weight: jax.Array | None = None, *, freeze_encoder: bool = False
    ) -> list[jax.Array]:
        """Compute the logits of every head: a single one, but for networks with deep supervision.

        Args:
            x: (N, H, W, in_channels), float in [0, 1]. Where H and W are no multiples of `stride`, the lower and right
                edges are repeated up to the next multiple, and the logits are cropped to H and W.
            weight: (N,) updates the batch statistics (`layers.BatchNorm`); None predicts.
            freeze_encoder: the encoder predicts, whatever `weight` is.

        Returns:
            (N, H, W, num_classes) float32 each.
        """
        height, width = x.shape[1:3]
        x = (x - self.mean[...].reshape(1, 1, 1, -1)) / self.std[...].reshape(1, 1, 1, -1)
        x = _extend(_extend(x.astype(self.dtype), 1, self.stride), 2, self.stride)
        maps = self.encoder(x, None if freeze_encoder else weight)
        logits = self.decoder(maps, self.skip, weight)
        heads = logits if isinstance(logits, list) else [logits]
        return [each[:, :height, :width].astype(jnp.float32) for each in heads]


def mean_of_heads(logits: Sequence[jax.Array]) -> jax.Array:
    """Return the logits of the mean of several heads' probabilities; all are (N, H, W, num_classes) float32."""
    if len(logits) == 1:
        return logits[0]
    heads = jnp.stack(logits)
    if heads.shape[-1] > 1:
        return jax.nn.logsumexp(jax.nn.log_softmax(heads), axis=0) - math.log(len(heads))
    foreground, background = (jax.nn.logsumexp(jax.nn.log_sigmoid(each), axis=0) for each in (heads, -heads))
    return foreground - background


def _extend(x: jax.Array, axis: int, multiple: int) -> jax.Array:
    """Repeat the last row or column of `x` along `axis` up to the next multiple."""
    missing = -x.shape[axis] % multiple
    if not missing:  # jax2onnx and other converters translate an empty padding wrongly
        return x
    last = lax.slice_in_dim(x, x.shape[axis] - 1, x.shape[axis], axis=axis)
    return jnp.concatenate([x, jnp.repeat(last, missing, axis)], axis)
