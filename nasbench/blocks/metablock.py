"""The meta-block as a module, its cost and its fusion."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nasbench.arch.deploy_form import deploy_block, deploy_mixer, folds_into_one_conv
from nasbench.arch.extent import Extent, round_up
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
from nasbench.blocks.attention import AttentionModule, attention_cost
from nasbench.blocks.branches import grouped_identity
from nasbench.blocks.conv import ConvModule, conv_unit_cost
from nasbench.blocks.embedding import EmbeddingModule, embedding_cost
from nasbench.blocks.norm import act_cost, make_act, make_norm, norm_cost
from nasbench.blocks.op import Op, Tape
from nasbench.blocks.separable import SeparableAttentionModule, separable_attention_cost
from nasbench.blocks.shapes import (
    PoolModule,
    ResizeModule,
    SpaceToDepthModule,
    aligned_resize_cost,
    copy_cost,
    fold,
    pool_cost,
    resize,
    resize_cost,
    space_to_depth_cost,
    unfold,
)
from nasbench.blocks.squeeze_excite import SqueezeExciteModule, squeeze_excite_cost


class DropPath(nn.Module):
    """Drops a sample's whole branch with this rate while training (stochastic depth, arXiv:1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = torch.rand(len(x), 1, 1, 1, dtype=x.dtype, device=x.device) >= self.rate
        return x * kept / (1 - self.rate)


class NestModule(nn.Module):
    """Meta-blocks inside each interleaved sub-grid of the map."""

    def __init__(self, spec: Nest) -> None:
        super().__init__()
        self.spec = spec
        self.blocks = nn.ModuleList(MetaBlockModule(block) for block in spec.blocks)
        self.norm = make_norm(spec.norm, spec.blocks[-1].c_out)

    def forward(self, x: Tensor) -> Tensor:
        patch, (height, width) = self.spec.patch, x.shape[2:]
        y = fold(resize(x, round_up(height, patch), round_up(width, patch)), patch)
        for block in self.blocks:
            y = block(y)
        return resize(unfold(self.norm(y), patch), height, width)

    def merged(self) -> NestModule:
        spec = deploy_mixer(self.spec)
        assert isinstance(spec, Nest)
        with torch.device("meta"):
            out = NestModule(spec)
        out.blocks = nn.ModuleList(block.merged() for block in self.blocks)
        out.norm = copy.deepcopy(self.norm)
        return out


