"""The convolution unit: convolution or signed sum of branches, norm, activation, squeeze-excite, inner residual.

What it costs: `conv_cost.py`.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasbench.arch.deploy_form import deploy_conv
from nasbench.arch.metablock import Conv
from nasbench.blocks.branches import BRANCHES, Merged
from nasbench.blocks.norm import activated, make_act, make_norm
from nasbench.blocks.overwriting import may_overwrite
from nasbench.blocks.shapes import same_padded
from nasbench.blocks.squeeze_excite import SqueezeExciteModule
from nasbench.errors import UserError


class ConvModule(nn.Module):
    """`spec` as a module: (B, c_in, H, W) -> (B, c_out, H', W'), with H' and W' as `extent.windowed` says."""

    def __init__(self, spec: Conv) -> None:
        super().__init__()
        self.spec = spec
        if spec.branches:
            self.branches = nn.ModuleList(BRANCHES[branch.kind](spec, branch) for branch in spec.branches)
        else:
            self.conv = make_conv(spec)
            self.norm = make_norm(spec.norm, spec.c_out)
        self.act = make_act(spec.act)
        self.se = SqueezeExciteModule(spec.se) if spec.se else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        makers: tuple[nn.Module, ...]
        if self.spec.branches:
            y, makers = self._sum(x), (self.branches,) if len(self.spec.branches) == 1 else ()
        else:
            y, makers = self.norm(self.conv(x)), (self.norm,) if self.spec.norm else (self.conv, self.norm)
        y = y.clone() if y is x else y  # a lone identity branch; what follows may overwrite
        y = self.se(activated(self.act, y, *makers))
        return x + y if self.spec.residual else y

    def _sum(self, x: Tensor) -> Tensor:
        """The signed sum; of several branches it is a new tensor without other references."""
        own = not torch.is_grad_enabled() and may_overwrite(x, self.branches[0])
        total: Tensor | None = None
        for branch, module in zip(self.spec.branches, self.branches):
            y = module(x)
            if total is None:
                total = y if branch.sign > 0 else -y
            elif own and total is not x and total.dtype == y.dtype:
                total.add_(y, alpha=branch.sign)
            else:
                total = torch.add(total, y, alpha=branch.sign)
        assert total is not None
        return total

    def merged_kernel(self) -> Merged:
        """Kernel and bias, float64, of the one convolution that equals the linear part in eval mode."""
        if not self.spec.branches:
            kernel = self.conv.weight.detach().double()
            if self.spec.standardise is not None:
                kernel = standardised(kernel, self.spec.standardise)
            bias = kernel.new_zeros(len(kernel)) if self.conv.bias is None else self.conv.bias.detach().double()
            return kernel, bias
        parts = [module.merged() for module in self.branches]
        signs = [branch.sign for branch in self.spec.branches]
        kernel = torch.stack([sign * part[0] for sign, part in zip(signs, parts)]).sum(0)
        bias = torch.stack([sign * part[1] for sign, part in zip(signs, parts)]).sum(0)
        return kernel, bias

    def merged(self) -> ConvModule:
        """A new module with the branches merged and the filters standardised."""
        if deploy_conv(self.spec) == self.spec:
            return copy.deepcopy(self)
        with torch.device("meta"):  # every tensor is set below: drawing initial ones would take most of the time
            out = ConvModule(deploy_conv(self.spec))
        out.act, out.se = copy.deepcopy(self.act), copy.deepcopy(self.se)
        if not self.spec.branches:
            out.norm = copy.deepcopy(self.norm)
        return out.with_kernel(*self.merged_kernel(), like=self.kernel_like())

    def kernel_like(self) -> Tensor:
        """A tensor of the type and device that the merged kernel gets: a convolution's; norms may be of another."""
        return next((p for p in self.parameters() if p.ndim == 4), next(self.parameters()))

    def with_kernel(self, kernel: Tensor, bias: Tensor, like: Tensor) -> ConvModule:
        """Set the plain convolution's weights, in `like`'s type and device, which must be able to hold them."""
        self.conv.to_empty(device=like.device).to(like.dtype)
        for tensor, merged in ((self.conv.weight, kernel), (self.conv.bias, bias)):
            if tensor is not None:
                set_exactly(tensor, merged, "a merged convolution")
        return self


def make_conv(spec: Conv) -> nn.Module:
    """The bare operator of a convolution without branches."""
    if spec.linear:
        return PositionLinear(spec.c_in, spec.c_out, spec.bias)
    padding = spec.kernel // 2 if spec.padding == "half" else 0
    kind = nn.Conv2d if spec.padding != "same" and spec.standardise is None else PreparedConv
    conv = kind(spec.c_in, spec.c_out, spec.kernel, spec.stride, padding, groups=spec.groups, bias=spec.bias)
    if isinstance(conv, PreparedConv):
        conv.same, conv.eps = spec.padding == "same", spec.standardise
    return conv


class PositionLinear(nn.Linear):
    """A linear layer over the channels of (B, C, H, W); its output is channels-last in memory, as the next wants."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)


class PreparedConv(nn.Conv2d):
    """A convolution whose input is padded as TensorFlow does, or whose filters are standardised, or both."""

    same = False
    eps: float | None = None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.eps is None else standardised(self.weight, self.eps)
        if self.same:
            x = same_padded(x, self.kernel_size[0], self.stride[0])
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, groups=self.groups)


def standardised(kernel: Tensor, eps: float) -> Tensor:
    """Every filter of (c_out, c_in / groups, k, k) with mean 0 and population deviation 1 (arXiv:1903.10520)."""
    centred = kernel - kernel.mean((1, 2, 3), keepdim=True)
    return centred / (centred.square().mean((1, 2, 3), keepdim=True).sqrt() + eps)


def set_exactly(target: Tensor, value: Tensor, what: str) -> None:
    """Write `value` into `target`; a UserError names `what` where the shapes differ or its type cannot hold it."""
    if target.shape != value.shape:
        raise UserError(f"{what}: {tuple(value.shape)} does not go into {tuple(target.shape)}; give one of that shape")
    if target.is_floating_point() and not value.is_floating_point():
        raise UserError(f"{what}: numbers of type {value.dtype} are no weights; give floating-point ones")
    require_held(value, target.dtype, what)
    with torch.no_grad():
        target.copy_(value)


def require_held(value: Tensor, dtype: torch.dtype, what: str) -> None:
    """A UserError where a finite number becomes infinite in `dtype`."""
    if not dtype.is_floating_point or not value.is_floating_point() or value.is_meta:
        return
    limit = torch.finfo(dtype).max
    if torch.finfo(value.dtype).max <= limit:
        return
    lost = (value.isfinite() & ~value.to(dtype).isfinite()).any()
    if lost:
        largest = float(value[value.isfinite()].abs().max())
        raise UserError(f"{what}: {largest:.3g} is beyond {dtype}, whose largest is {limit:.3g}; use a float32 network")
