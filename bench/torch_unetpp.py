"""The UNet++ of models/unetpp.py in PyTorch, with one head. Its images have a height and a width that 16 divides."""

import torch
from torch import nn
from torch_unet import WIDTHS, Block, Laplacian, encoder


class Path(nn.Module):
    """The way up from X(n, 0) by X(n-1, 1), X(n-2, 2) and so on to X(0, n)."""

    def __init__(self, last: int):
        super().__init__()
        levels = range(last - 1, -1, -1)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(WIDTHS[i + 1], WIDTHS[i], 2, stride=2) for i in levels)
        self.blocks = nn.ModuleList(Block((last - i + 1) * WIDTHS[i], WIDTHS[i]) for i in levels)

    def forward(self, x: torch.Tensor, rows: list[list[torch.Tensor]]) -> None:
        """Append X(i, n-i) to each row; rows[i] holds the filtered X(i, 0), then X(i, 1) to X(i, n-i-1)."""
        for up, block, row in zip(self.ups, self.blocks, reversed(rows[: len(self.ups)]), strict=True):
            x = block(torch.cat([up(x), *row], dim=1))
            row.append(x)


class Decoder(nn.Module):
    """A path up from each map but the finest, and a 1x1 convolution of the last X(0, n)."""

    def __init__(self):
        super().__init__()
        self.paths = nn.ModuleList(Path(n) for n in range(1, len(WIDTHS)))
        self.classifiers = nn.ModuleList([nn.Conv2d(WIDTHS[0], 1, 1)])

    def forward(self, maps: list[torch.Tensor], rows: list[list[torch.Tensor]]) -> torch.Tensor:
        """Return logits (N, 1, H, W) from the encoder's maps and a list of each filtered one, finest first."""
        for path, x in zip(self.paths, maps[1:], strict=True):
            path(x, rows)
        return self.classifiers[0](rows[0][-1])


class UNetPlusPlus(nn.Module):
    """UNet++, or with `sharp` its sharp twin. Each encoder map is filtered once, for all places that it joins."""

    def __init__(self, sharp: bool):
        super().__init__()
        self.encoder, self.decoder = encoder(), Decoder()
        self.skip = Laplacian() if sharp else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 1, H, W) from images (N, 3, H, W)."""
        maps = self.encoder(x)
        return self.decoder(maps, [[self.skip(each)] for each in maps[:-1]])