def nest_cost(tape: Tape, spec: Nest, extent: Extent) -> Extent:
    channels, padded = spec.blocks[0].c_in, extent.map(lambda size: round_up(size, spec.patch))
    within = padded.map(lambda size: size // spec.patch)
    resize_cost(tape, channels, extent, padded)
    if spec.patch > 1:
        copy_cost(tape, channels * padded.area, "fold")
    with tape.batched(spec.patch**2):
        blocks_cost(tape, spec.blocks, within)
        norm_cost(tape, spec.norm, channels, within.area)
    if spec.patch > 1:
        copy_cost(tape, channels * padded.area, "unfold")
    resize_cost(tape, channels, padded, extent)
    return extent


def _gate_cost(tape: Tape, spec: SqueezeExcite, extent: Extent) -> Extent:
    squeeze_excite_cost(tape, spec, extent.area)
    return extent


MIXERS: dict[type, tuple[Callable[[Any], nn.Module], Callable[[Tape, Any, Extent], Extent]]] = {
    Conv: (ConvModule, conv_unit_cost),
    Attention: (AttentionModule, attention_cost),
    SeparableAttention: (SeparableAttentionModule, separable_attention_cost),
    SqueezeExcite: (SqueezeExciteModule, _gate_cost),
    Pool: (PoolModule, pool_cost),
    SpaceToDepth: (SpaceToDepthModule, space_to_depth_cost),
    Resize: (ResizeModule, aligned_resize_cost),
    Embedding: (EmbeddingModule, embedding_cost),
    Nest: (NestModule, nest_cost),
}


def make_mixer(mixer: Mixer) -> nn.Module:
    return MIXERS[type(mixer)][0](mixer)


def make_post(item: Norm | SqueezeExcite | Act, channels: int) -> nn.Module:
    if isinstance(item, Act):
        return make_act(item.name)
    return SqueezeExciteModule(item) if isinstance(item, SqueezeExcite) else make_norm(item, channels)


class MetaBlockModule(nn.Module):
    """`Y = Post( S(X) + γ · P( M1( E( M0( N(X) ) ) ) ) )`: (B, c_in, H, W) -> (B, c_out, H', W')."""

    def __init__(self, spec: MetaBlock) -> None:
        super().__init__()
        self.spec = spec
        self.pre_norm = make_norm(spec.pre_norm, spec.c_in)
        self.before = nn.ModuleList(make_mixer(mixer) for mixer in spec.before)
        self.expand = ConvModule(spec.expand) if spec.expand else nn.Identity()
        self.mix = nn.ModuleList(make_mixer(mixer) for mixer in spec.mix)
        self.project = nn.ModuleList(ConvModule(conv) for conv in spec.project)
        self.shortcut = ConvModule(spec.skip) if isinstance(spec.skip, Conv) else nn.Identity()
        if spec.layer_scale is not None:
            self.layer_scale = nn.Parameter(torch.full((spec.c_out, 1, 1), spec.layer_scale))
        self.drop_path = DropPath(0.0)
        self.ends_in_conv = bool(spec.project) or bool(spec.mix and isinstance(spec.mix[-1], Conv))
        self.post = nn.ModuleList(make_post(item, spec.c_out) for item in spec.post)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pre_norm(x)
        for module in self.before:
            y = module(y)
        y = self.expand(y)
        for module in self.mix:
            y = module(y)
        for index, module in enumerate(self.project):
            last = index + 1 == len(self.project)
            y = module(torch.cat((x, y), 1) if last and self.spec.skip == "concat" else y)
        # Nothing else reads y, and neither autograd nor a tracer looks.
        own = self.ends_in_conv and not torch.is_grad_enabled() and not torch.jit.is_tracing()
        if self.spec.layer_scale is not None:
            y = y.mul_(self.layer_scale) if own else y * self.layer_scale
        if self.spec.skip and self.spec.skip != "concat":
            shortcut, y = self.shortcut(x), self.drop_path(y)
            y = y.add_(shortcut) if own else shortcut + y
        for module in self.post:
            y = module(y.clone() if y is x else y)  # an activation overwrites
        return y

    def merged(self) -> MetaBlockModule:
        """A new module after re-parameterisation; this one stays as it was."""
        with torch.device("meta"):  # every tensor is set below
            out = MetaBlockModule(deploy_block(self.spec))
        if folds_into_one_conv(self.spec):
            out.mix = nn.ModuleList([self._merged_with_skip(out.mix[0])])
        else:
            for name in ("before", "mix", "project"):
                setattr(out, name, nn.ModuleList(_merged(module) for module in getattr(self, name)))
            for name in ("pre_norm", "expand", "shortcut"):
                setattr(out, name, _merged(getattr(self, name)))
            if self.spec.layer_scale is not None:
                out.layer_scale = nn.Parameter(self.layer_scale.detach().clone())
        out.post = copy.deepcopy(self.post)
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
        return plain.with_kernel(kernel, bias, like=next(conv.parameters()))


def _merged(module: nn.Module) -> nn.Module:
    return module.merged() if isinstance(module, (ConvModule, NestModule)) else copy.deepcopy(module)


def metablock_cost(tape: Tape, spec: MetaBlock, extent: Extent) -> Extent:
    """Record the block's operators on a map of this extent; the extent of its output."""
    start, before = spec.c_in * extent.area, extent
    first_op = len(tape.ops)
    with tape.holding(start if spec.skip else 0):
        norm_cost(tape, spec.pre_norm, spec.c_in, extent.area)
        extent = _mixers_cost(tape, spec, extent)
        if spec.layer_scale is not None:
            elements = spec.c_out * extent.area
            tape.add("layer scale", "mul", inputs=elements, outputs=elements, params=spec.c_out)
    if spec.skip and len(tape.ops) > first_op:
        # The first operator reads X itself, which is not there twice.
        op = tape.ops[first_op]
        if not op.in_place:
            tape.ops[first_op] = op._replace(held=op.held - start * tape.batch)
    elements = spec.c_out * extent.area
    if isinstance(spec.skip, Conv):
        with tape.holding(elements):
            conv_unit_cost(tape, spec.skip, before)
    if spec.skip and spec.skip != "concat":
        tape.add("skip", "add", inputs=2 * elements, outputs=elements)
    for item in spec.post:
        _post_cost(tape, item, spec.c_out, extent.area)
    return extent


def blocks_cost(tape: Tape, blocks: tuple[MetaBlock, ...], extent: Extent) -> Extent:
    """Record blocks in order; repeated ones are one object, and are walked once for a map size."""
    known: dict[tuple[int, Extent], list[Op]] = {}
    for block in blocks:
        key = (id(block), extent)
        if key in known:
            tape.ops += known[key]
        else:
            start = len(tape.ops)
            extent = metablock_cost(tape, block, extent)
            known[key] = tape.ops[start:]
    return extent


def _mixers_cost(tape: Tape, spec: MetaBlock, extent: Extent) -> Extent:
    for mixer in (*spec.before, *((spec.expand,) if spec.expand else ()), *spec.mix):
        extent = MIXERS[type(mixer)][1](tape, mixer, extent)
    for index, conv in enumerate(spec.project):
        if spec.skip == "concat" and index + 1 == len(spec.project):
            elements = conv.c_in * extent.area
            tape.add("concat", "concat", inputs=elements, outputs=elements, held=-spec.c_in * extent.area)
        extent = conv_unit_cost(tape, conv, extent)
    return extent


def _post_cost(tape: Tape, item: Norm | SqueezeExcite | Act, channels: int, area: int) -> None:
    if isinstance(item, Act):
        act_cost(tape, item.name, channels * area)
    elif isinstance(item, SqueezeExcite):
        squeeze_excite_cost(tape, item, area)
    else:
        norm_cost(tape, item, channels, area)
