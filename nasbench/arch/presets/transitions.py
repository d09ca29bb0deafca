"""What leads into a stage: transitions, and what may stand between them and the first block."""

from __future__ import annotations

import math
from collections.abc import Callable

from nasbench.arch.metablock import Branch, Conv, Embedding, MetaBlock, SpaceToDepth
from nasbench.arch.parts import Stage
from nasbench.arch.presets.common import BN, LN
from nasbench.arch.presets.convolution import inverted_residual

PLAIN = Stage(channels=1, depth=1)  # whose other fields, as kernel and activation, are the defaults


def conv_transition(stage: Stage, c_in: int) -> tuple[MetaBlock, ...]:
    """A 3x3 convolution with batch norm and SiLU."""
    return (MetaBlock(c_in, stage.channels, mix=(Conv(c_in, stage.channels, 3, stage.stride, norm=BN, act="silu"),)),)


def mbconv_transition(stage: Stage, c_in: int) -> tuple[MetaBlock, ...]:
    """A 3x3 inverted residual without skip, as before MobileViT's blocks."""
    return (inverted_residual(c_in, stage.channels, stage.stride, PLAIN, stage.downsample_expansion, entry=True),)


def patch_embed(stage: Stage, c_in: int) -> tuple[MetaBlock, ...]:
    """FastViT's: grouped 7x7 with a 3x3 branch, then a re-parameterised 1x1 and GELU."""
    c_out = stage.channels
    large = (Branch("kxk"), Branch("kxk", kernel=3))
    return (
        MetaBlock(
            c_in,
            c_out,
            mix=(Conv(c_in, c_out, 7, stage.stride, math.gcd(c_in, c_out), norm=BN, branches=large),),
            project=(Conv(c_out, c_out, norm=BN, act="gelu", branches=(Branch("kxk"), Branch("identity"))),),
        ),
    )


def patch_transition(stage: Stage, c_in: int) -> tuple[MetaBlock, ...]:
    """PVT's: a convolution over disjoint patches, then layer norm."""
    conv = Conv(c_in, stage.channels, stage.stride, stage.stride, bias=True, norm=LN, padding="valid")
    return (MetaBlock(c_in, stage.channels, mix=(conv,)),)


def merge(stage: Stage, c_in: int) -> tuple[MetaBlock, ...]:
    """Swin's patch merging: the channels of each square side by side, layer norm, a linear layer."""
    width = c_in * stage.stride**2
    project = Conv(width, stage.channels, linear=True)
    return (
        MetaBlock(c_in, width, mix=(SpaceToDepth(c_in, stage.stride),)),
        MetaBlock(width, stage.channels, pre_norm=LN, project=(project,)),
    )


def entry_slots(stage: Stage, c_in: int) -> tuple[MetaBlock, ...]:
    """The meta-blocks that the file spells out."""
    return stage.entry


TRANSITIONS: dict[str, Callable[[Stage, int], tuple[MetaBlock, ...]]] = {
    "conv": conv_transition,
    "mbconv": mbconv_transition,
    "patch_embed": patch_embed,
    "patch": patch_transition,
    "merge": merge,
    "slots": entry_slots,
}


def position_encoding(channels: int) -> MetaBlock:
    """Conditional position encoding: x + depthwise 7x7 of x, one convolution once merged."""
    conv = Conv(channels, channels, 7, groups=channels, bias=True)
    return MetaBlock(channels, channels, mix=(conv,), skip="identity")


def embedding(stage: Stage, side: int) -> MetaBlock:
    """A position embedding and learned tokens before an encoder's first block."""
    channels = stage.channels
    return MetaBlock(channels, channels, mix=(Embedding(channels, side, stage.tokens, stage.position),))
