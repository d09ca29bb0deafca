"""Initial weights for short trainings: residual branches start small, so that deep designs learn within a few hundred
steps.

Schedules of hundreds of epochs overcome a worse start. In short ones the sum of 20 branches at full scale dominates the
skip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from nasbench.arch.metablock import Act
from nasbench.blocks.branches import IdentityBranch
from nasbench.blocks.conv import ConvModule
from nasbench.blocks.metablock import MetaBlockModule
from nasbench.blocks.squeeze_excite import SqueezeExciteModule

LINEAR_DEVIATION = 0.02  # standard deviation of linear layers as model.build initialises them


def set_layer_scale(model: nn.Module, value: float) -> None:
    """Set every layer scale to `value`; 0 leaves them.

    FastViT starts it at 1e-5 (arXiv:2303.14189), which a schedule of 300 epochs overcomes and one of a few hundred
    steps does not: the branches would add next to nothing, and the score would not depend on them.
    """
    if not value:
        return
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2] == "layer_scale":
                parameter.fill_(value)


def scale_linear_layers(model: nn.Module, gain: float) -> None:
    """Scale the linear layers of blocks to `gain` x Xavier's standard deviation, without new random numbers; 0 leaves
    them.

    N(0, 0.02²) is Xavier's for layers about 2,500 wide; at width 48 the branches of a token network would add next to
    nothing. Classifiers keep it, so that all classes start with nearly equal probability.
    """
    if not gain:
        return
    blocks = [module for module in model.modules() if isinstance(module, MetaBlockModule)]
    layers = {layer for block in blocks for layer in block.modules() if isinstance(layer, nn.Linear)}
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(gain * math.sqrt(2 / sum(layer.weight.shape)) / LINEAR_DEVIATION)


def scale_residual_branches(model: nn.Module, gain: float) -> None:
    """Scale the initial weights of residual branches by `gain` (compare arXiv:1706.02677, section 5.1, with 0).

    The last weight of a branch is scaled, that of its norm where it ends in one. In a sum of branches with an identity
    among them (RepVGG) the other branches are scaled. Blocks with a layer scale are left as they are.
    """
    if gain == 1:
        return
    with torch.no_grad():
        for module in model.modules():
            for last in _last_of_branches(module):
                for parameter in last.parameters(recurse=False):
                    parameter.mul_(gain)


def open_identity_branches(model: nn.Module, bias: float) -> None:
    """Start the norm's bias of identity branches that an activation follows at `bias`; 0 leaves them.

    RepVGG and MobileOne have no other skip. A norm centres each channel, so that ReLU sets everything below the mean to
    0 at every unit: after twenty units 5 % of the values are above 0. With a bias of 1 it is 73 %.
    """
    if not bias:
        return
    with torch.no_grad():
        for unit in (unit for module in model.modules() for unit in _activated(module)):
            for branch in unit.branches if len(unit.spec.branches) > 1 else ():
                if isinstance(branch, IdentityBranch) and isinstance(branch.norm, nn.BatchNorm2d):
                    branch.norm.bias.fill_(bias)


def _activated(module: nn.Module) -> Iterator[ConvModule]:
    """The convolution unit whose sum of branches goes straight into an activation, its own or that of its block."""
    if isinstance(module, ConvModule) and module.spec.act:
        yield module
    elif isinstance(module, MetaBlockModule) and module.spec.skip is None:
        last = [module.expand, *module.mix, *module.project][-1]
        if isinstance(last, ConvModule) and any(isinstance(item, Act) for item in module.spec.post):
            yield last


def _last_of_branches(module: nn.Module) -> Iterator[nn.Module]:
    """The modules whose weights scale the output that `module` adds to a skip."""
    if isinstance(module, MetaBlockModule):
        if module.spec.skip in (None, "concat") or module.spec.layer_scale is not None:
            return
        units = [*module.before, module.expand, *module.mix, *module.project]
        yield from next(filter(None, map(_last_weights, reversed(units))), [])
    elif isinstance(module, ConvModule) and module.spec.residual:
        yield from _last_weights(module)
    elif isinstance(module, ConvModule) and module.spec.branches:
        others = [branch for branch in module.branches if not isinstance(branch, IdentityBranch)]
        if len(others) < len(module.branches):
            yield from (weighted[-1] for weighted in map(_weighted, others))


def _last_weights(unit: nn.Module) -> list[nn.Module]:
    """The last module with a weight; of a sum of branches that of each."""
    parts = unit.branches if isinstance(unit, ConvModule) and unit.spec.branches else [unit]
    return [weighted[-1] for weighted in map(_weighted, parts) if weighted]


def _weighted(unit: nn.Module) -> list[nn.Module]:
    """Modules with a weight in order, but for those of gates, whose sigmoid output they do not scale."""
    gates = {id(part) for gate in unit.modules() if isinstance(gate, SqueezeExciteModule) for part in gate.modules()}
    return [part for part in unit.modules() if id(part) not in gates and getattr(part, "weight", None) is not None]
