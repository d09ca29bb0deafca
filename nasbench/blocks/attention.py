"""Softmax attention over the positions of a map, and the ways to part the map into groups that attend."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasbench.arch.extent import Extent, round_up
from nasbench.arch.metablock import Attention, Norm
from nasbench.blocks.branches import conv_cost
from nasbench.blocks.norm import ChannelLayerNorm, norm_cost
from nasbench.blocks.op import Tape
from nasbench.blocks.shapes import copy_cost, fold, pad_cost, resize, resize_cost, unfold, zero_padded
from nasbench.blocks.windows import RelativeBias, Windows, bias_cost

REDUCTION_NORM = Norm("ln", 1e-5)  # PVT's, arXiv:2102.12122


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
        b, c, h, w = x.shape
        rows, columns = h // tokens, w // tokens  # strides of the grid
        x = x.reshape(b, c, tokens, rows, tokens, columns).permute(0, 3, 5, 1, 2, 4)
        y = self._attend(x.reshape(b * rows * columns, c, tokens, tokens))
        y = y.reshape(b, rows, columns, c, tokens, tokens).permute(0, 3, 4, 1, 5, 2)
        return y.reshape(b, c, h, w)

    def _attend_windows(self, x: Tensor) -> Tensor:
        size, shift = self.spec.partition.size, self.spec.partition.shift
        height, width = x.shape[2:]
        x = zero_padded(x, round_up(height, size), round_up(width, size))
        windows = Windows(x.shape[2], x.shape[3], size, shift)
        bias = self.relative_bias() if self.spec.relative_bias else None
        parted = windows.part(x)
        y = weighed(*self._project(parted), windows.summand(bias, parted))
        return windows.join(self._as_map(y, size, size))[:, :, :height, :width]

    def _attend(self, x: Tensor) -> Tensor:
        return self._as_map(weighed(*self._project(x)), *x.shape[2:])

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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


def attention_cost(tape: Tape, spec: Attention, extent: Extent) -> Extent:
    """Q·Kᵀ and A·V are counted as multiply-adds, softmax and scaling as nothing, like the papers."""
    partition, c = spec.partition, spec.channels
    if partition.kind == "global":
        _attend_cost(tape, spec, extent, extent, 1)
        return extent
    padded = extent.map(lambda size: round_up(size, partition.size))
    (resize_cost if partition.kind == "groups" else pad_cost)(tape, c, extent, padded)
    if partition.kind == "groups":
        count, within = partition.size**2, padded.map(lambda size: size // partition.size)
    else:
        count, within = padded.area // partition.size**2, Extent(partition.size, partition.size)
    if partition.shift:
        copy_cost(tape, c * padded.area, "roll")
    moves = count > 1
    if moves:
        copy_cost(tape, c * padded.area, "fold")
    _attend_cost(tape, spec, padded, within, count)
    if moves:
        copy_cost(tape, c * padded.area, "unfold")
    if partition.shift:
        copy_cost(tape, c * padded.area, "roll back")
    if partition.kind == "groups":
        resize_cost(tape, c, padded, extent)
    return extent


def _attend_cost(tape: Tape, spec: Attention, extent: Extent, group: Extent, count: int) -> None:
    """Attention within each of `count` groups of positions of the map."""
    c, area, tokens = spec.channels, extent.area, group.area
    keys, kind = tokens, "linear" if spec.linear else ""
    if spec.reduction > 1:
        conv_cost(tape, c, c, (1, 1), area, area, bias=spec.bias, kind=kind)
        reduced = extent.map(lambda size: size // spec.reduction)
        keys, side = reduced.area, (spec.reduction, spec.reduction)
        with tape.holding(c * area):
            conv_cost(tape, c, c, side, area, keys, spec.reduction, bias=True)
            norm_cost(tape, REDUCTION_NORM, c, keys)
            conv_cost(tape, c, 2 * c, (1, 1), keys, keys, bias=spec.bias, kind=kind)
    else:
        features = 3 * c if spec.values == "projected" else 2 * c
        conv_cost(tape, c, features, (1, 1), area, area, bias=spec.bias, kind=kind)
    scores, value, key = spec.heads * tokens * keys, c * tokens, c * keys
    held = (2 if spec.values == "projected" else 1) * key
    with tape.batched(count):
        tape.add("scale", "mul", inputs=value, outputs=value, held=held)
        tape.add("scores", "matmul", inputs=value + key, outputs=scores, macs=c * tokens * keys, held=key)
    if spec.relative_bias:
        bias_cost(tape, spec, scores * count)
    with tape.batched(count):
        tape.add("softmax", "softmax", inputs=scores, outputs=scores, held=key)
        tape.add("weigh", "matmul", inputs=scores + key, outputs=value, macs=c * tokens * keys)
