"""Mixers that change a map's shape and learn nothing: pooling, space to depth, resizing, sub-grids; and padding.

No block reads how many images a batch holds: -1 stands for them, or `for_each_image`. A number that was read is a
constant in a traced or exported network, which then serves that batch size only. What they cost: `shapes_cost.py`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nasbench.arch.extent import round_up
from nasbench.arch.metablock import Pool, Resize, SpaceToDepth


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


class SpaceToDepthModule(nn.Module):
    """(B, C, H, W) -> (B, size² C, H / size, W / size)."""

    def __init__(self, spec: SpaceToDepth) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, x: Tensor) -> Tensor:
        size = self.spec.size
        height, width = x.shape[2:]
        x = zero_padded(x, round_up(height, size), round_up(width, size))
        c, h, w = x.shape[1:]
        # Column by column within the square: (0, 0), (1, 0), (0, 1), (1, 1), as Swin's published weights expect.
        x = x.permute(0, 2, 3, 1).reshape(-1, h // size, size, w // size, size, c)
        return x.permute(0, 1, 3, 4, 2, 5).flatten(3).permute(0, 3, 1, 2)


class ResizeModule(nn.Module):
    """Bilinear with aligned corners to the next multiple: (B, C, H, W) -> (B, C, H', W')."""

    def __init__(self, spec: Resize) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, x: Tensor) -> Tensor:
        size = tuple(round_up(side, self.spec.multiple) for side in x.shape[2:])
        if size == tuple(x.shape[2:]):
            return x
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def fold(x: Tensor, groups: int) -> Tensor:
    """(B, C, H, W) -> (B·g², C, H/g, W/g): the g x g interleaved sub-grids of the map become a batch."""
    if groups == 1:
        return x
    c, h, w = x.shape[1:]
    x = x.reshape(-1, c, h // groups, groups, w // groups, groups)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(-1, c, h // groups, w // groups)


def unfold(x: Tensor, groups: int) -> Tensor:
    """The inverse of `fold`."""
    if groups == 1:
        return x
    c, h, w = x.shape[1:]
    x = x.reshape(-1, groups, groups, c, h, w)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(-1, c, h * groups, w * groups)


def for_each_image(value: Tensor, like: Tensor) -> Tensor:
    """`value` (1, ...) -> (B, ...), once for each of the B images of `like` (B, ...); a view."""
    for dim in range(1, like.dim()):
        like = like.narrow(dim, 0, 1)
    one = like.reshape(-1, *(1,) * (value.dim() - 1))  # B, 1, ..., 1
    return value.expand_as(one.expand(-1, *value.shape[1:]))


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, corners not aligned; nothing where the size is right already."""
    if x.shape[2:] == (height, width):
        return x
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)


def same_padded(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """TensorFlow's "SAME": as much as ceil(size / stride) outputs need, the odd pixel right and below."""
    missing = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:]]
    (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in missing)
    return F.pad(x, (left, right, top, bottom), value=value)


def zero_padded(x: Tensor, height: int, width: int) -> Tensor:
    """Padded with zeros right and below; nothing where the size is right already."""
    missing = (height - x.shape[2], width - x.shape[3])
    return F.pad(x, (0, missing[1], 0, missing[0])) if any(missing) else x
