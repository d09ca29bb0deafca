"""A depthwise convolution whose gradients use the fast CPU kernels of oneDNN.

The fast kernel for the weight's gradient takes filters of up to three columns; for wider ones torch uses one that takes
up to 14 times as long as the forward pass. So the gradient is computed for three columns at a time, each on a shifted
copy of the input. At stride 1 the input's gradient is a convolution with the flipped filter, which is faster than the
kernel for input gradients. Both are the same sums in another order.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

COLUMNS = 3  # of a filter, at most, for the fast kernel
Pair = tuple[int, int]


class DepthwiseConv(nn.Conv2d):
    """A depthwise convolution with faster gradients; torch's own without gradients, with mixed types or in autocast."""

    def forward(self, x: Tensor) -> Tensor:
        recorded = torch.is_grad_enabled() and self.weight.requires_grad
        if not recorded or self.weight.dtype != x.dtype or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        y: Tensor = _Depthwise.apply(x, self.weight, self.bias, self.stride, self.padding)
        return y


def is_wide_depthwise(module: nn.Module) -> bool:
    """Whether `module` is a plain depthwise convolution whose filters have more columns than the fast kernel takes."""
    return (
        type(module) is nn.Conv2d
        and module.groups == module.in_channels == module.out_channels > 1
        and module.kernel_size[1] > COLUMNS
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and min(k - p for k, p in zip(module.kernel_size, module.padding)) > 0
    )


class _Depthwise(torch.autograd.Function):
    """x (B, C, H, W), weight (C, 1, k, k'), bias (C,) or None -> torch's depthwise convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        return (
            _input_gradient(gradient, x, weight, ctx.stride, ctx.padding) if of_x else None,
            _weight_gradient(gradient, x, weight, ctx.stride, ctx.padding) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            None,
            None,
        )


def _input_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The gradient at `x` of a depthwise convolution whose output has `gradient`."""
    if stride != (1, 1):
        return _by_torch(gradient, x, weight, stride, padding, (True, False, False))[0]
    height, width = weight.shape[2:]
    around = (height - 1 - padding[0], width - 1 - padding[1])
    return F.conv2d(gradient, weight.flip(2, 3), None, 1, around, groups=len(weight))


def _weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The gradient at `weight` (C, 1, k, k') of a depthwise convolution of `x` whose output has `gradient`."""
    rows, columns = ((n - 1) * s for n, s in zip(gradient.shape[2:], stride))  # from the first window to the last
    above, below = padding[0], rows + weight.shape[2] - x.shape[2] - padding[0]
    uneven = any(pad > 1 and pad % stride[0] for pad in (above, below))
    if uneven or x.shape[2] < weight.shape[2]:  # the fast kernel does not take this padding
        x, above = F.pad(x, (0, 0, above, below)), 0
    out = torch.empty_like(weight)
    for start in _strips(weight.shape[3]):
        strip, left = slice(start, start + COLUMNS), padding[1] - start
        right = columns + COLUMNS - x.shape[3] - left
        beside = 1 if left == right == 1 else 0  # padding that the kernel takes
        shifted = x if beside else F.pad(x, (left, right))
        around, wanted = (above, beside), (False, True, False)
        out[..., strip] = _by_torch(gradient, shifted, weight[..., strip], stride, around, wanted)[1]
    return out


def _strips(width: int) -> list[int]:
    """First columns of strips of COLUMNS that cover a filter of `width` > 3 columns; strips may overlap by one."""
    step = COLUMNS - (width % COLUMNS == 1)
    return [*range(0, width - COLUMNS, step), width - COLUMNS]


def _by_torch(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """torch's gradients at x, weight and bias of a depthwise convolution; those not `wanted` are undefined."""
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted
    )
    return gradients
