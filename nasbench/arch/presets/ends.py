"""Stems and heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nasbench.arch.metablock import (
    Act,
    Attention,
    Branch,
    Conv,
    DecoderSpec,
    Embedding,
    HeadSpec,
    MetaBlock,
    Norm,
    Pool,
    SqueezeExcite,
)
from nasbench.arch.parts import IMAGE_CHANNELS, Head, Stem
from nasbench.arch.presets.common import BN, EMO_BN, LN, branches_of, widened
from nasbench.arch.presets.transformers import transformer_layer

MAX_HEAD_CHANNELS = 960  # MobileViT's last convolution, arXiv:2110.02178
DECODER_EXPANSION = 4  # MAE, arXiv:2111.06377


def conv_stem(stem: Stem, c_in: int = IMAGE_CHANNELS) -> tuple[MetaBlock, ...]:
    """A 3x3 convolution with batch norm and SiLU (MobileNetV2, MobileViT)."""
    conv = Conv(c_in, stem.channels, 3, stem.total_stride, norm=BN, act=stem.act or "silu")
    return (MetaBlock(c_in, stem.channels, mix=(conv,)),)


def conv_bias_stem(stem: Stem, c_in: int = IMAGE_CHANNELS) -> tuple[MetaBlock, ...]:
    """EMO's: a biased convolution and batch norm, no activation."""
    conv = Conv(c_in, stem.channels, 3, stem.total_stride, bias=True, norm=EMO_BN)
    return (MetaBlock(c_in, stem.channels, mix=(conv,)),)


def mobileone_stem(stem: Stem, c_in: int = IMAGE_CHANNELS) -> tuple[MetaBlock, ...]:
    """FastViT's: dense 3x3, depthwise 3x3, 1x1, each re-parameterised and followed by GELU."""
    channels = stem.channels
    first, second = {1: (1, 1), 2: (2, 1), 4: (2, 2)}[stem.total_stride]
    units = ((c_in, 3, first, 1), (channels, 3, second, channels), (channels, 1, 1, 1))
    return tuple(
        MetaBlock(
            width,
            channels,
            mix=(
                Conv(
                    width,
                    channels,
                    kernel,
                    stride,
                    groups,
                    norm=BN,
                    act="gelu",
                    branches=branches_of("repvgg", kernel, width == channels and stride == 1),
                ),
            ),
        )
        for width, kernel, stride, groups in units
    )


def patch_stem(stem: Stem, c_in: int = IMAGE_CHANNELS) -> tuple[MetaBlock, ...]:
    """ViT's: a convolution over disjoint patches; PVT and Swin norm its channels."""
    side = stem.total_stride
    conv = Conv(c_in, stem.channels, side, side, bias=True, norm=LN if stem.norm else None, padding="valid")
    return (MetaBlock(c_in, stem.channels, mix=(conv,)),)


def repvgg_stem(stem: Stem, c_in: int = IMAGE_CHANNELS) -> tuple[MetaBlock, ...]:
    """RepVGG's and MobileOne's first block."""
    branches = branches_of("repvgg", 3, False)
    conv = Conv(c_in, stem.channels, 3, stem.total_stride, norm=BN, branches=branches)
    return (MetaBlock(c_in, stem.channels, mix=(conv,), post=(Act(stem.act or "relu"),)),)


def resnet_stem(stem: Stem, c_in: int = IMAGE_CHANNELS) -> tuple[MetaBlock, ...]:
    """7x7 convolution and pooling; the convolution takes up its norm when it is re-parameterised."""
    first, second = {1: (1, 1), 2: (2, 1), 4: (2, 2)}[stem.total_stride]
    conv = Conv(c_in, stem.channels, 7, first, norm=BN, act=stem.act or "relu", branches=(Branch("kxk"),))
    return (MetaBlock(c_in, stem.channels, mix=(conv, Pool(stem.channels, 3, second))),)


