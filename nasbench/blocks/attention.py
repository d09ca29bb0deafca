"""Softmax attention over the positions of a map, and the ways to part the map into groups that attend.

What it costs: `attention_cost.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasbench.arch.extent import round_up
from nasbench.arch.metablock import Attention
from nasbench.blocks.attention_cost import REDUCTION_NORM
from nasbench.blocks.norm import ChannelLayerNorm
from nasbench.blocks.shapes import fold, resize, unfold, zero_padded
from nasbench.blocks.windows import RelativeBias, Windows


class AttentionModule(nn.Module):
    """(B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, spec: Attention) -> None:
        super().__init__()
        self.spec, c = spec, spec.channels
        if spec.reduction > 1:
            self.query = self._projection(c)
            self.reduce = nn.Conv2d(c, c, spec.reduction, spec.reduction)
            self.reduce_norm = ChannelLayerNorm(c, eps=REDUCTION_NORM.eps)
            self.key_value = self._projection(2 * c)
        else:
            self.qkv = self._projection(3 * c if spec.values == "projected" else 2 * c)
        if spec.relative_bias:
            self.relative_bias = RelativeBias(spec.partition.size, spec.heads)

    def _projection(self, features: int) -> nn.Module:
        spec = self.spec
        if spec.linear:
            return nn.Linear(spec.channels, features, bias=spec.bias)
        return nn.Conv2d(spec.channels, features, 1, bias=spec.bias)

    def forward(self, x: Tensor) -> Tensor:
        partition = self.spec.partition
        height, width = x.shape[2:]
        if partition.kind == "global":
            return self._attend(x)
        if partition.kind == "windows":
            return self._attend_windows(x)
        target_h, target_w = round_up(height, partition.size), round_up(width, partition.size)
        if partition.kind == "groups":
            y = fold(resize(x, target_h, target_w), partition.size)
            return resize(unfold(self._attend(y), partition.size), height, width)
        # Tokens by group: padded tokens take part, as in EMO, and are cropped again.
        y = F.pad(x, (0, target_w - width, 0, target_h - height))
        return self._attend_tokens(y, partition.size)[:, :, :height, :width]

    def _attend_tokens(self, x: Tensor, tokens: int) -> Tensor:
        c, h, w = x.shape[1:]
        rows, columns = h // tokens, w // tokens  # strides of the grid
        x = x.reshape(-1, c, tokens, rows, tokens, columns).permute(0, 3, 5, 1, 2, 4)
        y = self._attend(x.reshape(-1, c, tokens, tokens))
        y = y.reshape(-1, rows, columns, c, tokens, tokens).permute(0, 3, 4, 1, 5, 2)
        return y.reshape(-1, c, h, w)

    def _attend_windows(self, x: Tensor) -> Tensor:
        size, shift = self.spec.partition.size, self.spec.partition.shift
        height, width = x.shape[2:]
        x = zero_padded(x, round_up(height, size), round_up(width, size))
        windows = Windows(x.shape[2], x.shape[3], size, shift)
        bias = self.relative_bias() if self.spec.relative_bias else None
        y = self.weighed(*self.project(windows.part(x)), windows.summand(bias, x))
        return windows.join(self._as_map(y, size, size))[:, :, :height, :width]

    def _attend(self, x: Tensor) -> Tensor:
        return self._as_map(self.weighed(*self.project(x)), *x.shape[2:])

    def weighed(self, query: Tensor, key: Tensor, value: Tensor, summand: Tensor | None = None) -> Tensor:
        """The function of this name; a method, so that what explains a network can look at what goes in."""
        return weighed(query, key, value, summand)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, each (B, heads, positions, dim)."""
        spec = self.spec
        if spec.reduction > 1:
            reduced = self.reduce_norm(self.reduce(x))
            return (*self._heads(self.query, x), *self._heads(self.key_value, reduced))  # type: ignore[return-value]
        parts = self._heads(self.qkv, x)
        if spec.values == "projected":
            return parts  # type: ignore[return-value]
        value = x.flatten(2).unflatten(1, (spec.heads, -1)).transpose(-2, -1)
        return (*parts, value)  # type: ignore[return-value]

    def _heads(self, projection: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
        """The projections of `x`, each (B, heads, positions, dim)."""
        heads, dim = self.spec.heads, self.spec.channels // self.spec.heads
        if self.spec.linear:
            y = projection(x.flatten(2).transpose(1, 2))
            return y.unflatten(2, (-1, heads, dim)).permute(2, 0, 3, 1, 4).unbind(0)
        return projection(x).flatten(2).unflatten(1, (-1, heads, dim)).transpose(-2, -1).unbind(1)

    def _as_map(self, y: Tensor, height: int, width: int) -> Tensor:
        """(B, heads, positions, dim) -> (B, C, H, W); channels-last in memory after linear projections."""
        if self.spec.linear:
            return y.transpose(1, 2).flatten(2).transpose(1, 2).unflatten(2, (height, width))
        return y.transpose(-2, -1).flatten(1, 2).unflatten(2, (height, width))


def weighed(query: Tensor, key: Tensor, value: Tensor, summand: Tensor | None = None) -> Tensor:
    """softmax(Q Kᵀ / sqrt(dim) + summand) V.

    Under a tracer the two products are spelled out: fvcore and exporters would lose torch's fused operator, or its
    multiply-adds. Otherwise the fused one runs, which is the same function.
    """
    if not torch.jit.is_tracing():
        return F.scaled_dot_product_attention(query, key, value, summand)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return (scores if summand is None else scores + summand).softmax(-1) @ value
