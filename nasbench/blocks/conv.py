"""The convolution unit: convolution or signed sum of branches, norm, activation, squeeze-excite, inner residual."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from nasbench.blocks.branches import BRANCHES, Merged, conv_cost
from nasbench.blocks.norm import act_cost, make_act, make_norm, norm_cost
from nasbench.blocks.op import Tape
from nasbench.blocks.squeeze_excite import SqueezeExciteModule, squeeze_excite_cost
from nasbench.metablock import Conv, deploy_conv


class ConvModule(nn.Module):
    """`spec` as a module: (B, c_in, H, W) -> (B, c_out, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, spec: Conv) -> None:
        super().__init__()
        self.spec = spec
        if spec.branches:
            self.branches = nn.ModuleList(BRANCHES[branch.kind][0](spec, branch) for branch in spec.branches)
        else:
            padding = spec.kernel // 2
            self.conv = nn.Conv2d(
                spec.c_in, spec.c_out, spec.kernel, spec.stride, padding, groups=spec.groups, bias=spec.bias
            )
            self.norm = make_norm(spec.norm, spec.c_out)
        self.act = make_act(spec.act)
        self.se = SqueezeExciteModule(spec.se) if spec.se else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self._sum(x) if self.spec.branches else self.norm(self.conv(x))
        y = self.se(self.act(y))
        return x + y if self.spec.residual else y

    def _sum(self, x: Tensor) -> Tensor:
        total: Tensor | None = None
        for branch, module in zip(self.spec.branches, self.branches):
            y = module(x)
            if total is None:
                total = y if branch.sign > 0 else -y
            else:
                total = total + y if branch.sign > 0 else total - y
        assert total is not None
        return total

    def merged_kernel(self) -> Merged:
        """Kernel and bias, float64, of the one convolution that equals the linear part in eval mode."""
        if not self.spec.branches:
            kernel = self.conv.weight.detach().double()
            bias = kernel.new_zeros(len(kernel)) if self.conv.bias is None else self.conv.bias.detach().double()
            return kernel, bias
        parts = [module.merged() for module in self.branches]
        signs = [branch.sign for branch in self.spec.branches]
        kernel = torch.stack([sign * part[0] for sign, part in zip(signs, parts)]).sum(0)
        bias = torch.stack([sign * part[1] for sign, part in zip(signs, parts)]).sum(0)
        return kernel, bias

    def merged(self) -> ConvModule:
        """A new module with the branches merged."""
        if not self.spec.branches:
            return copy.deepcopy(self)
        out = ConvModule(deploy_conv(self.spec))
        out.se = copy.deepcopy(self.se)
        return out.with_kernel(*self.merged_kernel(), like=next(self.parameters()))

    def with_kernel(self, kernel: Tensor, bias: Tensor, like: Tensor) -> ConvModule:
        """Set the plain convolution's weights, in `like`'s type and device."""
        self.to(like)
        assert self.conv.bias is not None
        with torch.no_grad():
            self.conv.weight.copy_(kernel)
            self.conv.bias.copy_(bias)
        return self


def conv_unit_cost(tape: Tape, spec: Conv, size: int) -> int:
    """Record the operators of `spec` on a map of side `size`; the side of its output."""
    size_out = -(-size // spec.stride)
    elements = spec.c_out * size_out**2
    with tape.holding(spec.c_in * size**2 if spec.residual else 0):
        if spec.branches:
            _branches_cost(tape, spec, size, size_out)
        else:
            shape = (spec.kernel, spec.kernel)
            conv_cost(tape, spec.c_in, spec.c_out, shape, size, size_out, spec.groups, spec.bias)
            norm_cost(tape, spec.norm, spec.c_out, size_out)
        act_cost(tape, spec.act, elements)
        if spec.se:
            squeeze_excite_cost(tape, spec.se, size_out)
    if spec.residual:
        tape.add("inner residual", "add", inputs=2 * elements, outputs=elements)
    return size_out


def _branches_cost(tape: Tape, spec: Conv, size: int, size_out: int) -> None:
    elements, inputs = spec.c_out * size_out**2, spec.c_in * size**2
    for index, branch in enumerate(spec.branches):
        # The input waits for the later branches, the running sum for this one.
        later = index + 1 < len(spec.branches)
        with tape.holding((elements if index else 0) + (inputs if later and branch.kind == "identity" else 0)):
            BRANCHES[branch.kind][1](tape, spec, branch, size, size_out)
        if index:
            tape.add("sum", "add", inputs=2 * elements, outputs=elements)
