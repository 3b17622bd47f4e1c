"""KiU-Net in PyTorch, the network of models/kiunet.py. Images are (N, 3, H, W), H and W multiples of 8."""

import torch
from torch import nn
from torch.nn import functional
from torch_unet import Laplacian

WIDTHS = (8, 16, 32, 64)


class Filter(nn.Module):
    """3x3 convolution, resizing by `factor`, batch normalisation and ReLU; a factor of 1/2 is max-pooling."""

    def __init__(self, in_channels: int, out_channels: int, factor: float = 1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, out_channels, factor H, factor W) from x (N, in_channels, H, W)."""
        x = self.conv(x)
        if self.factor < 1:
            x = functional.max_pool2d(x, 2)
        elif self.factor > 1:
            x = functional.interpolate(x, scale_factor=self.factor, mode="bilinear")
        return functional.relu(self.norm(x), inplace=True)


class Fusion(nn.Module):
    """The fusion block: each map plus the other one filtered and resized."""

    def __init__(self, channels: int, factor: int):
        super().__init__()
        self.to_fine, self.to_coarse = Filter(channels, channels), Filter(channels, channels)
        self.factor = factor

    def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both maps; a side of the fine one is `factor` times the coarse one's."""
        up = functional.interpolate(self.to_fine(coarse), scale_factor=self.factor, mode="bilinear")
        down = functional.interpolate(self.to_coarse(fine), scale_factor=1 / self.factor, mode="bilinear")
        return fine + up, coarse + down


class Level(nn.Module):
    """A filter of either branch, then fusion if the maps' sides differ."""

    def __init__(self, in_channels: int, out_channels: int, factor: int, *, outwards: bool):
        super().__init__()
        self.fine = Filter(in_channels, out_channels, 2 if outwards else 0.5)
        self.coarse = Filter(in_channels, out_channels, 0.5 if outwards else 2)
        self.fusion = Fusion(out_channels, factor) if factor > 1 else None

    def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both branches' maps of the next level."""
        fine, coarse = self.fine(fine), self.coarse(coarse)
        return (fine, coarse) if self.fusion is None else self.fusion(fine, coarse)


class Encoder(nn.Module):
    """The encoder's levels."""

    def __init__(self):
        super().__init__()
        pairs = enumerate(zip((3, *WIDTHS[1:-1]), WIDTHS[1:], strict=True), 1)
        self.levels = nn.ModuleList(Level(i, o, 4**level, outwards=True) for level, (i, o) in pairs)


class Decoder(nn.Module):
    """The decoder's levels and the 1x1 convolution."""

    def __init__(self):
        super().__init__()
        pairs = list(enumerate(zip(WIDTHS[1:], WIDTHS[:-1], strict=True)))[::-1]
        self.levels = nn.ModuleList(Level(i, o, 4**level, outwards=False) for level, (i, o) in pairs)
        self.head = nn.Conv2d(WIDTHS[0], 1, 1)


class KiUNet(nn.Module):
    """KiU-Net, or with `sharp` its sharp twin."""

    def __init__(self, sharp: bool):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.skip = Laplacian() if sharp else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 1, H, W) from images (N, 3, H, W)."""
        fine = coarse = x
        maps = []
        for level in self.encoder.levels:
            fine, coarse = level(fine, coarse)
            maps.append((fine, coarse))
        fine, coarse = self.decoder.levels[0](fine, coarse)
        for level, (high, low) in zip(self.decoder.levels[1:], maps[-2::-1], strict=True):
            fine, coarse = level(fine + self.skip(high), coarse + self.skip(low))
        return self.decoder.head(fine + coarse)
