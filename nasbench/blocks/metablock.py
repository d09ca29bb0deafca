"""The meta-block as a module, and its fusion. What it costs: `metablock_cost.py`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nasbench.arch.deploy_form import deploy_block, deploy_mixer, folds_into_one_conv
from nasbench.arch.extent import round_up
from nasbench.arch.metablock import (
    Act,
    Attention,
    Conv,
    Embedding,
    MetaBlock,
    Mixer,
    Nest,
    Norm,
    Pool,
    Resize,
    SeparableAttention,
    SpaceToDepth,
    SqueezeExcite,
)
from nasbench.arch.parts import IMAGE_CHANNELS
from nasbench.blocks.attention import AttentionModule
from nasbench.blocks.branches import grouped_identity
from nasbench.blocks.conv import ConvModule
from nasbench.blocks.embedding import EmbeddingModule
from nasbench.blocks.norm import activated, make_act, make_norm
from nasbench.blocks.overwriting import may_overwrite
from nasbench.blocks.separable import SeparableAttentionModule
from nasbench.blocks.shapes import PoolModule, ResizeModule, SpaceToDepthModule, fold, resize, unfold
from nasbench.blocks.squeeze_excite import SqueezeExciteModule


class DropPath(nn.Module):
    """Drops a sample's whole branch with this rate while training (stochastic depth, arXiv:1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand_like(x[:, :1, :1, :1]) >= self.rate
        return x * kept / (1 - self.rate)


