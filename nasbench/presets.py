"""The named blocks, transitions, stems and heads, each a short recipe over the meta-block.

`lower(arch)` turns an architecture into its `Network` of meta-blocks. To add a block, write one function from
(stage, c_in, stride) to meta-blocks, put it in `BLOCKS`, and name its fields in `architecture.BLOCK_FIELDS`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from nasbench.architecture import Architecture, Head, Stage, Stem
from nasbench.metablock import (
    Act,
    ActName,
    Attention,
    Branch,
    Conv,
    HeadSpec,
    MetaBlock,
    Nest,
    Network,
    Norm,
    Partition,
    SqueezeExcite,
)

BN = Norm("bn", 1e-5)
LN = Norm("ln", 1e-5)
EMO_BN = Norm("bn", 1e-6)  # EMO uses 1e-6 throughout
EMO_LN = Norm("ln", 1e-6)
LAYER_SCALE = 1e-5  # FastViT, arXiv:2303.14189
FFN_KERNEL_REPMIXER = 7  # FastViT's ConvFFN
MAX_HEAD_CHANNELS = 960  # MobileViT's last convolution, arXiv:2110.02178


def make_divisible(value: float, divisor: int = 8) -> int:
    """`value` rounded to a multiple of `divisor`, never below 90 % of it (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def branches_of(choice: str, kernel: int, same_shape: bool) -> tuple[Branch, ...]:
    """The branches behind a `branches` option; an identity needs an unchanged shape, a 1x1 a larger kernel."""
    identity = (Branch("identity"),) if same_shape else ()
    pointwise = (Branch("1x1"),) if kernel > 1 else ()
    if choice == "none":
        return ()
    if choice == "repvgg":  # arXiv:2101.03697
        return (Branch("kxk"), *pointwise, *identity)
    if choice == "mobileone":  # arXiv:2206.04040, four over-parameterised branches as in S0
        return (*(Branch("kxk"),) * 4, *pointwise, *identity)
    if kernel == 1:
        return (Branch("kxk"),)
    if choice == "acb":  # arXiv:1908.03930
        return (Branch("kxk"), Branch("kx1"), Branch("1xk"))
    return (Branch("kxk"), Branch("1x1"), Branch("avg"), Branch("1x1_kxk"))  # "dbb", arXiv:2103.13425


def depthwise(
    channels: int,
    kernel: int,
    stride: int,
    choice: str,
    norm: Norm,
    act: ActName | None,
    se: SqueezeExcite | None = None,
) -> Conv:
    """A depthwise convolution with the branches of `choice`; DBB drops its 1x1 there, as its authors do."""
    branches = branches_of(choice, kernel, stride == 1)
    if choice == "dbb":
        branches = tuple(branch for branch in branches if branch.kind != "1x1")
    return Conv(channels, channels, kernel, stride, channels, norm=norm, act=act, branches=branches, se=se)


def squeeze_excite(channels: int, ratio: float, act: ActName = "relu") -> SqueezeExcite | None:
    return SqueezeExcite(channels, max(1, int(channels * ratio)), act) if ratio else None


def _skip(c_in: int, c_out: int, stride: int, entry: bool):
    """The identity, but never in a stage's entry block."""
    return "identity" if stride == 1 and c_in == c_out and not entry else None


def inverted_residual(c_in: int, c_out: int, stride: int, stage: Stage, expansion: float, entry: bool) -> MetaBlock:
    """MobileNetV2's block: 1x1 expansion, depthwise, 1x1 projection (arXiv:1801.04381)."""
    act = stage.act or "silu"
    c_mid = make_divisible(round(c_in * expansion)) if expansion != 1 else c_in
    return MetaBlock(
        c_in,
        c_out,
        expand=Conv(c_in, c_mid, norm=BN, act=act) if expansion != 1 else None,
        mix=(depthwise(c_mid, stage.kernel, stride, stage.branches, BN, act, squeeze_excite(c_mid, stage.se)),),
        project=(Conv(c_mid, c_out, norm=BN),),
        skip=_skip(c_in, c_out, stride, entry),
    )


def mbconv(stage: Stage, c_in: int, stride: int, entry: bool) -> tuple[MetaBlock, ...]:
    # With a skip wherever the shape stays, also in a stage's first block: MobileViT-XXS has one there.
    return (inverted_residual(c_in, stage.channels, stride, stage, stage.expansion, entry=False),)


def irmb(stage: Stage, c_in: int, stride: int, entry: bool) -> tuple[MetaBlock, ...]:
    """EMO's inverted residual mobile block (arXiv:2301.01146).

    An attending stage norms over channels and uses GELU. The entry block expands twice as much and does not attend,
    and with expansion 1 there is neither expansion nor norm before it: a depthwise separable convolution.
    """
    norm = EMO_LN if stage.attention else EMO_BN
    act: ActName = "gelu" if stage.attention else "silu"
    attends = stage.attention and not entry
    expansion = stage.expansion * 2 if entry and stage.expansion != 1 else stage.expansion
    expands = expansion != 1
    c_mid = int(c_in * expansion) if expands else c_in
    skip = _skip(c_in, stage.channels, stride, entry)
    gate = squeeze_excite(c_mid, stage.se, "silu")
    local = depthwise(c_mid, stage.kernel, stride, stage.branches, EMO_BN, "silu", gate)
    attention = Attention(c_in, c_in // stage.head_dim, values="input", partition=Partition("tokens", stage.window))
    return (
        MetaBlock(
            c_in,
            stage.channels,
            pre_norm=norm if expands or attends else None,
            before=(attention,) if attends else (),
            expand=Conv(c_in, c_mid, bias=True, act=act) if expands else None,
            mix=(dataclasses.replace(local, residual=skip is not None),),
            project=(Conv(c_mid, stage.channels),),
            skip=skip,
        ),
    )


def conv_ffn(channels: int, expansion: float, kernel: int) -> MetaBlock:
    """FastViT's feed-forward block: depthwise convolution, 1x1 expansion, GELU, 1x1 projection; kernel 1 drops the
    convolution."""
    hidden = int(channels * expansion)
    return MetaBlock(
        channels,
        channels,
        before=(Conv(channels, channels, kernel, groups=channels, norm=BN),) if kernel > 1 else (),
        expand=Conv(channels, hidden, bias=True, act="gelu"),
        project=(Conv(hidden, channels, bias=True),),
        skip="identity",
        layer_scale=LAYER_SCALE,
    )


def repmixer(stage: Stage, c_in: int, stride: int, entry: bool) -> tuple[MetaBlock, ...]:
    """FastViT's RepMixer: x + γ(mixer(x) - norm(x)), one depthwise convolution once merged; then a ConvFFN."""
    branches = branches_of(stage.branches, stage.kernel, True) or (Branch("kxk"),)
    if stage.branches == "dbb":
        branches = tuple(branch for branch in branches if branch.kind != "1x1")
    mixer = Conv(c_in, c_in, stage.kernel, groups=c_in, norm=BN, branches=(*branches, Branch("identity", sign=-1)))
    token_mixer = MetaBlock(c_in, c_in, mix=(mixer,), skip="identity", layer_scale=LAYER_SCALE)
    return token_mixer, conv_ffn(c_in, stage.expansion, FFN_KERNEL_REPMIXER)


def transformer(stage: Stage, c_in: int, stride: int, entry: bool) -> tuple[MetaBlock, ...]:
    """FastViT's attention block: batch norm, MHSA without query/key/value bias, then a ConvFFN of this kernel."""
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


def position_encoding(channels: int) -> MetaBlock:
    """Conditional position encoding: x + depthwise 7x7 of x, one convolution once merged."""
    conv = Conv(channels, channels, 7, groups=channels, bias=True)
    return MetaBlock(channels, channels, mix=(conv,), skip="identity")


def mobilevit(stage: Stage, c_in: int, stride: int, entry: bool) -> tuple[MetaBlock, ...]:
    """MobileViT's block (arXiv:2110.02178): local convolution, `depth` transformer layers on patches, fusion."""
    width = stage.inner_width
    mhsa = MetaBlock(
        width,
        width,
        pre_norm=LN,
        mix=(Attention(width, stage.heads),),
        project=(Conv(width, width, bias=True),),
        skip="identity",
    )
    ffn = MetaBlock(
        width,
        width,
        pre_norm=LN,
        expand=Conv(width, int(width * stage.expansion), bias=True, act="silu"),
        project=(Conv(int(width * stage.expansion), width, bias=True),),
        skip="identity",
    )
    branches = branches_of(stage.branches, stage.kernel, True)
    local = Conv(c_in, c_in, stage.kernel, norm=BN, act="silu", branches=branches)
    fusion = Conv(2 * c_in, c_in, stage.kernel, norm=BN, act="silu")
    return (
        MetaBlock(
            c_in,
            c_in,
            before=(local,),
            expand=Conv(c_in, width),
            mix=(Nest(stage.patch, (mhsa, ffn) * stage.depth, LN),),
            project=(Conv(width, c_in, norm=BN, act="silu"), fusion),
            skip="concat",
        ),
    )


def repvgg(stage: Stage, c_in: int, stride: int, entry: bool) -> tuple[MetaBlock, ...]:
    """A dense convolution with branches, then SE and activation (RepVGG, ACNet, DBB)."""
    return (_rep_unit(stage, c_in, stage.channels, stage.kernel, stride, 1),)


def mobileone(stage: Stage, c_in: int, stride: int, entry: bool) -> tuple[MetaBlock, ...]:
    """MobileOne's pair: depthwise, then pointwise, both with branches."""
    return (
        _rep_unit(stage, c_in, c_in, stage.kernel, stride, c_in),
        _rep_unit(stage, c_in, stage.channels, 1, 1, 1),
    )


def _rep_unit(stage: Stage, c_in: int, c_out: int, kernel: int, stride: int, groups: int) -> MetaBlock:
    branches = branches_of(stage.branches, kernel, c_in == c_out and stride == 1)
    conv = Conv(c_in, c_out, kernel, stride, groups, norm=BN, branches=branches)
    gate = squeeze_excite(c_out, stage.se)
    return MetaBlock(c_in, c_out, mix=(conv,), post=(*((gate,) if gate else ()), Act(stage.act or "relu")))


def slots(stage: Stage, c_in: int, stride: int, entry: bool) -> tuple[MetaBlock, ...]:
    return stage.slots


BLOCKS: dict[str, Callable[[Stage, int, int, bool], tuple[MetaBlock, ...]]] = {
    "mbconv": mbconv,
    "repmixer": repmixer,
    "irmb": irmb,
    "mobilevit": mobilevit,
    "transformer": transformer,
    "repvgg": repvgg,
    "mobileone": mobileone,
    "slots": slots,
}


def conv_transition(stage: Stage, c_in: int) -> tuple[MetaBlock, ...]:
    """A 3x3 convolution with batch norm and SiLU."""
    return (MetaBlock(c_in, stage.channels, mix=(Conv(c_in, stage.channels, 3, stage.stride, norm=BN, act="silu"),)),)


def mbconv_transition(stage: Stage, c_in: int) -> tuple[MetaBlock, ...]:
    """A 3x3 inverted residual without skip, as before MobileViT's blocks."""
    plain = Stage(channels=stage.channels, depth=1)
    return (inverted_residual(c_in, stage.channels, stage.stride, plain, stage.downsample_expansion, entry=True),)


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


TRANSITIONS: dict[str, Callable[[Stage, int], tuple[MetaBlock, ...]]] = {
    "conv": conv_transition,
    "mbconv": mbconv_transition,
    "patch_embed": patch_embed,
}


def conv_stem(stem: Stem) -> tuple[MetaBlock, ...]:
    conv = Conv(3, stem.channels, 3, stem.total_stride, norm=BN, act="silu")
    return (MetaBlock(3, stem.channels, mix=(conv,)),)


def conv_bias_stem(stem: Stem) -> tuple[MetaBlock, ...]:
    """EMO's: a biased convolution and batch norm, no activation."""
    conv = Conv(3, stem.channels, 3, stem.total_stride, bias=True, norm=EMO_BN)
    return (MetaBlock(3, stem.channels, mix=(conv,)),)


def mobileone_stem(stem: Stem) -> tuple[MetaBlock, ...]:
    """FastViT's: dense 3x3, depthwise 3x3, 1x1, each re-parameterised and followed by GELU."""
    channels = stem.channels
    first, second = {1: (1, 1), 2: (2, 1), 4: (2, 2)}[stem.total_stride]
    units = ((3, 3, first, 1), (channels, 3, second, channels), (channels, 1, 1, 1))
    return tuple(
        MetaBlock(
            c_in,
            channels,
            mix=(
                Conv(
                    c_in,
                    channels,
                    kernel,
                    stride,
                    groups,
                    norm=BN,
                    act="gelu",
                    branches=branches_of("repvgg", kernel, c_in == channels and stride == 1),
                ),
            ),
        )
        for c_in, kernel, stride, groups in units
    )


STEMS: dict[str, Callable[[Stem], tuple[MetaBlock, ...]]] = {
    "conv": conv_stem,
    "conv_bias": conv_bias_stem,
    "mobileone": mobileone_stem,
}


def linear_head(head: Head, c_in: int) -> HeadSpec:
    return HeadSpec(c_in)


def norm_head(head: Head, c_in: int) -> HeadSpec:
    return HeadSpec(c_in, norm=EMO_LN)


def conv_head(head: Head, c_in: int) -> HeadSpec:
    features = min(int(c_in * head.expansion), MAX_HEAD_CHANNELS)
    return HeadSpec(features, (MetaBlock(c_in, features, mix=(Conv(c_in, features, norm=BN, act="silu"),)),))


def mobileone_head(head: Head, c_in: int) -> HeadSpec:
    features = c_in * max(1, round(head.expansion))  # groups = c_in need a whole multiple
    conv = Conv(c_in, features, 3, groups=c_in, norm=BN, branches=branches_of("repvgg", 3, features == c_in))
    gate = SqueezeExcite(features, max(1, features // 16), "relu")
    return HeadSpec(features, (MetaBlock(c_in, features, mix=(conv,), post=(gate, Act("gelu"))),), pool="adaptive")


HEADS: dict[str, Callable[[Head, int], HeadSpec]] = {
    "linear": linear_head,
    "norm": norm_head,
    "conv": conv_head,
    "mobileone": mobileone_head,
}


def lower_stage(stage: Stage, c_in: int) -> tuple[MetaBlock, ...]:
    """The meta-blocks of one stage, transition first; equal blocks are one object."""
    if stage.depth == 0:
        return ()
    make = BLOCKS[stage.block]
    if stage.downsample == "block":
        entry = make(stage, c_in, stage.stride, True)
    else:
        entry = TRANSITIONS[stage.downsample](stage, c_in) if stage.downsample != "none" else ()
    if stage.block == "transformer" and stage.cpe:
        entry += (position_encoding(stage.channels),)
    repeats = 1 if stage.block == "mobilevit" else stage.plain_blocks
    return entry + (make(stage, stage.channels, 1, False) * repeats if repeats else ())


def lower(arch: Architecture) -> Network:
    """The architecture as meta-blocks, channel numbers filled in."""
    channels, stages = arch.stem.channels, []
    for stage in arch.stages:
        if stage.depth:
            stages.append(lower_stage(stage, channels))
            channels = stage.channels
    return Network(STEMS[arch.stem.kind](arch.stem), tuple(stages), HEADS[arch.head.kind](arch.head, channels))
