"""Softmax attention over the tokens of a map, and the ways to part the map into groups that attend."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nasbench.blocks.branches import conv_cost
from nasbench.blocks.op import Tape
from nasbench.metablock import Attention, Partition


def fold(x: Tensor, groups: int) -> Tensor:
    """(B, C, H, W) -> (B·g², C, H/g, W/g): the g x g interleaved sub-grids of the map become a batch."""
    if groups == 1:
        return x
    b, c, h, w = x.shape
    x = x.reshape(b, c, h // groups, groups, w // groups, groups)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(b * groups**2, c, h // groups, w // groups)


def unfold(x: Tensor, groups: int) -> Tensor:
    """The inverse of `fold`."""
    if groups == 1:
        return x
    b, c, h, w = x.shape
    x = x.reshape(b // groups**2, groups, groups, c, h, w)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(b // groups**2, c, h * groups, w * groups)


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, corners not aligned; nothing where the size is right already."""
    if x.shape[2:] == (height, width):
        return x
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)


def round_up(size: int, multiple: int) -> int:
    return (size + multiple - 1) // multiple * multiple  # no negative division: exporters truncate it


def resize_cost(tape: Tape, channels: int, size: int, size_out: int) -> None:
    if size != size_out:
        outputs = channels * size_out**2
        tape.add("resize", "resize", inputs=channels * size**2, outputs=outputs, flops=4 * outputs)


def copy_cost(tape: Tape, groups: int, elements: int, name: str) -> None:
    if groups > 1:
        tape.add(name, "copy", inputs=elements, outputs=elements)


class AttentionModule(nn.Module):
    """(B, C, H, W) -> (B, C, H, W). The matrix products are spelled out, so counters and exporters see them."""

    def __init__(self, spec: Attention) -> None:
        super().__init__()
        self.spec = spec
        projections = 3 if spec.values == "projected" else 2
        self.qkv = nn.Conv2d(spec.channels, projections * spec.channels, 1, bias=spec.bias)

    def forward(self, x: Tensor) -> Tensor:
        partition = self.spec.partition
        height, width = x.shape[2:]
        if partition.kind == "global":
            return self._attend(x)
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

    def _attend(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        heads, dim = self.spec.heads, c // self.spec.heads
        parts = self.qkv(x).reshape(b, -1, heads, dim, h * w)  # b, q k (v), heads, dim, tokens
        query, key = parts[:, 0], parts[:, 1]
        value = parts[:, 2] if self.spec.values == "projected" else x.reshape(b, heads, dim, h * w)
        weights = ((query * dim**-0.5).transpose(-2, -1) @ key).softmax(-1)  # b, heads, tokens, tokens
        return (weights @ value.transpose(-2, -1)).transpose(-2, -1).reshape(b, c, h, w)


def attention_cost(tape: Tape, spec: Attention, size: int) -> None:
    """Q·Kᵀ and A·V are counted as multiply-adds, softmax and scaling as nothing, like the papers."""
    groups, padded = partition_grid(spec.partition, size)
    c = spec.channels
    if spec.partition.kind == "groups":
        resize_cost(tape, c, size, padded)
    elif padded != size:
        tape.add("pad", "pad", inputs=c * size**2, outputs=c * padded**2)
    copy_cost(tape, groups, c * padded**2, "fold")
    with tape.batched(groups**2):
        _attend_cost(tape, spec, padded // groups)
    copy_cost(tape, groups, c * padded**2, "unfold")
    if spec.partition.kind == "groups":
        resize_cost(tape, c, padded, size)


def _attend_cost(tape: Tape, spec: Attention, side: int) -> None:
    c, heads, tokens = spec.channels, spec.heads, side**2
    projections = 3 if spec.values == "projected" else 2
    conv_cost(tape, c, projections * c, (1, 1), side, side, bias=spec.bias)
    scores = heads * tokens**2
    value = c * tokens
    tape.add("scale", "mul", inputs=c * tokens, outputs=c * tokens, held=(projections - 1) * c * tokens)
    tape.add("scores", "matmul", inputs=2 * c * tokens, outputs=scores, macs=c * tokens**2, held=value)
    tape.add("softmax", "softmax", inputs=scores, outputs=scores, held=value)
    tape.add("weigh", "matmul", inputs=scores + value, outputs=value, macs=c * tokens**2)


def partition_grid(partition: Partition, size: int) -> tuple[int, int]:
    """Groups a side, and the side of the padded or resized map."""
    if partition.kind == "global":
        return 1, size
    padded = round_up(size, partition.size)
    return (partition.size if partition.kind == "groups" else padded // partition.size), padded
