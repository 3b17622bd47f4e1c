"""The networks by name: `models.build("sharp_unet", num_classes=1, in_channels=3, rngs=nnx.Rngs(0))`."""

import difflib
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from sharp_unet_jax import ops
from sharp_unet_jax.errors import InputError
from sharp_unet_jax.models import attention_unet, kiunet, multiresunet, segmenter, unet, unetpp
from sharp_unet_jax.models.decoder import Decoder
from sharp_unet_jax.models.resnet import RESNET18, RESNET34, RESNET50, Basic, Block, Bottleneck, ResNetEncoder
from sharp_unet_jax.models.segmenter import Encoder, PlainSkip, Segmenter, SharpSkip, Skip
from sharp_unet_jax.models.vgg import VGG16, VGG19, VGGEncoder

Parts = tuple[Encoder, segmenter.Decoder]

# Papers that networks are from.
RONNEBERGER = "Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597"
ZUNAIR = "Zunair & Ben Hamza 2021, https://doi.org/10.1016/j.compbiomed.2021.104699"
IGLOVIKOV = "Iglovikov & Shvets 2018, https://arxiv.org/abs/1801.05746"
HE = "He et al. 2016 (the encoder), https://arxiv.org/abs/1512.03385"
ZHOU = "Zhou et al. 2020, https://arxiv.org/abs/1912.05074"
IBTEHAZ = "Ibtehaz & Rahman 2020, https://arxiv.org/abs/1902.04049"
ABRAHAM = "Abraham & Khan 2019, https://arxiv.org/abs/1810.07842"
VALANARASU = "Valanarasu et al. 2020, https://arxiv.org/abs/2006.04878"


class Network(NamedTuple):
    """A line of the registry."""

    parts: Callable[..., Parts]  # (num_classes=, in_channels=, rngs=) to an encoder and a decoder
    network: str  # the name that twins share: that of the twin with plain skips
    skip: str  # "plain" or "sharp": the only thing in which twins differ
    encoder: str  # "unet", "vgg16", "resnet50", ...
    hub: str = ""  # repository of the Hugging Face hub with ImageNet weights of the encoder
    kernel: str = ""  # of a sharp skip; "" takes the config's
    padding: str = ""  # of a sharp skip, "zero" or "reflect"; "" takes the config's
    paper: str = ""  # that the plain network is from: "authors year, address"


def _unet(widths: tuple[int, ...], up_widths: tuple[int, ...] = ()) -> Callable[..., Parts]:
    def parts(*, num_classes: int, in_channels: int, rngs: nnx.Rngs) -> Parts:
        encoder = unet.UNetEncoder(in_channels, widths, rngs=rngs)
        return encoder, unet.UNetDecoder(widths, up_widths, num_classes=num_classes, rngs=rngs)

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


def _twins(
    plain: str, sharp: str, parts: Callable[..., Parts], encoder: str, hub: str = "", paper: str = ""
) -> dict[str, Network]:
    return {
        plain: Network(parts, plain, "plain", encoder, hub, paper=paper),
        sharp: Network(parts, plain, "sharp", encoder, hub, paper=paper),
    }