def slots_stem(stem: Stem, c_in: int = IMAGE_CHANNELS) -> tuple[MetaBlock, ...]:
    """The meta-blocks that the file spells out."""
    return stem.slots


STEMS: dict[str, Callable[[Stem, int], tuple[MetaBlock, ...]]] = {  # of a stem and the images' channels
    "conv": conv_stem,
    "conv_bias": conv_bias_stem,
    "mobileone": mobileone_stem,
    "patch": patch_stem,
    "repvgg": repvgg_stem,
    "resnet": resnet_stem,
    "slots": slots_stem,
}


class End(NamedTuple):
    """What arrives at the head: channels, learned tokens, the map's side; the total stride, the images' channels."""

    channels: int
    tokens: int = 0
    side: int = 1
    stride: int = 1
    image_channels: int = IMAGE_CHANNELS


def linear_head(head: Head, end: End) -> HeadSpec:
    """Pooling and classifier."""
    return HeadSpec(end.channels, pool=head.pool, tokens=end.tokens)


def norm_head(head: Head, end: End) -> HeadSpec:
    """Layer norm, pooling, classifier (EMO, Swin)."""
    return HeadSpec(end.channels, norm=Norm("ln", head.eps), tokens=end.tokens)


def pooled_norm_head(head: Head, end: End) -> HeadSpec:
    """Pooling, layer norm, classifier (MAE, ConvNeXt)."""
    return HeadSpec(end.channels, norm=Norm("ln", head.eps), tokens=end.tokens, norm_last=True)


def token_head(head: Head, end: End) -> HeadSpec:
    """Layer norm, and a classifier for each token; on the mean where there are none (ViT, DeiT)."""
    norm = Norm("ln", head.eps)
    return HeadSpec(end.channels, norm=norm, pool="token" if end.tokens else "mean", tokens=end.tokens)


def conv_head(head: Head, end: End) -> HeadSpec:
    """A 1x1 convolution, pooling, classifier (MobileNetV2, MobileViT)."""
    features = head.width or min(widened(end.channels, head.expansion), MAX_HEAD_CHANNELS)
    conv = Conv(end.channels, features, norm=BN, act=head.act or "silu")
    return HeadSpec(features, (MetaBlock(end.channels, features, mix=(conv,)),), pool=head.pool, tokens=end.tokens)


def mobileone_head(head: Head, end: End) -> HeadSpec:
    """A depthwise re-parameterised 3x3 convolution that widens, a gate, pooling, classifier (FastViT)."""
    c_in = end.channels
    features = c_in * max(1, round(head.expansion))  # groups = c_in need a whole multiple
    conv = Conv(c_in, features, 3, groups=c_in, norm=BN, branches=branches_of("repvgg", 3, features == c_in))
    gate = SqueezeExcite(features, max(1, features // 16), "relu")
    block = MetaBlock(c_in, features, mix=(conv,), post=(gate, Act("gelu")))
    return HeadSpec(features, (block,), pool="adaptive", tokens=end.tokens)


def decoder_head(head: Head, end: End) -> DecoderSpec:
    """MAE's: `depth` transformer layers over all positions, then a linear layer to the pixels of each patch."""
    width, norm = head.decoder_width, Norm("ln", head.eps)
    layer = transformer_layer(Attention(width, head.heads, linear=True), norm, DECODER_EXPANSION, "gelu")
    return DecoderSpec(
        norm,
        embed=Conv(end.channels, width, bias=True, linear=True),
        embedding=Embedding(width, end.side, end.tokens, "sine"),
        blocks=layer * head.depth,
        last_norm=norm,
        predict=Conv(width, end.image_channels * end.stride**2, bias=True, linear=True),
        patch=end.stride,
        tokens=end.tokens,
    )


HEADS: dict[str, Callable[[Head, End], HeadSpec | DecoderSpec]] = {
    "linear": linear_head,
    "norm": norm_head,
    "pooled_norm": pooled_norm_head,
    "token": token_head,
    "conv": conv_head,
    "mobileone": mobileone_head,
    "decoder": decoder_head,
}
