"""Blocks made of attention and feed-forward layers: transformer, mobilevit, separable, encoder, swin."""

from __future__ import annotations

from nasbench.arch.metablock import (
    ActName,
    Attention,
    Conv,
    MetaBlock,
    Nest,
    Norm,
    Partition,
    Resize,
    SeparableAttention,
)
from nasbench.arch.parts import Stage
from nasbench.arch.presets.common import BN, GN, LN, LN6, Place, branches_of, depthwise, widened
from nasbench.arch.presets.convolution import LAYER_SCALE, conv_ffn


def transformer(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """FastViT's attention block: batch norm, MHSA without query/key/value bias, then a ConvFFN of this kernel."""
    c_in = place.c_in
    partition = Partition("groups", stage.patch) if stage.patch > 1 else Partition()
    mhsa = MetaBlock(
        c_in,
        c_in,
        pre_norm=BN,
        mix=(Attention(c_in, c_in // stage.head_dim, bias=False, partition=partition),),
        project=(Conv(c_in, c_in, bias=True),),
        skip="identity",
        layer_scale=LAYER_SCALE,
    )
    return mhsa, conv_ffn(c_in, stage.expansion, stage.kernel)


def mobilevit(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """MobileViT's block (arXiv:2110.02178): local convolution, `depth` transformer layers on patches, fusion."""
    c_in, width = place.c_in, stage.inner_width
    layer = transformer_layer(Attention(width, stage.heads), LN, stage.expansion, "silu", linear=False)
    branches = branches_of(stage.branches, stage.kernel, True)
    local = Conv(c_in, c_in, stage.kernel, norm=BN, act="silu", branches=branches)
    fusion = Conv(2 * c_in, c_in, stage.kernel, norm=BN, act="silu")
    return (
        MetaBlock(
            c_in,
            c_in,
            before=(local,),
            expand=Conv(c_in, width),
            mix=(Nest(stage.patch, layer * stage.depth, LN),),
            project=(Conv(width, c_in, norm=BN, act="silu"), fusion),
            skip="concat",
        ),
    )


def separable(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """MobileViTv2's block (arXiv:2206.02680): depthwise convolution, `depth` layers of separable attention, 1x1."""
    c_in, width = place.c_in, stage.inner_width
    attention = SeparableAttention(width, stage.patch)
    layer = transformer_layer(attention, GN, stage.expansion, "silu", linear=False)
    return (
        MetaBlock(
            c_in,
            c_in,
            before=(
                Resize(c_in, stage.patch),
                depthwise(c_in, stage.kernel, 1, stage.branches, BN, "silu"),
            ),
            expand=Conv(c_in, width),
            mix=(Nest(1, layer * stage.depth, GN),),
            project=(Conv(width, c_in, norm=BN),),
        ),
    )


def encoder(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """A pre-norm transformer layer (ViT, arXiv:2010.11929); with `reduction` its keys and values see less (PVT)."""
    channels = place.c_in
    reduction = min(stage.reduction, place.side)  # on a smaller map one key is left
    attention = Attention(channels, channels // stage.head_dim, reduction=reduction, linear=True)
    return transformer_layer(attention, LN6, stage.expansion, stage.act or "gelu")


def swin(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """Attention within windows and its relative bias, every other block's windows shifted (arXiv:2103.14030).

    Where the map is no larger than the window, the window is the map and nothing shifts.
    """
    channels, size = place.c_in, min(stage.window, place.side)
    shift = size // 2 if place.turn % 2 and size < place.side else 0
    attention = Attention(
        channels,
        channels // stage.head_dim,
        partition=Partition("windows", size, shift),
        relative_bias=True,
        linear=True,
    )
    return transformer_layer(attention, LN, stage.expansion, stage.act or "gelu")


def transformer_layer(
    attention: Attention | SeparableAttention, norm: Norm, expansion: float, act: ActName, linear: bool = True
) -> tuple[MetaBlock, MetaBlock]:
    """Norm, attention, projection; norm, two layers at each position, `linear` as in `Conv`; each around a skip."""
    channels = attention.channels
    hidden = widened(channels, expansion)
    return (
        MetaBlock(
            channels,
            channels,
            pre_norm=norm,
            mix=(attention,),
            project=(Conv(channels, channels, bias=True, linear=linear),),
            skip="identity",
        ),
        MetaBlock(
            channels,
            channels,
            pre_norm=norm,
            expand=Conv(channels, hidden, bias=True, act=act, linear=linear),
            project=(Conv(hidden, channels, bias=True, linear=linear),),
            skip="identity",
        ),
    )
