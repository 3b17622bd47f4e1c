"""The networks by name: `models.build("sharp_unet", num_classes=1, in_channels=3, rngs=nnx.Rngs(0))`."""

import difflib
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from sharp_unet_jax import ops
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.models import segmenter, unet
from sharp_unet_jax.models.decoder import Decoder
from sharp_unet_jax.models.resnet import RESNET18, RESNET34, RESNET50, Basic, Block, Bottleneck, ResNetEncoder
from sharp_unet_jax.models.segmenter import Encoder, PlainSkip, Segmenter, SharpSkip
from sharp_unet_jax.models.vgg import VGG16, VGG19, VGGEncoder

Parts = tuple[Encoder, segmenter.Decoder]


class Network(NamedTuple):
    """What a name stands for."""

    parts: Callable[..., Parts]
    skip: str  # "plain" or "sharp": the only thing in which a sharp twin differs
    hub: str = ""  # where the Hugging Face hub has ImageNet weights of its encoder
    kernel: str = ""  # of a sharp skip, where the name settles it; "" leaves it to the config
    padding: str = ""  # likewise


def _unet(widths: tuple[int, ...]) -> Callable[..., Parts]:
    def parts(*, num_classes: int, in_channels: int, rngs: nnx.Rngs) -> Parts:
        encoder = unet.UNetEncoder(in_channels, widths, rngs=rngs)
        return encoder, unet.UNetDecoder(widths, num_classes=num_classes, rngs=rngs)

    return parts


def _vgg(convolutions: tuple[int, ...]) -> Callable[..., Parts]:
    def parts(*, num_classes: int, in_channels: int, rngs: nnx.Rngs) -> Parts:
        encoder = VGGEncoder(in_channels, convolutions, rngs=rngs)
        return encoder, Decoder(encoder.widths, centre=True, num_classes=num_classes, rngs=rngs)

    return parts


def _resnet(block: Block, counts: tuple[int, ...]) -> Callable[..., Parts]:
    def parts(*, num_classes: int, in_channels: int, rngs: nnx.Rngs) -> Parts:
        encoder = ResNetEncoder(in_channels, block, counts, rngs=rngs)
        return encoder, Decoder(encoder.widths, num_classes=num_classes, rngs=rngs)

    return parts


def _twins(plain: str, sharp: str, parts: Callable[..., Parts], hub: str = "") -> dict[str, Network]:
    return {plain: Network(parts, "plain", hub), sharp: Network(parts, "sharp", hub)}


MODELS: dict[str, Network] = {
    **_twins("unet", "sharp_unet", _unet(unet.WIDTHS)),
    **_twins("wide_unet", "wide_sharp_unet", _unet(unet.WIDE_WIDTHS)),
    **_twins("ternausnet16", "sharp_ternausnet16", _vgg(VGG16), "timm/vgg16.tv_in1k"),
    **_twins("ternausnet19", "sharp_ternausnet19", _vgg(VGG19), "timm/vgg19.tv_in1k"),
    **_twins("unet_resnet18", "sharp_unet_resnet18", _resnet(Basic, RESNET18), "timm/resnet18.tv_in1k"),
    **_twins("unet_resnet34", "sharp_unet_resnet34", _resnet(Basic, RESNET34), "timm/resnet34.tv_in1k"),
    **_twins("unet_resnet50", "sharp_unet_resnet50", _resnet(Bottleneck, RESNET50), "timm/resnet50.tv_in1k"),
    # Sharp U-Nets that a sweep can set side by side: the others have the one kernel of its config.
    **{
        f"sharp_unet+{kernel}{suffix}": Network(_unet(unet.WIDTHS), "sharp", kernel=kernel, padding=padding)
        for kernel in ops.KERNELS
        for padding, suffix in (("zero", ""), ("reflect", "+reflect"))
    },
}


def check(name: str) -> None:
    """Refuses a name that is no model's: InputError with the nearest known one."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1, cutoff=0)
        known = [*(each for each in MODELS if "+" not in each), "sharp_unet+KERNEL", "sharp_unet+KERNEL+reflect"]
        raise InputError(f"models: no model {name!r}; did you mean {near[0]!r}? Known: {', '.join(known)}")


def check_size(name: str, size: tuple[int, int], skip_kernel: str, skip_padding: str) -> None:
    """InputError where the coarsest skip connection of `name`, of images of `size` (H, W), is too small to reflect."""
    network = MODELS[name]
    if network.skip == "plain" or (network.padding or skip_padding) == "zero":
        return
    built = nnx.eval_shape(lambda: build(name, rngs=nnx.Rngs(0), skip_kernel=skip_kernel))
    padded = -(-min(size) // built.stride) * built.stride
    coarsest, kernel = padded // built.strides[-2], len(ops.KERNELS[network.kernel or skip_kernel])
    if coarsest <= kernel // 2:
        raise InputError(
            f"data.size: at {size[0]}x{size[1]} the coarsest sharp block of {name} sees {coarsest} pixels, too few to "
            f"reflect for a kernel of {kernel}: take a larger size, or zero padding"
        )


def build(
    name: str,
    *,
    num_classes: int = 1,
    in_channels: int = 3,
    rngs: nnx.Rngs,
    skip_kernel: str = "laplacian",
    skip_padding: str = "zero",
    dtype: DTypeLike = jnp.float32,
    remat: bool = False,
) -> Segmenter:
    """The network `name`: images (N, H, W, in_channels), float in [0, 1], to logits (N, H, W, num_classes) float32.

    >>> from sharp_unet_jax import models
    >>> model = models.build("sharp_unet", num_classes=1, in_channels=3, rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((2, 32, 48, 3))).shape
    (2, 32, 48, 1)

    `num_classes=1` is a foreground against a background (sigmoid); more are classes with the background among them
    (softmax). Weights are fresh: `sharp_unet_jax.build` starts from pretrained ones.
    `skip_kernel` (a name in `ops.KERNELS`) and `skip_padding` ("zero", "reflect") are those of the sharp models, but of
    "sharp_unet+scaled" and the like, which say so themselves.
    `dtype` is the arithmetic's; parameters are float32. `remat` trades time for memory in training. Raises InputError
    for an unknown name.
    """
    check(name)
    network = MODELS[name]
    encoder, decoder = network.parts(num_classes=num_classes, in_channels=in_channels, rngs=rngs)
    kernel, padding = network.kernel or skip_kernel, network.padding or skip_padding
    if kernel not in ops.KERNELS or padding not in ("zero", "reflect"):
        raise InputError(
            f"skip_kernel is one of {', '.join(ops.KERNELS)}, skip_padding zero or reflect: not {kernel}, {padding}"
        )
    plain = network.skip == "plain"
    connection = PlainSkip() if plain else SharpSkip(encoder.widths[:-1], kernel=kernel, padding=padding)
    built = Segmenter(encoder, connection, decoder, in_channels=in_channels, dtype=dtype)
    for _, module in nnx.iter_modules(built):
        if hasattr(module, "remat"):
            module.remat = remat
    return built
