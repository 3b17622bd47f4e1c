"""The networks by name: `models.build("sharp_unet", num_classes=1, in_channels=3, rngs=nnx.Rngs(0))`."""

import difflib
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from sharp_unet_jax.errors import InputError
from sharp_unet_jax.models import unet
from sharp_unet_jax.models.segmenter import Encoder, PlainSkip, Segmenter, SharpSkip

Parts = tuple[Encoder, Callable[[jax.Array, list[jax.Array]], jax.Array]]  # encoder, decoder


def _unet(widths: tuple[int, ...]) -> Callable[..., Parts]:
    def parts(*, num_classes: int, in_channels: int, rngs: nnx.Rngs) -> Parts:
        encoder = unet.UNetEncoder(in_channels, widths, rngs=rngs)
        return encoder, unet.UNetDecoder(widths, num_classes=num_classes, rngs=rngs)

    return parts


# A network's encoder and decoder, and its skip: the only thing in which a sharp twin differs.
MODELS: dict[str, tuple[Callable[..., Parts], str]] = {
    "unet": (_unet(unet.WIDTHS), "plain"),
    "sharp_unet": (_unet(unet.WIDTHS), "sharp"),
    "wide_unet": (_unet(unet.WIDE_WIDTHS), "plain"),
    "wide_sharp_unet": (_unet(unet.WIDE_WIDTHS), "sharp"),
}


def check(name: str) -> None:
    """Refuses a name that is no model's: InputError with the nearest known one."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1, cutoff=0)
        raise InputError(f"models: no model {name!r}; did you mean {near[0]!r}? Known: {', '.join(MODELS)}")


def build(
    name: str,
    *,
    num_classes: int = 1,
    in_channels: int = 3,
    rngs: nnx.Rngs,
    skip_kernel: str = "laplacian",
    skip_padding: str = "zero",
    dtype: DTypeLike = jnp.float32,
) -> Segmenter:
    """The network `name` with fresh weights: (N, H, W, in_channels) in [0, 1] to logits (N, H, W, num_classes).

    `num_classes=1` is a foreground against a background (sigmoid); more are classes with the background among them
    (softmax). `skip_kernel` (a name in `ops.KERNELS`) and `skip_padding` ("zero", "reflect") are those of the sharp
    models. `dtype` is the arithmetic's; parameters are float32. Raises InputError for an unknown name.
    """
    check(name)
    parts, skip = MODELS[name]
    encoder, decoder = parts(num_classes=num_classes, in_channels=in_channels, rngs=rngs)
    plain = skip == "plain"
    connection = PlainSkip() if plain else SharpSkip(encoder.widths[:-1], kernel=skip_kernel, padding=skip_padding)
    return Segmenter(encoder, connection, decoder, dtype=dtype)
