"""The summands of a re-parameterised convolution: module and merged kernel of each kind.

What they cost: `branches_cost.py`. A branch merges into a kernel (c_out, c_in / groups, k, k) and a bias (c_out,) that
give the same output in eval mode.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasbench.arch.metablock import Branch, Conv
from nasbench.blocks.branches_cost import branch_shape, chain_width
from nasbench.blocks.norm import batch_norm_affine
from nasbench.errors import UserError

Merged = tuple[Tensor, Tensor]


def grouped_identity(channels: int, groups: int, kernel: int, like: Tensor) -> Tensor:
    """The kernel (channels, channels / groups, k, k) that copies its input."""
    per_group = channels // groups
    out = torch.zeros(channels, per_group, kernel, kernel, dtype=like.dtype, device=like.device)
    index = torch.arange(channels, device=like.device)
    out[index, index % per_group, kernel // 2, kernel // 2] = 1
    return out


def scale_and_shift(kernel: Tensor, bias: Tensor, norm: nn.Module) -> Merged:
    """Merge a batch norm, if there is one, into the convolution before it; any other norm is a UserError."""
    if type(norm) is nn.Identity:
        return kernel, bias
    scale, shift = batch_norm_affine(norm)
    if len(scale) != len(kernel):  # one of a single channel would be broadcast
        raise UserError(
            f"a norm of {len(scale)} channels behind a convolution to {len(kernel)}: both need as many; "
            f"give the norm {len(kernel)}"
        )
    return kernel * scale[:, None, None, None], bias * scale + shift


def centred(kernel: Tensor, side: int) -> Tensor:
    """A smaller odd kernel in the middle of a `side` x `side` one."""
    rows, columns = (side - kernel.shape[2]) // 2, (side - kernel.shape[3]) // 2
    return F.pad(kernel, (columns, columns, rows, rows))


def _norm(spec: Conv, branch: Branch, channels: int) -> nn.Module:
    eps = spec.norm.eps if spec.norm else 1e-5
    return nn.BatchNorm2d(channels, eps=eps) if branch.norm else nn.Identity()


class ConvBranch(nn.Module):
    """A k x k, k x 1, 1 x k or 1 x 1 convolution and its norm."""

    def __init__(self, spec: Conv, branch: Branch) -> None:
        super().__init__()
        shape = branch_shape(spec, branch)
        padding = (shape[0] // 2, shape[1] // 2)
        bias = not branch.norm
        self.conv = nn.Conv2d(spec.c_in, spec.c_out, shape, spec.stride, padding, groups=spec.groups, bias=bias)
        self.norm = _norm(spec, branch, spec.c_out)
        self.side = spec.kernel

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))

    def merged(self) -> Merged:
        weight = self.conv.weight.detach().double()
        bias = weight.new_zeros(len(weight)) if self.conv.bias is None else self.conv.bias.detach().double()
        return scale_and_shift(centred(weight, self.side), bias, self.norm)


class IdentityBranch(nn.Module):
    """The input itself and its norm."""

    def __init__(self, spec: Conv, branch: Branch) -> None:
        super().__init__()
        if spec.c_in != spec.c_out or spec.stride != 1:
            raise ValueError(
                f"identity branch from {spec.c_in} to {spec.c_out} channels at stride {spec.stride}: "
                "it needs equal channels and stride 1; leave the branch out"
            )
        self.norm = _norm(spec, branch, spec.c_out)
        self.shape = (spec.c_out, spec.groups, spec.kernel)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def merged(self) -> Merged:
        like = next((p.detach().double() for p in self.parameters()), torch.zeros(1, dtype=torch.float64))
        kernel = grouped_identity(*self.shape, like)
        return scale_and_shift(kernel, like.new_zeros(self.shape[0]), self.norm)


def padded_norm(norm: nn.Module, x: Tensor, padding: int) -> Tensor:
    """Batch norm, then padding with its image of zero, so that a later convolution without padding stays mergeable.

    A function: of a subclass of the norm, torch's conversion to SyncBatchNorm would drop the padding.
    """
    border = batch_norm_affine(norm)[1].to(x.dtype)[:, None, None]
    return F.pad(norm(x) - border, (padding,) * 4) + border


class PoolBranch(nn.Module):
    """Average pooling and norm, after a 1x1 convolution unless depthwise (DBB's transform V, arXiv:2103.13425)."""

    def __init__(self, spec: Conv, branch: Branch) -> None:
        super().__init__()
        self.spec, padding = spec, spec.kernel // 2
        eps = spec.norm.eps if spec.norm else 1e-5
        self.depthwise = spec.groups == spec.c_out
        if not self.depthwise:
            self.conv = nn.Conv2d(spec.c_in, spec.c_out, 1, groups=spec.groups, bias=False)
            self.padded = nn.BatchNorm2d(spec.c_out, eps=eps)
        self.pool = nn.AvgPool2d(spec.kernel, spec.stride, padding if self.depthwise else 0)
        self.norm = nn.BatchNorm2d(spec.c_out, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        if not self.depthwise:
            x = padded_norm(self.padded, self.conv(x), self.spec.kernel // 2)
        return self.norm(self.pool(x))

    def merged(self) -> Merged:
        spec = self.spec
        like = self.norm.weight.detach().double()
        identity = grouped_identity(spec.c_out, spec.groups, 1, like)
        pool = identity.expand(-1, -1, spec.kernel, spec.kernel) / spec.kernel**2
        kernel, bias = pool, like.new_zeros(spec.c_out)
        if not self.depthwise:
            first = scale_and_shift(self.conv.weight.detach().double(), bias, self.padded)
            kernel, bias = chained(first, pool, spec.groups)
        return scale_and_shift(kernel, bias, self.norm)


class ChainBranch(nn.Module):
    """1x1 convolution, norm, k x k convolution, norm (DBB's transform III).

    As its authors do: a depthwise one widens twofold inside; otherwise the 1x1 kernel is I plus what is learned.
    """

    def __init__(self, spec: Conv, branch: Branch) -> None:
        super().__init__()
        self.spec = spec
        inner = chain_width(spec)
        eps = spec.norm.eps if spec.norm else 1e-5
        self.from_identity = inner == spec.c_in
        self.conv1 = nn.Conv2d(spec.c_in, inner, 1, groups=spec.groups, bias=False)
        self.padded = nn.BatchNorm2d(inner, eps=eps)
        self.conv2 = nn.Conv2d(inner, spec.c_out, spec.kernel, spec.stride, groups=spec.groups, bias=False)
        self.norm = nn.BatchNorm2d(spec.c_out, eps=eps)

    def kernel1(self) -> Tensor:
        weight = self.conv1.weight
        if not self.from_identity:
            return weight
        return weight + grouped_identity(self.spec.c_in, self.spec.groups, 1, weight)

    def forward(self, x: Tensor) -> Tensor:
        first = F.conv2d(x, self.kernel1(), groups=self.spec.groups)
        return self.norm(self.conv2(padded_norm(self.padded, first, self.spec.kernel // 2)))

    def merged(self) -> Merged:
        kernel1 = self.kernel1().detach().double()
        first = scale_and_shift(kernel1, kernel1.new_zeros(len(kernel1)), self.padded)
        return scale_and_shift(*chained(first, self.conv2.weight.detach().double(), self.spec.groups), self.norm)


def chained(first: Merged, kernel2: Tensor, groups: int) -> Merged:
    """One k x k convolution for a 1x1 one (c_mid, c_in / g, 1, 1) with bias, then a (c_out, c_mid / g, k, k) one."""
    kernel1, bias1 = first
    by_group1 = kernel1[:, :, 0, 0].unflatten(0, (groups, -1))  # g, mid, in
    by_group2 = kernel2.unflatten(0, (groups, -1))  # g, out, mid, k, k
    kernel = torch.einsum("gmi,gomhw->goihw", by_group1, by_group2).flatten(0, 1)
    bias = torch.einsum("gm,gomhw->go", bias1.unflatten(0, (groups, -1)), by_group2).flatten()
    return kernel, bias


# kind of a branch -> its module
BRANCHES: dict[str, Callable[[Conv, Branch], nn.Module]] = {
    "kxk": ConvBranch,
    "kx1": ConvBranch,
    "1xk": ConvBranch,
    "1x1": ConvBranch,
    "identity": IdentityBranch,
    "avg": PoolBranch,
    "1x1_kxk": ChainBranch,
}
