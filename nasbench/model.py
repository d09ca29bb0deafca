"""An architecture as a torch module, and that module re-parameterised for deployment."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from nasbench.architecture import Architecture
from nasbench.blocks.metablock import DropPath, MetaBlockModule
from nasbench.blocks.norm import make_norm
from nasbench.errors import UserError
from nasbench.metablock import HeadSpec, MetaBlock


class HeadModule(nn.Module):
    """Blocks, norm, average over the map, linear classifier: (B, C, H, W) -> (B, classes)."""

    def __init__(self, spec: HeadSpec, channels: int, num_classes: int) -> None:
        super().__init__()
        self.spec = spec
        self.blocks = _sequence(spec.blocks)
        self.norm = make_norm(spec.norm, channels)
        self.pool = nn.AdaptiveAvgPool2d(1) if spec.pool == "adaptive" else _Mean()
        self.classifier = nn.Linear(spec.features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.norm(self.blocks(x))).flatten(1))


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Model(nn.Module):
    """A network of meta-blocks: images (B, 3, R, R) -> logits (B, classes). `deployed`: its branches are merged."""

    def __init__(self, arch: Architecture, num_classes: int) -> None:
        super().__init__()
        network = arch.network
        self.arch, self.num_classes, self.deployed = arch, num_classes, False
        self.stem = _sequence(network.stem)
        self.stages = nn.ModuleList(_sequence(stage) for stage in network.stages)
        self.head = HeadModule(network.head, network.stages[-1][-1].c_out, num_classes)

    def features(self, x: Tensor) -> list[Tensor]:
        """The stages' outputs, largest map first."""
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)[-1])


def build(arch: Architecture, num_classes: int = 1000, drop_path: float = 0.0) -> Model:
    """The train form of `arch`, freshly initialised from torch's random state.

    `drop_path`: rate of the last block's stochastic depth, growing linearly from 0 over the blocks.
    """
    if num_classes < 1:
        raise UserError(f"num_classes {num_classes}: a classifier needs at least 1; give the number of classes")
    if not 0 <= drop_path < 1:
        raise UserError(f"drop_path {drop_path}: a rate lies in [0, 1); use for example 0.05")
    model = Model(arch, num_classes)
    _initialise(model)
    paths = [module for module in model.modules() if isinstance(module, DropPath)]
    for index, module in enumerate(paths):
        module.rate = drop_path * index / max(1, len(paths) - 1)
    return model


def reparameterise(model: nn.Module) -> Model:
    """The deploy form: a new module in eval mode with the same function; `model` stays as it was.

    Branches are merged, and RepMixers and position encodings become one convolution. A plain convolution keeps its
    batch norm, as in the published deploy forms: inference runtimes fold it.
    """
    if not isinstance(model, Model):
        raise TypeError(f"reparameterise takes what nasbench.build returns, not a {type(model).__name__}")
    shell = copy.copy(model)  # shares arch; its children are replaced below
    shell._modules = dict(model._modules)
    shell.stem = _merged_sequence(model.stem)
    shell.stages = nn.ModuleList(_merged_sequence(stage) for stage in model.stages)
    head = copy.deepcopy(model.head)
    head.blocks = _merged_sequence(model.head.blocks)
    shell.head = head
    shell.deployed = True
    return shell.eval()


def _sequence(blocks: Iterable[MetaBlock]) -> nn.Sequential:
    return nn.Sequential(*(MetaBlockModule(block) for block in blocks))


def _merged_sequence(blocks: Iterable[nn.Module]) -> nn.Sequential:
    merged = []
    for block in blocks:
        assert isinstance(block, MetaBlockModule)
        merged.append(block.merged())
    return nn.Sequential(*merged)


def _initialise(model: nn.Module) -> None:
    """He initialisation by fan-out for convolutions (arXiv:1502.01852), N(0, 0.02²) cut at 2 for the classifier."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)


def randomise_norms(model: nn.Module, generator: torch.Generator) -> None:
    """Random statistics and affine for every batch norm: at their initial values a wrong fusion can pass for right."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 1.5),
            ):
                assert tensor is not None
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
