"""The U-Net of models/unet.py in PyTorch, and its parts for other twins.

Images are (N, 3, H, W). This project's network pads them to a multiple of 16; this one does not.
"""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional

WIDTHS = (32, 64, 128, 256, 512)


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
    """An encoder: blocks with 2x2 max-pooling between them."""

    def __init__(self, blocks: Iterable[nn.Module]):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return a map per block, finest first, from images (N, 3, H, W)."""
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


def encoder() -> Encoder:
    """Return the U-Net's encoder: a block at each width."""
    return Encoder(Block(i, o) for i, o in zip((3, *WIDTHS[:-1]), WIDTHS, strict=True))


def build(sharp: bool) -> nn.Module:
    """Return the U-Net, or with `sharp` the paper's Sharp U-Net."""
    return Segmenter(encoder(), Decoder(), sharp)


class Segmenter(nn.Module):
    """An encoder and a decoder; with `sharp` the Laplacian filters the encoder's maps on their way, but the last."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, sharp: bool):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.skip = Laplacian() if sharp else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 1, H, W) from images (N, 3, H, W)."""
        *skips, x = self.encoder(x)
        return self.decoder(x, [self.skip(skip) for skip in skips])
