"""An architecture as a torch module, and that module re-parameterised for deployment."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from nasbench.arch.architecture import Architecture
from nasbench.arch.metablock import DecoderSpec, HeadSpec, MetaBlock
from nasbench.blocks.decoder import DecoderModule, masked_error, random_masking
from nasbench.blocks.decoder_cost import kept_positions
from nasbench.blocks.embedding import EmbeddingModule
from nasbench.blocks.head import HeadModule
from nasbench.blocks.metablock import DropPath, MetaBlockModule
from nasbench.costs.analytic import checked_classes, cost
from nasbench.errors import UserError
from nasbench.hardware import memory_bytes


class Model(nn.Module):
    """Meta-blocks: images (B, in_channels, R, R) -> logits (B, classes). `deployed`: its branches are merged."""

    def __init__(self, arch: Architecture, num_classes: int) -> None:
        super().__init__()
        network = arch.network
        self.arch, self.deployed, self._built_classes = arch, False, num_classes
        self.about: object = None  # what the file it was loaded from says of itself, see weights/saved.py
        self.stem = _sequence(network.stem)
        self.stages = nn.ModuleList(_sequence(stage) for stage in network.stages)
        self.head = self._make_head(network.head)

    def _make_head(self, spec: HeadSpec | DecoderSpec) -> nn.Module:
        assert isinstance(spec, HeadSpec)
        return HeadModule(spec, self._built_classes)

    @property
    def num_classes(self) -> int:
        """The classes of the classifier as it is now, which may have been changed; else those it was built with."""
        classifier = getattr(self.head, "classifier", None)
        return classifier.out_features if isinstance(classifier, nn.Linear) else self._built_classes

    def features(self, x: Tensor) -> list[Tensor]:
        """The stages' outputs, largest map first."""
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)[-1])

    @property
    def num_features(self) -> int:
        """Channels of what `forward_features` gives."""
        spec = self.head.spec
        return spec.features if isinstance(spec, HeadSpec) else self.arch.stages[-1].channels

    def forward_features(self, x: Tensor) -> Tensor:
        """The last map before it is pooled, (B, num_features, H, W); of token networks a row, tokens first."""
        x = self.features(x)[-1]
        return self.head.before_pooling(x) if isinstance(self.head, HeadModule) else x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """What `forward_features` gave -> logits, or with `pre_logits` the vectors (B, num_features) behind them."""
        head = self._classifying_head()
        return head.pooled(x) if pre_logits else head.logits(x)

    def reset_classifier(self, num_classes: int) -> None:
        """A fresh classifier of so many classes in place of the one there is; 0 leaves the vectors as they are."""
        if num_classes < 0:
            raise UserError(f"num_classes {num_classes}: give the number of classes, or 0 for no classifier")
        self._classifying_head().reset(num_classes)

    def _classifying_head(self) -> HeadModule:
        if not isinstance(self.head, HeadModule):
            raise UserError(f"{self.arch.label} is a masked autoencoder and has no classifier; take one of its encoder")
        return self.head


class MaskedAutoencoder(Model):
    """An encoder that sees a share of the positions, and a decoder that paints the others (arXiv:2111.06377)."""

    head: DecoderModule

    def _make_head(self, spec: HeadSpec | DecoderSpec) -> nn.Module:
        assert isinstance(spec, DecoderSpec)
        return DecoderModule(spec)

    def encode(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """(B, c, R, R) -> the visible positions behind their tokens (B, C, 1, tokens + kept), all places (B, N)."""
        x = self.stem(x)
        embedding = self.stages[0][0].mix[0]
        assert isinstance(embedding, EmbeddingModule)
        rows = embedding.positioned(x)
        rows, places = random_masking(rows, kept_positions(rows.shape[1], self.head.spec.mask_ratio), generator)
        x = embedding.with_tokens(rows).transpose(1, 2).unsqueeze(2)
        return self.stages[0][1:](x), places

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """(B, c, R, R) -> loss, predicted pixels (B, N, patch²·c), mask (B, N) with 1 for a hidden position."""
        encoded, places = self.encode(x, generator)
        predicted = self.head(encoded, places)
        kept = encoded.shape[-1] - self.head.spec.tokens
        mask = (places >= kept).to(x.dtype)
        return masked_error(predicted, x, mask, self.head.spec.patch), predicted, mask


MODELS: dict[type, type[Model]] = {HeadSpec: Model, DecoderSpec: MaskedAutoencoder}


def build(arch: Architecture, num_classes: int = 1000, drop_path: float = 0.0) -> Model:
    """The train form of `arch`, freshly initialised from torch's random state.

    A head of kind "decoder" makes it a `MaskedAutoencoder`, which has no classes. `drop_path`: rate of the last block's
    stochastic depth, growing linearly from 0 over the blocks.
    """
    num_classes = checked_classes(num_classes)
    if not 0 <= drop_path < 1:
        raise UserError(f"drop_path {drop_path}: a rate lies in [0, 1); use for example 0.05")
    _require_memory(arch, num_classes)
    model = MODELS[type(arch.network.head)](arch, num_classes)
    _initialise(model)
    paths = [module for module in model.modules() if isinstance(module, DropPath)]
    for index, module in enumerate(paths):
        module.rate = drop_path * index / max(1, len(paths) - 1)
    return model


def _require_memory(arch: Architecture, num_classes: int) -> None:
    """A UserError where the weights alone are more than this machine holds: the system would end the process."""
    needed = cost(arch, num_classes, deploy=False).params * torch.get_default_dtype().itemsize
    if needed > memory_bytes() and torch.get_default_device().type != "meta":
        raise UserError(
            f"{arch.label} has {needed / 1e9:,.0f} GB of weights, and this machine {memory_bytes() / 1e9:,.0f} GB of "
            "memory; make channels, depths or kernels smaller"
        )


def reparameterise(model: nn.Module) -> Model:
    """The deploy form: a new module in eval mode with the same function; `model` stays as it was.

    Branches are merged, and RepMixers and position encodings become one convolution. A plain convolution keeps its
    batch norm, as in the published deploy forms: inference runtimes fold it. The two forms share nothing but `arch`;
    what was put on the network, its stages or its head (hooks, buffers, attributes) is copied as `copy.deepcopy` does.
    A batch norm of another type than torch's own where branches merge is a UserError.
    """
    if not isinstance(model, Model):
        raise TypeError(
            f"reparameterise takes what nasbench.build returns, not a {type(model).__name__}; "
            "give the network inside a wrapper, as model.module"
        )
    memo: dict[int, object] = {id(model.arch): model.arch}
    for blocks in (model.stem, *model.stages, model.head.blocks):  # deepcopy takes these for copied already
        memo |= {id(block): _merged(block) for block in blocks}
    deploy = copy.deepcopy(model, memo)
    deploy.deployed = True
    return deploy.eval()


def _sequence(blocks: Iterable[MetaBlock]) -> nn.Sequential:
    return nn.Sequential(*(MetaBlockModule(block) for block in blocks))


def _merged(block: nn.Module) -> nn.Module:
    if not isinstance(block, MetaBlockModule):
        raise TypeError(f"a {type(block).__name__} stands where a meta-block was built; reparameterise knows no other")
    return block.merged()


def _initialise(model: nn.Module) -> None:
    """He initialisation by fan-out for convolutions (arXiv:1502.01852), N(0, 0.02²) cut at 2 for linear layers."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def randomise_norms(model: nn.Module, generator: torch.Generator) -> None:
    """Random statistics and affine for every batch norm: at their initial values a wrong fusion can pass for right."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm)):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 1.5),
            ):
                assert tensor is not None
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
