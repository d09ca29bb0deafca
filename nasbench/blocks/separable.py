"""Separable self-attention (MobileViTv2, arXiv:2206.02680). What it costs: `separable_cost.py`."""

from __future__ import annotations

from torch import Tensor, nn

from nasbench.arch.metablock import SeparableAttention


class SeparableAttentionModule(nn.Module):
    """(B, C, H, W) -> (B, C, H, W); H and W are multiples of the patch."""

    def __init__(self, spec: SeparableAttention) -> None:
        super().__init__()
        self.spec = spec
        self.qkv = nn.Conv2d(spec.channels, 1 + 2 * spec.channels, 1, bias=spec.bias)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        c, patch = self.spec.channels, self.spec.patch
        h, w = x.shape[2:]
        query, key, value = self.qkv(x).split((1, c, c), 1)
        squares = (h // patch, patch, w // patch, patch)
        # One distribution for each place within a patch: over all patches.
        scores = query.reshape(-1, *squares).permute(0, 2, 4, 1, 3).flatten(3).softmax(-1)
        scores = scores.reshape(-1, patch, patch, h // patch, w // patch).permute(0, 3, 1, 4, 2).reshape(-1, 1, h, w)
        context = (key * scores).reshape(-1, c, *squares).sum((2, 4), keepdim=True)
        return (self.act(value).reshape(-1, c, *squares) * context).reshape(-1, c, h, w)
