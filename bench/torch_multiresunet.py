"""The twin of models/multiresunet.py in PyTorch: MultiResUNet (Ibtehaz & Rahman 2020), plain and sharp."""

import torch
from torch import nn
from torch.nn import functional
from torch_unet import Encoder, Segmenter

UNITS = (32, 64, 128, 256, 512)
EPSILON = 1e-3


class Unscaled(nn.Module):
    """Batch normalisation with a bias and no scale, which nn.BatchNorm2d does not offer."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (N, C, H, W) normalised."""
        statistics = self.running_mean, self.running_var
        return functional.batch_norm(x, *statistics, None, self.bias, self.training, 0.1, EPSILON)


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation without scale."""

    def __init__(self, in_channels: int, out_channels: int, size: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=False)
        self.norm = Unscaled(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, out_channels, H, W) from x (N, in_channels, H, W)."""
        return self.norm(self.conv(x))


class Block(nn.Module):
    """Three 3x3 convolutions in a chain, concatenated, and a 1x1 shortcut."""

    def __init__(self, in_channels: int, unit: int):
        super().__init__()
        outputs = shares(unit)
        inputs = (in_channels, *outputs[:-1])
        self.chain = nn.ModuleList(ConvNorm(i, o, 3) for i, o in zip(inputs, outputs, strict=True))
        self.shortcut = ConvNorm(in_channels, sum(outputs), 1)
        self.norm1 = nn.BatchNorm2d(sum(outputs), EPSILON)
        self.norm2 = nn.BatchNorm2d(sum(outputs), EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, sum of shares, H, W) from x (N, in_channels, H, W)."""
        maps = [x]
        for convolution in self.chain:
            maps.append(functional.relu(convolution(maps[-1]), inplace=True))
        y = self.norm1(torch.cat(maps[1:], dim=1))
        return self.norm2(functional.relu(y + self.shortcut(x), inplace=True))


class Step(nn.Module):
    """A step of a residual path: a 3x3 convolution and a 1x1 shortcut."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.convolution = ConvNorm(in_channels, out_channels, 3)
        self.shortcut = ConvNorm(in_channels, out_channels, 1)
        self.norm = nn.BatchNorm2d(out_channels, EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, out_channels, H, W) from x (N, in_channels, H, W)."""
        y = functional.relu(self.convolution(x), inplace=True)
        return self.norm(functional.relu(y + self.shortcut(x), inplace=True))


class Decoder(nn.Module):
    """At each level an up-convolution, concatenation with what left the residual path, a block; a 1x1 head."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.ups, self.paths, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, unit in enumerate(UNITS[:-1]):
            self.ups.append(nn.ConvTranspose2d(widths[level + 1], unit, 2, stride=2))
            inputs = (widths[level], *[unit] * (3 - level))
            self.paths.append(nn.Sequential(*(Step(each, unit) for each in inputs)))
            self.blocks.append(Block(2 * unit, unit))
        self.head = ConvNorm(widths[0], 1, 1)

    def forward(self, x: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        """Return logits (N, 1, H, W) from the coarsest map x and the skips, finest first."""
        for up, path, block, skip in list(zip(self.ups, self.paths, self.blocks, skips, strict=True))[::-1]:
            x = block(torch.cat([up(x), path(skip)], dim=1))
        return self.head(x)


def build(sharp: bool) -> nn.Module:
    """Return MultiResUNet; with `sharp` the Laplacian filters each of the encoder's maps before its residual path."""
    widths = tuple(sum(shares(unit)) for unit in UNITS)
    blocks = (Block(i, unit) for i, unit in zip((3, *widths[:-1]), UNITS, strict=True))
    return Segmenter(Encoder(blocks), Decoder(widths), sharp)


def shares(unit: int) -> tuple[int, int, int]:
    """Return the channels of a block's convolutions."""
    width = 1.67 * unit
    return int(0.167 * width), int(0.333 * width), int(0.5 * width)