class NestModule(nn.Module):
    """Meta-blocks inside each interleaved sub-grid of the map; `blocks` and `norm`: where there are some already."""

    def __init__(
        self, spec: Nest, blocks: Iterable[MetaBlockModule] | None = None, norm: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        self.blocks = nn.ModuleList(map(MetaBlockModule, spec.blocks) if blocks is None else blocks)
        self.norm = make_norm(spec.norm, spec.blocks[-1].c_out) if norm is None else norm

    def forward(self, x: Tensor) -> Tensor:
        patch, (height, width) = self.spec.patch, x.shape[2:]
        y = fold(resize(x, round_up(height, patch), round_up(width, patch)), patch)
        for block in self.blocks:
            y = block(y)
        return resize(unfold(self.norm(y), patch), height, width)

    def merged(self) -> NestModule:
        spec = deploy_mixer(self.spec)
        assert isinstance(spec, Nest)
        return NestModule(spec, [block.merged() for block in self.blocks], copy.deepcopy(self.norm))


# type of a mixer's value -> its module
MIXERS: dict[type, Callable[[Any], nn.Module]] = {
    Conv: ConvModule,
    Attention: AttentionModule,
    SeparableAttention: SeparableAttentionModule,
    SqueezeExcite: SqueezeExciteModule,
    Pool: PoolModule,
    SpaceToDepth: SpaceToDepthModule,
    Resize: ResizeModule,
    Embedding: EmbeddingModule,
    Nest: NestModule,
}
# type of what may stand behind the sum -> its module, for so many channels
POSTS: dict[type, Callable[[Any, int], nn.Module]] = {
    Norm: make_norm,
    SqueezeExcite: lambda gate, channels: SqueezeExciteModule(gate),
    Act: lambda act, channels: make_act(act.name),
}


def make_mixer(mixer: Mixer) -> nn.Module:
    """The module of any mixer."""
    return MIXERS[type(mixer)](mixer)


class Parts(NamedTuple):
    """The modules of a meta-block in the order in which data goes through them."""

    pre_norm: nn.Module
    before: nn.ModuleList
    expand: nn.Module
    mix: nn.ModuleList
    project: nn.ModuleList
    shortcut: nn.Module
    post: nn.ModuleList

    @classmethod
    def of(cls, spec: MetaBlock) -> Parts:
        """New ones."""
        return cls(
            make_norm(spec.pre_norm, spec.c_in),
            nn.ModuleList(make_mixer(mixer) for mixer in spec.before),
            ConvModule(spec.expand) if spec.expand else nn.Identity(),
            nn.ModuleList(make_mixer(mixer) for mixer in spec.mix),
            nn.ModuleList(ConvModule(conv) for conv in spec.project),
            ConvModule(spec.skip) if isinstance(spec.skip, Conv) else nn.Identity(),
            nn.ModuleList(POSTS[type(item)](item, spec.c_out) for item in spec.post),
        )


class MetaBlockModule(nn.Module):
    """`Y = Post( S(X) + γ · P( M1( E( M0( N(X) ) ) ) ) )`: (B, c_in, H, W) -> (B, c_out, H', W').

    `parts`: its modules, where there are some already.
    """

    def __init__(self, spec: MetaBlock, parts: Parts | None = None) -> None:
        super().__init__()
        self.spec = spec
        parts = Parts.of(spec) if parts is None else parts
        self.pre_norm, self.before, self.expand, self.mix = parts.pre_norm, parts.before, parts.expand, parts.mix
        self.project, self.shortcut = parts.project, parts.shortcut
        if spec.layer_scale is not None:
            self.layer_scale = nn.Parameter(torch.full((spec.c_out, 1, 1), spec.layer_scale))
        self.drop_path = DropPath(0.0)
        self.ends_in_conv = bool(spec.project) or bool(spec.mix and isinstance(spec.mix[-1], Conv))
        self.post = parts.post

    def forward(self, x: Tensor) -> Tensor:
        y = self.pre_norm(x)
        for module in self.before:
            y = module(y)
        y = self.expand(y)
        last: nn.Module = self.expand
        for last in self.mix:
            y = last(y)
        for index, last in enumerate(self.project, 1):
            both = self.spec.skip == "concat" and index == len(self.spec.project)
            y = last(torch.cat((x, y), 1) if both else y)
        return self._ended(x, y, last)

    def _ended(self, x: Tensor, y: Tensor, last: nn.Module) -> Tensor:
        """`Post( S(x) + γ · y )`. What a convolution leaves is ours to overwrite; of others, y may be a view of x."""
        summed = bool(self.spec.skip) and self.spec.skip != "concat"
        makers: tuple[nn.Module, ...] = (last, self.drop_path)
        unrecorded = self.ends_in_conv and not torch.is_grad_enabled() and not torch.jit.is_tracing()
        own = False
        if summed or self.spec.layer_scale is not None:
            own = unrecorded and may_overwrite(y, *makers)
            makers = ()  # the sum has no other reference
        if self.spec.layer_scale is not None:
            y = y.mul_(self.layer_scale) if own and y.dtype == self.layer_scale.dtype else y * self.layer_scale
        if summed:
            shortcut, y = self.shortcut(x), self.drop_path(y)
            if own and y.dtype == shortcut.dtype:
                y = y.add_(shortcut)
            else:  # a sum lies in memory as its first part does
                y = y + shortcut if unrecorded else shortcut + y
        fresh = summed or self.ends_in_conv
        for module in self.post:
            y = activated(module, y, *makers) if fresh else module(y)
            fresh, makers = True, (module,)
        return y

    def merged(self) -> MetaBlockModule:
        """A new module after re-parameterisation; this one stays as it was."""
        spec, post = deploy_block(self.spec), copy.deepcopy(self.post)
        if folds_into_one_conv(self.spec):
            with torch.device("meta"):  # every tensor is set below
                parts = Parts.of(spec)
            return MetaBlockModule(
                spec, parts._replace(mix=nn.ModuleList([self._merged_with_skip(parts.mix[0])]), post=post)
            )
        before, mix, project = (
            nn.ModuleList(map(_merged, modules)) for modules in (self.before, self.mix, self.project)
        )
        pre_norm, expand, shortcut = map(_merged, (self.pre_norm, self.expand, self.shortcut))
        out = MetaBlockModule(spec, Parts(pre_norm, before, expand, mix, project, shortcut, post))
        if self.spec.layer_scale is not None:
            out.layer_scale = nn.Parameter(self.layer_scale.detach().clone())
        return out

    def _merged_with_skip(self, plain: nn.Module) -> nn.Module:
        """X + γ · conv(X) as one convolution."""
        conv = self.mix[0]
        assert isinstance(conv, ConvModule)
        assert isinstance(plain, ConvModule)
        kernel, bias = conv.merged_kernel()
        if self.spec.layer_scale is not None:
            scale = self.layer_scale.detach().double().flatten()
            kernel, bias = kernel * scale[:, None, None, None], bias * scale
        spec = conv.spec
        kernel = kernel + grouped_identity(spec.c_out, spec.groups, spec.kernel, kernel)
        return plain.with_kernel(kernel, bias, like=conv.kernel_like())


def _merged(module: nn.Module) -> nn.Module:
    return module.merged() if isinstance(module, (ConvModule, NestModule)) else copy.deepcopy(module)


def image_channels(network: nn.Module) -> int:
    """Channels of the images that a network takes: those of its first meta-block, or else of its first convolution."""
    for part in network.modules():
        if isinstance(part, MetaBlockModule):
            return part.spec.c_in
        if isinstance(part, nn.Conv2d):
            return part.in_channels
    return IMAGE_CHANNELS
