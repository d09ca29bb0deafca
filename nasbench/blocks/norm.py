"""Norms and activations as modules. What they cost: `norm_cost.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasbench.arch.metablock import Norm
from nasbench.blocks.overwriting import may_overwrite
from nasbench.errors import UserError


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


NORMS: dict[str, Callable[[Norm, int], nn.Module]] = {
    "bn": lambda norm, channels: nn.BatchNorm2d(channels, eps=norm.eps),
    "ln": lambda norm, channels: ChannelLayerNorm(channels, eps=norm.eps),
    "gn": lambda norm, channels: nn.GroupNorm(norm.groups, channels, eps=norm.eps),
}


class Activation(nn.Module):
    """An activation that can overwrite its input, which `activated` has it do.

    `by_output`: whether its derivative follows from its output, so that it may also do so while autograd records.
    """

    def __init__(self, function: Callable[..., Tensor], by_output: bool) -> None:
        super().__init__()
        self.function, self.by_output = function, by_output

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def activated(act: nn.Module, fresh: Tensor, *makers: nn.Module) -> Tensor:
    """`act(fresh)`, written over `fresh`, which only `makers` have handled, where that cannot be observed."""
    able = isinstance(act, Activation) and (act.by_output or not torch.is_grad_enabled())
    return act.function(fresh, inplace=True) if able and may_overwrite(fresh, act, *makers) else act(fresh)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": lambda: Activation(F.silu, by_output=False),
    "gelu": nn.GELU,  # exact, by the error function
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),  # as in JAX
    "relu": lambda: Activation(F.relu, by_output=True),
    "relu6": lambda: Activation(F.relu6, by_output=False),  # by it too, but torch would copy the input all the same
    "hardswish": lambda: Activation(F.hardswish, by_output=False),
    "sigmoid": nn.Sigmoid,
}


def make_norm(norm: Norm | None, channels: int) -> nn.Module:
    """The module of a norm; the identity where there is none."""
    return NORMS[norm.kind](norm, channels) if norm else nn.Identity()


def make_act(name: str | None) -> nn.Module:
    """The module of an activation; the identity where there is none."""
    return ACTIVATIONS[name]() if name else nn.Identity()


# The norms whose function in eval mode `batch_norm_affine` gives; a subclass may compute anything else.
FOLDABLE = (nn.BatchNorm2d, nn.SyncBatchNorm)


def batch_norm_affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """The scale and shift (C,) that a batch norm applies in eval mode, in float64; any other norm is a UserError."""
    if type(norm) not in FOLDABLE:
        known = ", ".join(kind.__name__ for kind in FOLDABLE)
        raise UserError(
            f"a {type(norm).__name__} cannot be merged into a convolution: fusion knows {known} and no subclass of "
            "them; put one of these in its place, or keep the train form"
        )
    assert isinstance(norm, FOLDABLE)
    mean, var = norm.running_mean, norm.running_var
    if mean is None or var is None:
        raise UserError(
            f"a {type(norm).__name__} without running statistics cannot be merged into a convolution: what it computes "
            "depends on the batch; set track_running_stats=True, or keep the train form"
        )
    scale = 1 / torch.sqrt(var.detach().double() + norm.eps)
    scale = scale if norm.weight is None else norm.weight.detach().double() * scale
    shift = -mean.detach().double() * scale
    return scale, shift if norm.bias is None else norm.bias.detach().double() + shift
