"""Masked autoencoding: hiding positions, and the decoder that paints their pixels (arXiv:2111.06377).

What the decoder costs: `decoder_cost.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nasbench.arch.metablock import DecoderSpec
from nasbench.blocks.conv import ConvModule
from nasbench.blocks.embedding import EmbeddingModule
from nasbench.blocks.metablock import MetaBlockModule
from nasbench.blocks.norm import make_norm
from nasbench.blocks.shapes import for_each_image


def random_masking(rows: Tensor, kept: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """`kept` of (B, N, C) positions drawn without order, (B, kept, C), and each position's place in that order (B, N).

    Position i was kept where its place is below `kept`.
    """
    noise = torch.rand(rows.shape[:2], device=rows.device, generator=generator)
    order = noise.argsort(1)
    chosen = order[:, :kept, None].expand(-1, -1, rows.shape[2])
    return rows.gather(1, chosen), order.argsort(1)


class DecoderModule(nn.Module):
    """Encoded visible positions behind their tokens, (B, C, 1, tokens + kept), -> pixels (B, N, patch²·c)."""

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.norm = make_norm(spec.norm, spec.embed.c_in)
        self.embed = ConvModule(spec.embed)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, spec.embed.c_out))
        nn.init.normal_(self.mask_token, std=0.02)
        self.embedding = EmbeddingModule(spec.embedding)
        del self.embedding.tokens  # the encoder's arrive with the rows
        self.blocks = nn.Sequential(*(MetaBlockModule(block) for block in spec.blocks))
        self.last_norm = make_norm(spec.last_norm, spec.predict.c_in)
        self.predict = ConvModule(spec.predict)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        tokens = self.spec.tokens
        rows = self.embed(self.norm(x)).flatten(2).transpose(1, 2)
        hidden = self.mask_token.expand(-1, places.shape[1] + tokens - rows.shape[1], -1)
        hidden = for_each_image(hidden, rows)
        shuffled = torch.cat((rows[:, tokens:], hidden), 1)
        in_place = shuffled.gather(1, places[:, :, None].expand(-1, -1, rows.shape[2]))
        full = torch.cat((rows[:, :tokens], in_place), 1) + self.embedding.position
        y = self.predict(self.last_norm(self.blocks(full.transpose(1, 2).unsqueeze(2))))
        return y[:, :, 0, tokens:].transpose(1, 2)


def patches_of(images: Tensor, patch: int) -> Tensor:
    """(B, c, R, R) -> (B, N, patch²·c): row by row, within a patch pixel by pixel, colours last."""
    c, height, width = images.shape[1:]
    x = images.reshape(-1, c, height // patch, patch, width // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def masked_error(predicted: Tensor, images: Tensor, mask: Tensor, patch: int) -> Tensor:
    """Mean squared error over the hidden patches.

    `predicted` (B, N, patch²·c); `mask` (B, N), 1 where hidden.
    """
    wanted = patches_of(images, patch)
    return ((predicted - wanted).square().mean(-1) * mask).sum() / mask.sum()
