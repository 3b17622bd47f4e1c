"""Twins in PyTorch, for comparison: the U-Net of models/unet.py, and the ResNet-50 U-Net of smp.

smp is segmentation_models_pytorch. Images are (N, 3, H, W). This project's networks pad them to a multiple of 16 or 32;
these do not.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch_kiunet
from torch import nn
from torch.nn import functional

WIDTHS = (32, 64, 128, 256, 512)
LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}


class Laplacian(nn.Module):
    """The sharp block: a depthwise convolution with the constant K."""

    def __init__(self):
        super().__init__()
        kernel = torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]])
        self.register_buffer("kernel", kernel[None, None], persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (N, C, H, W) filtered."""
        channels = x.shape[1]
        return functional.conv2d(x, self.kernel.expand(channels, 1, 3, 3).to(x.dtype), padding=1, groups=channels)


class Block(nn.Module):
    """Two 3x3 convolutions, each followed by a ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, out_channels, H, W) from x (N, in_channels, H, W)."""
        return functional.relu(self.second(functional.relu(self.first(x), inplace=True)), inplace=True)


class Encoder(nn.Module):
    """The encoder: a block at each width, with 2x2 max-pooling between blocks."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block(i, o) for i, o in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return five maps, finest first, from images (N, 3, H, W)."""
        maps = [self.blocks[0](x)]
        for block in self.blocks[1:]:
            maps.append(block(functional.max_pool2d(maps[-1], 2)))
        return maps


class Decoder(nn.Module):
    """The decoder: at each level a 2x2 transposed convolution, concatenation with the skip, a block; a 1x1 head."""

    def __init__(self):
        super().__init__()
        pairs = list(zip(WIDTHS[1:], WIDTHS[:-1], strict=True))[::-1]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in pairs)
        self.blocks = nn.ModuleList(Block(2 * o, o) for _, o in pairs)
        self.head = nn.Conv2d(WIDTHS[0], 1, 1)

    def forward(self, x: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        """Return logits (N, 1, H, W) from the coarsest map x and the skips, finest first."""
        for up, block, skip in zip(self.ups, self.blocks, reversed(skips), strict=True):
            x = block(torch.cat([up(x), skip], dim=1))
        return self.head(x)


class UNet(nn.Module):
    """The U-Net, or with `sharp` the paper's Sharp U-Net."""

    def __init__(self, sharp: bool):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.skip = Laplacian() if sharp else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 1, H, W) from images (N, 3, H, W)."""
        *skips, x = self.encoder(x)
        return self.decoder(x, [self.skip(skip) for skip in skips])


def build(name: str) -> nn.Module:
    """Build the twin of our network `name`, with fresh weights."""
    sharp = name.startswith("sharp_")
    if name.removeprefix("sharp_") == "unet":
        return UNet(sharp)
    if name.removeprefix("sharp_") == "kiunet":
        return torch_kiunet.KiUNet(Laplacian() if sharp else nn.Identity())
    if name.removeprefix("sharp_") != "unet_resnet50":
        raise ValueError(f"{name} has no twin in PyTorch here; known: [sharp_]unet, kiunet, unet_resnet50")
    model = _smp().Unet("resnet50", encoder_weights=None, classes=1)
    if sharp:
        # smp's first map is the image, which its decoder ignores. Its last map is no skip connection.
        model.encoder.skip = Laplacian()
        model.encoder.register_forward_hook(
            lambda encoder, _, maps: [maps[0], *(encoder.skip(x) for x in maps[1:-1]), maps[-1]]
        )
    return model


def agree(name: str, model: nn.Module, twin: Path) -> float:
    """Copy our weights into `model` and return the largest difference of its logits from ours, as a share.

    Args:
        name: of our network.
        model: its twin from `build`, on the CPU.
        twin: a file of `sides.twin`: our weights by name, `image` (N, H, W, 3) and our `logits` (N, H, W, 1).

    Raises:
        RuntimeError: for weights that do not match one to one, or logits that differ by more than 1e-4 of the largest.
    """
    arrays = dict(np.load(twin))
    image, logits = arrays.pop("image"), arrays.pop("logits")
    if np.any(arrays.pop("mean")) or np.any(arrays.pop("std") != 1):
        raise RuntimeError(f"{name} normalises its images, and its twin does not")
    count = {key: value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")}
    model.load_state_dict(_named(arrays) | count)
    with torch.no_grad():
        theirs = model.eval()(torch.from_numpy(image).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    share = float(np.abs(theirs - logits).max() / np.abs(logits).max())
    if not share <= 1e-4:
        raise RuntimeError(f"{name}: the twins' logits differ by {share:.1e} of the largest; they are two networks")
    return share


def _named(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return our weights with PyTorch's names and layouts; smp's decoder has names of its own."""
    state = {}
    for name, value in arrays.items():
        *parents, leaf = name.split(".")
        if value.ndim == 4:
            value = value.transpose(2, 3, 0, 1) if parents[1] == "ups" else value.transpose(3, 2, 0, 1)
        if parents[0] == "decoder" and parents[-1] in ("conv1", "conv2"):
            parents.append("0")
        elif parents[0] == "decoder" and parents[-1] in ("bn1", "bn2"):
            parents[-1:] = [parents[-1].replace("bn", "conv"), "1"]
        elif parents[:2] == ["decoder", "head"] and "encoder.conv1.kernel" in arrays:
            parents = ["segmentation_head", "0"]
        state[".".join([*parents, LEAVES.get(leaf, leaf)])] = torch.from_numpy(np.ascontiguousarray(value))
    return state


def _smp():
    """Import segmentation_models_pytorch, also if torchvision's compiled operators are for another build of torch."""
    library = torch.library.Library("torchvision", "DEF")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:  # these operators are not used here, but the import fails without them
        for operator in ("nms", "qnms"):
            library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import segmentation_models_pytorch

    return segmentation_models_pytorch
