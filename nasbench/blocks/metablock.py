"""The meta-block as a module, its cost and its fusion."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nasbench.blocks.attention import (
    AttentionModule,
    attention_cost,
    copy_cost,
    fold,
    resize,
    resize_cost,
    round_up,
    unfold,
)
from nasbench.blocks.branches import grouped_identity
from nasbench.blocks.conv import ConvModule, conv_unit_cost
from nasbench.blocks.norm import act_cost, make_act, make_norm, norm_cost
from nasbench.blocks.op import Op, Tape
from nasbench.blocks.squeeze_excite import SqueezeExciteModule, squeeze_excite_cost
from nasbench.metablock import (
    Act,
    Attention,
    Conv,
    MetaBlock,
    Mixer,
    Nest,
    Norm,
    SqueezeExcite,
    deploy_block,
    deploy_mixer,
    folds_into_one_conv,
)


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
        out = NestModule(spec)
        out.blocks = nn.ModuleList(block.merged() for block in self.blocks)
        out.norm = copy.deepcopy(self.norm)
        return out


def nest_cost(tape: Tape, spec: Nest, size: int) -> int:
    channels, padded = spec.blocks[0].c_in, round_up(size, spec.patch)
    resize_cost(tape, channels, size, padded)
    copy_cost(tape, spec.patch, channels * padded**2, "fold")
    with tape.batched(spec.patch**2):
        blocks_cost(tape, spec.blocks, padded // spec.patch)
        norm_cost(tape, spec.norm, channels, padded // spec.patch)
    copy_cost(tape, spec.patch, channels * padded**2, "unfold")
    resize_cost(tape, channels, padded, size)
    return size


def _attention_mixer_cost(tape: Tape, spec: Attention, size: int) -> int:
    attention_cost(tape, spec, size)
    return size


def _gate_cost(tape: Tape, spec: SqueezeExcite, size: int) -> int:
    squeeze_excite_cost(tape, spec, size)
    return size


MIXERS: dict[type, tuple[Callable[[Any], nn.Module], Callable[[Tape, Any, int], int]]] = {
    Conv: (ConvModule, conv_unit_cost),
    Attention: (AttentionModule, _attention_mixer_cost),
    SqueezeExcite: (SqueezeExciteModule, _gate_cost),
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
        if spec.layer_scale is not None:
            self.layer_scale = nn.Parameter(torch.full((spec.c_out, 1, 1), spec.layer_scale))
        self.drop_path = DropPath(0.0)
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
        if self.spec.layer_scale is not None:
            y = y * self.layer_scale
        if self.spec.skip == "identity":
            y = x + self.drop_path(y)
        for module in self.post:
            y = module(y)
        return y

    def merged(self) -> MetaBlockModule:
        """A new module after re-parameterisation; this one stays as it was."""
        out = MetaBlockModule(deploy_block(self.spec))
        if folds_into_one_conv(self.spec):
            out.mix = nn.ModuleList([self._merged_with_skip(out.mix[0])])
        else:
            for name in ("before", "mix", "project"):
                setattr(out, name, nn.ModuleList(_merged(module) for module in getattr(self, name)))
            for name in ("pre_norm", "expand"):
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


def metablock_cost(tape: Tape, spec: MetaBlock, size: int) -> int:
    """Record the block's operators on a map of side `size`; the side of its output."""
    start = spec.c_in * size**2
    first_op = len(tape.ops)
    with tape.holding(start if spec.skip else 0):
        norm_cost(tape, spec.pre_norm, spec.c_in, size)
        size = _mixers_cost(tape, spec, size)
        if spec.layer_scale is not None:
            elements = spec.c_out * size**2
            tape.add("layer scale", "mul", inputs=elements, outputs=elements, params=spec.c_out)
    if spec.skip and len(tape.ops) > first_op:
        # The first operator reads X itself, which is not there twice.
        op = tape.ops[first_op]
        if not op.in_place:
            tape.ops[first_op] = op._replace(held=op.held - start * tape.batch)
    elements = spec.c_out * size**2
    if spec.skip == "identity":
        tape.add("skip", "add", inputs=2 * elements, outputs=elements)
    for item in spec.post:
        _post_cost(tape, item, spec.c_out, size)
    return size


def blocks_cost(tape: Tape, blocks: tuple[MetaBlock, ...], size: int) -> int:
    """Record blocks in order; repeated ones are one object, and are walked once for a map size."""
    known: dict[tuple[int, int], list[Op]] = {}
    for block in blocks:
        key = (id(block), size)
        if key in known:
            tape.ops += known[key]
        else:
            start = len(tape.ops)
            size = metablock_cost(tape, block, size)
            known[key] = tape.ops[start:]
    return size


def _mixers_cost(tape: Tape, spec: MetaBlock, size: int) -> int:
    for mixer in (*spec.before, *((spec.expand,) if spec.expand else ()), *spec.mix):
        size = MIXERS[type(mixer)][1](tape, mixer, size)
    for index, conv in enumerate(spec.project):
        if spec.skip == "concat" and index + 1 == len(spec.project):
            elements = conv.c_in * size**2
            tape.add("concat", "concat", inputs=elements, outputs=elements, held=-spec.c_in * size**2)
        size = conv_unit_cost(tape, conv, size)
    return size


def _post_cost(tape: Tape, item: Norm | SqueezeExcite | Act, channels: int, size: int) -> None:
    if isinstance(item, Act):
        act_cost(tape, item.name, channels * size**2)
    elif isinstance(item, SqueezeExcite):
        squeeze_excite_cost(tape, item, size)
    else:
        norm_cost(tape, item, channels, size)