MODELS: dict[str, Network] = {
    **_twins("unet", "sharp_unet", _unet(unet.WIDTHS), "unet", paper=RONNEBERGER),
    # The authors' wide network keeps the up-convolutions of the narrow one: 9,131,106 parameters, the paper's 9.1 M.
    **_twins("wide_unet", "wide_sharp_unet", _unet(unet.WIDE_WIDTHS, unet.WIDTHS[:-1]), "wide_unet", paper=ZUNAIR),
    **_twins("ternausnet16", "sharp_ternausnet16", _vgg(VGG16), "vgg16", "timm/vgg16.tv_in1k", IGLOVIKOV),
    **_twins("ternausnet19", "sharp_ternausnet19", _vgg(VGG19), "vgg19", "timm/vgg19.tv_in1k", IGLOVIKOV),
    **_twins("unet_resnet18", "sharp_unet_resnet18", _resnet(Basic, RESNET18), "resnet18", "timm/resnet18.tv_in1k", HE),
    **_twins("unet_resnet34", "sharp_unet_resnet34", _resnet(Basic, RESNET34), "resnet34", "timm/resnet34.tv_in1k", HE),
    **_twins(
        "unet_resnet50", "sharp_unet_resnet50", _resnet(Bottleneck, RESNET50), "resnet50", "timm/resnet50.tv_in1k", HE
    ),
    **_twins("unetpp", "sharp_unetpp", unetpp.parts, "unet", paper=ZHOU),
    **_twins("unetpp_deep", "sharp_unetpp_deep", functools.partial(unetpp.parts, deep=True), "unet", paper=ZHOU),
    **_twins("multiresunet", "sharp_multiresunet", multiresunet.parts, "multiresunet", paper=IBTEHAZ),
    **_twins("attention_unet", "sharp_attention_unet", attention_unet.parts, "attention_unet", paper=ABRAHAM),
    **_twins("kiunet", "sharp_kiunet", kiunet.parts, "kiunet", paper=VALANARASU),
    # Sharp U-Nets with a kernel of their own: a sweep can compare them. Every other sharp network has its config's
    # kernel.
    **{
        f"sharp_unet+{kernel}{suffix}": Network(
            _unet(unet.WIDTHS), "unet", "sharp", "unet", kernel=kernel, padding=padding, paper=RONNEBERGER
        )
        for kernel in ops.KERNELS
        for padding, suffix in (("zero", ""), ("reflect", "+reflect"))
    },
}


