"""Position embeddings and learned tokens. What they cost: `embedding_cost.py`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasbench.arch.metablock import Embedding
from nasbench.blocks.shapes import for_each_image

SINE_BASE = 10_000.0


class EmbeddingModule(nn.Module):
    """(B, C, H, W) -> the same, or (B, C, 1, tokens + H·W) with tokens before the positions, row by row.

    `position` is (1, tokens + side², C), the tokens' own entries first.
    """

    def __init__(self, spec: Embedding) -> None:
        super().__init__()
        self.spec = spec
        if spec.tokens:
            self.tokens = nn.Parameter(torch.zeros(1, spec.tokens, spec.channels))
            nn.init.normal_(self.tokens, std=0.02)
        if spec.position == "sine":
            self.position = nn.Parameter(sine_positions(spec), requires_grad=False)
        elif spec.position != "none":
            self.position = nn.Parameter(torch.zeros(1, spec.tokens + spec.side**2, spec.channels))
            nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        if not self.spec.tokens:
            return x if self.spec.position == "none" else x + self._grid(x).permute(0, 3, 1, 2)
        return self.with_tokens(self.positioned(x)).transpose(1, 2).unsqueeze(2)

    def positioned(self, x: Tensor) -> Tensor:
        """A map (B, C, H, W) -> its positions (B, H·W, C) with their embedding, without tokens."""
        rows = x.flatten(2).transpose(1, 2)
        return rows if self.spec.position == "none" else rows + self._grid(x).flatten(1, 2)

    def with_tokens(self, rows: Tensor) -> Tensor:
        """(B, N, C) -> (B, tokens + N, C)."""
        tokens = self.tokens
        if self.spec.position != "none":
            tokens = tokens + self.position[:, : self.spec.tokens]
        return torch.cat((for_each_image(tokens, rows), rows), 1)

    def _grid(self, x: Tensor) -> Tensor:
        """The positions' embedding for the map `x`: (1, H, W, C)."""
        spec, size = self.spec, x.shape[2:]
        grid = self.position[:, spec.tokens :].reshape(1, spec.side, spec.side, spec.channels)
        if spec.position != "interpolated" and size == (spec.side, spec.side):
            return grid
        mode = "bilinear" if spec.position == "interpolated" else "bicubic"
        return F.interpolate(grid.permute(0, 3, 1, 2), size=size, mode=mode).permute(0, 2, 3, 1)


def resized_positions(position: Tensor, spec: Embedding, mode: str = "bicubic") -> Tensor:
    """A checkpoint's (1, tokens + side'², C) for the side of `spec`, tokens untouched.

    mode: "bicubic" as the published fine-tuning codes of DeiT and MAE do, "bilinear" as PVT's, "aligned" (bilinear, the
    corners kept) as ViT's. Tokens may have no entries, (1, side'², C).
    """
    tokens, grid = position[:, : spec.tokens], position[:, spec.tokens :]
    side = round(grid.shape[1] ** 0.5)
    if side**2 != grid.shape[1]:
        raise ValueError(
            f"{grid.shape[1]} positions are no square grid after {spec.tokens} tokens; check the number of tokens"
        )
    channels_first = grid.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    settings = {"mode": "bilinear", "align_corners": True} if mode == "aligned" else {"mode": mode}
    grown = F.interpolate(channels_first, size=(spec.side, spec.side), **settings).permute(0, 2, 3, 1).flatten(1, 2)
    return torch.cat((tokens, grown), 1)


def sine_positions(spec: Embedding) -> Tensor:
    """(1, tokens + side², C): columns' sine and cosine, then rows'; zero for tokens (arXiv:2111.06377)."""
    if spec.channels % 4:
        raise ValueError(f"sine positions of {spec.channels} channels: they must be a multiple of 4; change them")
    quarter = spec.channels // 4
    frequencies = SINE_BASE ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(spec.side, dtype=torch.float64)[:, None] * frequencies
    axis = torch.cat((angles.sin(), angles.cos()), 1)  # side, C / 2
    columns = axis.expand(spec.side, -1, -1)
    rows = axis[:, None].expand(-1, spec.side, -1)
    grid = torch.cat((columns, rows), 2).reshape(1, spec.side**2, spec.channels)
    return torch.cat((grid.new_zeros(1, spec.tokens, spec.channels), grid), 1).to(torch.get_default_dtype())
