"""The Attention U-Net of models/attention_unet.py in PyTorch. Its images have a height and a width that 16 divides."""

import torch
from torch import nn
from torch.nn import functional
from torch_unet import Encoder, Segmenter

WIDTHS = (32, 32, 64, 64, 128)
UPS = (32, 32, 64, 32)
GATES = (32, 64, 128)
EPSILON = 1e-3


class ConvNorm(nn.Module):
    """Convolution, batch normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, size: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2)
        self.norm = nn.BatchNorm2d(out_channels, eps=EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, out_channels, H, W) from x (N, in_channels, H, W)."""
        return functional.relu(self.norm(self.conv(x)), inplace=True)


class Block(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.first, self.second = ConvNorm(in_channels, out_channels), ConvNorm(out_channels, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, out_channels, H, W) from x (N, in_channels, H, W)."""
        return self.second(self.first(x))


class UpConv(nn.ConvTranspose2d):
    """3x3 transposed convolution with stride 2, cropped as Keras's "same"."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, out_channels, 2H, 2W) from x (N, in_channels, H, W)."""
        return super().forward(x)[:, :, :-1, :-1]


class Gate(nn.Module):
    """Attention gate for maps of `channels`, and signals of `signal` channels of half the size, or a quarter."""

    def __init__(self, channels: int, width: int, signal: int, doubles: bool):
        super().__init__()
        self.signal = ConvNorm(signal, signal, 1)
        self.of_map, self.of_signal = nn.Conv2d(channels, width, 2, stride=2), nn.Conv2d(signal, width, 1)
        self.resize = UpConv(width, width) if doubles else nn.Conv2d(width, width, 3, padding=1)
        self.attention = nn.Conv2d(width, 1, 1)
        self.result, self.norm = nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels, eps=EPSILON)

    def forward(self, x: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        """Return (N, channels, H, W) from x (N, channels, H, W) and the signal (N, signal, h, w)."""
        both = self.of_map(x) + self.resize(self.of_signal(self.signal(signal)))
        attention = torch.sigmoid(self.attention(functional.relu(both, inplace=True)))
        return self.norm(self.result(x * functional.interpolate(attention, scale_factor=2, mode="nearest")))


class Decoder(nn.Module):
    """The decoder: at each level a transposed convolution, and concatenation with the gated skip; a 1x1 head."""

    def __init__(self):
        super().__init__()
        joined = [up + width for up, width in zip(UPS, WIDTHS[:-1], strict=True)]
        self.ups = nn.ModuleList(UpConv(i, o) for i, o in zip((*joined[1:], WIDTHS[-1]), UPS, strict=True))
        signals = (joined[3], joined[3], WIDTHS[4])
        self.gates = nn.ModuleList(
            Gate(*each, doubles=level == 1)
            for level, each in enumerate(zip(WIDTHS[1:4], GATES, signals, strict=True), 1)
        )
        self.head = nn.Conv2d(joined[0], 1, 1)

    def forward(self, x: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        """Return logits (N, 1, H, W) from the coarsest map x and the skips, finest first."""
        signal = x
        for level in (3, 2, 1, 0):
            up = functional.relu(self.ups[level](x))
            x = torch.cat([up, self.gates[level - 1](skips[level], signal) if level else skips[0]], dim=1)
            signal = x if level == 3 else signal
        return self.head(x)


def build(sharp: bool) -> nn.Module:
    """Return the Attention U-Net, or with `sharp` its sharp twin."""
    blocks = (Block(i, o) for i, o in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True))
    return Segmenter(Encoder(blocks), Decoder(), sharp)