def check(name: str) -> None:
    """Refuse a name that is not in `MODELS`: raise InputError with the nearest known one."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1, cutoff=0)
        raise InputError(
            f"models: no model {name!r:.200}; did you mean {near[0]!r}? All names: python -m launch.cv "
            "--help-config=models, or sharp_unet_jax.models.MODELS"
        )


def names() -> list[str]:
    """Return the names in `MODELS`, with one for the variants of a network by kernel and padding."""
    return [*(each for each in MODELS if "+" not in each), "sharp_unet+KERNEL", "sharp_unet+KERNEL+reflect"]


def check_size(name: str, size: tuple[int, int], skip_kernel: str, skip_padding: str) -> None:
    """Refuse images of `size` (H, W) whose coarsest skip connection is too small to reflect: raise InputError."""
    network = MODELS[name]
    kernel, padding = _kernel_and_padding(network, skip_kernel, skip_padding)
    if network.skip == "plain" or padding == "zero":
        return
    built = nnx.eval_shape(lambda: build(name, rngs=nnx.Rngs(0), skip_kernel=kernel, skip_padding=padding))
    height, width = (-(-each // built.stride) * built.stride for each in size)
    maps = segmenter.skipped(built.encoder, built.decoder, (height, width, 3)).values()
    coarsest, side = min(min(map_[:2]) for map_ in maps), len(ops.KERNELS[kernel])
    if coarsest <= side // 2:
        raise InputError(
            f"at {size[0]}x{size[1]} pixels the coarsest sharp block of {name} sees {coarsest} pixels, too few to "
            f"reflect for a kernel of {side}: take a larger data.size or tile, or zero padding"
        )


def check_heads(name: str, weights: Sequence[float]) -> int:
    """Return the number of a network's heads; raise InputError if the weights of heads are not as many.

    A network with a single head has no use for them, and accepts any.
    """
    built = nnx.eval_shape(lambda: build(name, rngs=nnx.Rngs(0)))
    image = jax.ShapeDtypeStruct((1, built.stride, built.stride, 3), jnp.float32)
    heads = len(jax.eval_shape(lambda model, x: model.outputs(x), built, image))
    if heads > 1 and len(weights) != heads:
        raise InputError(f"deep_supervision: {name} has {heads} heads, so give as many weights; got {len(weights)}")
    return heads


def describe(name: str, *, skip_kernel: str = "laplacian", skip_padding: str = "zero") -> dict[str, Any]:
    """Return what a record says of the network `name`; the other arguments are those of `build`.

    >>> from sharp_unet_jax import models
    >>> models.describe("unet_resnet18")
    {'network': 'unet_resnet18', 'encoder': 'resnet18', 'skip': 'plain', 'kernel': None}
    >>> models.describe("sharp_unet+sharpen")["kernel"]
    {'name': 'sharpen', 'padding': 'zero', 'sum': 1.0, 'scale': 9.433981132056603}

    `sum` adds the kernel's values: a kernel that sums to 0 answers 0 to a constant. `scale` is the root of the sum of
    their squares: the kernel multiplies the standard deviation of white noise by it. A learnable kernel starts with
    both.
    """
    network = MODELS[name]
    kernel, padding = _kernel_and_padding(network, skip_kernel, skip_padding)
    values = ops.KERNELS[kernel].astype(np.float64)
    about = {
        "name": kernel,
        "padding": padding,
        "sum": round(float(values.sum()), 6) + 0.0,  # 0.0 for float32's -2e-7
        "scale": float(np.sqrt(np.square(values).sum())),
    }
    return {
        "network": network.network,
        "encoder": network.encoder,
        "skip": network.skip,
        "kernel": None if network.skip == "plain" else about,
    }


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
    head: str = "mean",
) -> Segmenter:
    """Build the network `name` with fresh weights; `sharp_unet_jax.build` starts from pretrained ones.

    >>> from sharp_unet_jax import models
    >>> model = models.build("sharp_unet", num_classes=1, in_channels=3, rngs=nnx.Rngs(0))
    >>> model(jnp.zeros((2, 32, 48, 3))).shape
    (2, 32, 48, 1)

    Args:
        name: a key of `MODELS`.
        num_classes: channels of the logits. 1 is a foreground against a background (sigmoid); more are classes, the
            background among them (softmax).
        in_channels: channels of the images, which are (N, H, W, in_channels), float in [0, 1].
        rngs: initialise the weights.
        skip_kernel: a key of `ops.KERNELS`, for sharp networks whose name does not settle it.
        skip_padding: "zero" or "reflect", for the same networks.
        dtype: of the arithmetic; parameters are float32.
        remat: recompute activations in the backward pass: training takes less memory and more time.
        head: "mean" or "last": what a network with several heads answers, see `Segmenter`.

    Raises:
        InputError: for an unknown name, kernel or padding.
    """
    check(name)
    network = MODELS[name]
    kernel, padding = _kernel_and_padding(network, skip_kernel, skip_padding)
    if kernel not in ops.KERNELS or padding not in ("zero", "reflect"):
        raise InputError(
            f"skip_kernel is one of {', '.join(ops.KERNELS)}, skip_padding zero or reflect: not {kernel}, {padding}"
        )
    encoder, decoder = network.parts(num_classes=num_classes, in_channels=in_channels, rngs=rngs)
    skip: Skip = PlainSkip()
    if network.skip == "sharp":
        maps = segmenter.skipped(encoder, decoder, (encoder.stride, encoder.stride, in_channels))
        widths = {level: width for level, (_, _, width) in maps.items()}
        skip = SharpSkip(widths, kernel=kernel, padding=padding)
    built = Segmenter(encoder, skip, decoder, in_channels=in_channels, dtype=dtype, head=head)
    for _, module in nnx.iter_modules(built):
        if hasattr(module, "remat"):
            module.remat = remat
    return built


def _kernel_and_padding(network: Network, kernel: str, padding: str) -> tuple[str, str]:
    """Return the kernel and the padding of the network's sharp skips: its own, else the given ones."""
    return network.kernel or kernel, network.padding or padding
