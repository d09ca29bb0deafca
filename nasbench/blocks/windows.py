"""Shifted windows and relative position bias (Swin, arXiv:2103.14030).

What the bias costs: `windows_cost.py`; the rest of windowed attention: `attention_cost.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasbench.blocks.shapes import for_each_image

APART = -100.0  # added to the score of positions that are no neighbours before the roll; the published value


class Windows:
    """The size x size windows of a map whose sides are multiples of `size`, rolled by `shift` first."""

    def __init__(self, height: int, width: int, size: int, shift: int) -> None:
        self.height, self.width, self.size, self.shift = height, width, size, shift

    def part(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B·windows, C, size, size)."""
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (2, 3))
        c, h, w = x.shape[1:]
        x = x.permute(0, 2, 3, 1).reshape(-1, h // self.size, self.size, w // self.size, self.size, c)
        return x.transpose(2, 3).reshape(-1, self.size, self.size, c).permute(0, 3, 1, 2)

    def join(self, x: Tensor) -> Tensor:
        """The inverse of `part`."""
        rows, columns, size = self.height // self.size, self.width // self.size, self.size
        c = x.shape[1]
        x = x.permute(0, 2, 3, 1).reshape(-1, rows, columns, size, size, c)
        x = x.transpose(2, 3).reshape(-1, self.height, self.width, c).permute(0, 3, 1, 2)
        return torch.roll(x, (self.shift, self.shift), (2, 3)) if self.shift else x

    def summand(self, bias: Tensor | None, images: Tensor) -> Tensor | None:
        """What is added to the scores (B·windows, heads, size², size²) of the windows of `images` (B, ...), or None.

        `bias`: (heads, size², size²). After a roll the windows at the seam hold positions that are no neighbours.
        """
        if not self.shift:
            return bias if bias is None else bias[None]
        mask = self._apart(images)[:, None]  # windows, 1, size², size²
        together = mask if bias is None else mask + bias
        return for_each_image(together[None], images).flatten(0, 1)

    def _apart(self, like: Tensor) -> Tensor:
        """(windows, size², size²): 0 within a region of the unrolled map, APART across."""
        regions = self._regions(self.height, like)[:, None] + 3 * self._regions(self.width, like)
        rows, columns, size = self.height // self.size, self.width // self.size, self.size
        parted = regions.reshape(rows, size, columns, size).transpose(1, 2).reshape(rows * columns, size**2)
        return (parted[:, :, None] != parted[:, None]).to(like.dtype) * APART

    def _regions(self, side: int, like: Tensor) -> Tensor:
        """(side,): 0, 1 or 2 for places in whole windows, or on either side of a seam."""
        places = torch.arange(side, device=like.device)
        return (places >= side - self.size).int() + (places >= side - self.shift).int()


class RelativeBias(nn.Module):
    """A learned number for each head and offset within a window: () -> (heads, size², size²)."""

    index: Tensor

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.size = size
        self.table = nn.Parameter(torch.zeros((2 * size - 1) ** 2, heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.register_buffer("index", offset_index(size), persistent=False)

    def forward(self) -> Tensor:
        return self.table[self.index].permute(2, 0, 1)


def offset_index(size: int) -> Tensor:
    """(size², size²): which row of the table belongs to a pair of positions."""
    places = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")).flatten(1)
    rows, columns = places[:, :, None] - places[:, None] + size - 1
    return rows * (2 * size - 1) + columns


def resized_bias(table: Tensor, size: int) -> Tensor:
    """A checkpoint's ((2w-1)², heads) for another window size: bicubic, as the published fine-tuning code does."""
    side = round(len(table) ** 0.5)
    if side**2 != len(table):
        raise ValueError(f"{len(table)} relative positions are no square; check that this is a table of window offsets")
    grid = table.T.reshape(1, -1, side, side)
    grown = F.interpolate(grid, size=(2 * size - 1, 2 * size - 1), mode="bicubic")
    return grown.flatten(2)[0].T
