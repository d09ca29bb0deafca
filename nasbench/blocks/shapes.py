"""Mixers that change a map's shape and learn nothing: pooling, space to depth, resizing, sub-grids."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nasbench.arch.extent import Extent, mixer_extent, round_up
from nasbench.arch.metablock import Pool, Resize, SpaceToDepth
from nasbench.blocks.conv import same_padded
from nasbench.blocks.op import Tape


class PoolModule(nn.Module):
    """(B, C, H, W) -> (B, C, H', W'), the maximum of each window."""

    def __init__(self, spec: Pool) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, x: Tensor) -> Tensor:
        spec = self.spec
        if spec.padding == "same":
            return F.max_pool2d(same_padded(x, spec.kernel, spec.stride, float("-inf")), spec.kernel, spec.stride)
        return F.max_pool2d(x, spec.kernel, spec.stride, spec.kernel // 2)


def pool_cost(tape: Tape, spec: Pool, extent: Extent) -> Extent:
    after = mixer_extent(spec, extent)
    tape.add("max pool", "pool", inputs=spec.channels * extent.area, outputs=spec.channels * after.area)
    return after


class SpaceToDepthModule(nn.Module):
    """(B, C, H, W) -> (B, size² C, H / size, W / size)."""

    def __init__(self, spec: SpaceToDepth) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, x: Tensor) -> Tensor:
        size = self.spec.size
        height, width = x.shape[2:]
        x = zero_padded(x, round_up(height, size), round_up(width, size))
        b, c, h, w = x.shape
        # Column by column within the square: (0, 0), (1, 0), (0, 1), (1, 1), as Swin's published weights expect.
        x = x.permute(0, 2, 3, 1).reshape(b, h // size, size, w // size, size, c)
        return x.permute(0, 1, 3, 4, 2, 5).flatten(3).permute(0, 3, 1, 2)


def space_to_depth_cost(tape: Tape, spec: SpaceToDepth, extent: Extent) -> Extent:
    after = mixer_extent(spec, extent)
    padded = after.map(lambda size: size * spec.size)
    pad_cost(tape, spec.channels, extent, padded)
    elements = spec.channels * padded.area
    tape.add("space to depth", "copy", inputs=elements, outputs=elements)
    return after


class ResizeModule(nn.Module):
    def __init__(self, spec: Resize) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, x: Tensor) -> Tensor:
        size = tuple(round_up(side, self.spec.multiple) for side in x.shape[2:])
        if size == tuple(x.shape[2:]):
            return x
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def aligned_resize_cost(tape: Tape, spec: Resize, extent: Extent) -> Extent:
    after = mixer_extent(spec, extent)
    resize_cost(tape, spec.channels, extent, after)
    return after


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


def zero_padded(x: Tensor, height: int, width: int) -> Tensor:
    """Padded with zeros right and below; nothing where the size is right already."""
    missing = (height - x.shape[2], width - x.shape[3])
    return F.pad(x, (0, missing[1], 0, missing[0])) if any(missing) else x


def resize_cost(tape: Tape, channels: int, before: Extent, after: Extent) -> None:
    if before != after:
        outputs = channels * after.area
        tape.add("resize", "resize", inputs=channels * before.area, outputs=outputs, flops=4 * outputs)


def pad_cost(tape: Tape, channels: int, before: Extent, after: Extent) -> None:
    if before != after:
        tape.add("pad", "pad", inputs=channels * before.area, outputs=channels * after.area)


def copy_cost(tape: Tape, elements: int, name: str) -> None:
    tape.add(name, "copy", inputs=elements, outputs=elements)
