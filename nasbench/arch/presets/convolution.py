"""Blocks that convolve: mbconv, irmb (which may attend), repmixer, repvgg, mobileone, basic."""

from __future__ import annotations

from nasbench.arch.metablock import Act, ActName, Attention, Branch, Conv, MetaBlock, Partition, changed
from nasbench.arch.parts import Stage
from nasbench.arch.presets.common import (
    BN,
    EMO_BN,
    EMO_LN,
    Place,
    branches_of,
    depthwise,
    make_divisible,
    skip_of,
    squeeze_excite,
    widened,
)

LAYER_SCALE = 1e-5  # FastViT, arXiv:2303.14189
FFN_KERNEL_REPMIXER = 7  # FastViT's ConvFFN


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
        skip=skip_of(c_in, c_out, stride, entry),
    )


def mbconv(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """MobileNetV2's inverted residual (arXiv:1801.04381)."""
    # With a skip wherever the shape stays, also in a stage's first block: MobileViT-XXS has one there.
    return (inverted_residual(place.c_in, stage.channels, place.stride, stage, stage.expansion, entry=False),)


def irmb(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """EMO's inverted residual mobile block (arXiv:2301.01146).

    An attending stage norms over channels and uses GELU. The entry block expands twice as much and does not attend,
    and with expansion 1 there is neither expansion nor norm before it: a depthwise separable convolution.
    """
    c_in, stride, entry = place.c_in, place.stride, place.entry
    norm = EMO_LN if stage.attention else EMO_BN
    act: ActName = "gelu" if stage.attention else "silu"
    attends = stage.attention and not entry
    expansion = stage.expansion * 2 if entry and stage.expansion != 1 else stage.expansion
    expands = expansion != 1
    c_mid = widened(c_in, expansion) if expands else c_in
    skip = skip_of(c_in, stage.channels, stride, entry)
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
            mix=(changed(local, residual=skip is not None),),
            project=(Conv(c_mid, stage.channels),),
            skip=skip,
        ),
    )


def conv_ffn(channels: int, expansion: float, kernel: int) -> MetaBlock:
    """FastViT's feed-forward block: depthwise convolution, 1x1 expansion, GELU, 1x1 projection; kernel 1 drops the
    convolution."""
    hidden = widened(channels, expansion)
    return MetaBlock(
        channels,
        channels,
        before=(Conv(channels, channels, kernel, groups=channels, norm=BN),) if kernel > 1 else (),
        expand=Conv(channels, hidden, bias=True, act="gelu"),
        project=(Conv(hidden, channels, bias=True),),
        skip="identity",
        layer_scale=LAYER_SCALE,
    )


def repmixer(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """FastViT's RepMixer: x + γ(mixer(x) - norm(x)), one depthwise convolution once merged; then a ConvFFN."""
    c_in = place.c_in
    branches = branches_of(stage.branches, stage.kernel, True) or (Branch("kxk"),)
    if stage.branches == "dbb":
        branches = tuple(branch for branch in branches if branch.kind != "1x1")
    mixer = Conv(c_in, c_in, stage.kernel, groups=c_in, norm=BN, branches=(*branches, Branch("identity", sign=-1)))
    token_mixer = MetaBlock(c_in, c_in, mix=(mixer,), skip="identity", layer_scale=LAYER_SCALE)
    return token_mixer, conv_ffn(c_in, stage.expansion, FFN_KERNEL_REPMIXER)


def repvgg(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """A dense convolution with branches, then SE and activation (RepVGG, ACNet, DBB)."""
    return (_rep_unit(stage, place.c_in, stage.channels, stage.kernel, place.stride, 1),)


def mobileone(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """MobileOne's pair: depthwise, then pointwise, both with branches."""
    return (
        _rep_unit(stage, place.c_in, place.c_in, stage.kernel, place.stride, place.c_in),
        _rep_unit(stage, place.c_in, stage.channels, 1, 1, 1),
    )


def _rep_unit(stage: Stage, c_in: int, c_out: int, kernel: int, stride: int, groups: int) -> MetaBlock:
    branches = branches_of(stage.branches, kernel, c_in == c_out and stride == 1)
    conv = Conv(c_in, c_out, kernel, stride, groups, norm=BN, branches=branches)
    gate = squeeze_excite(c_out, stage.se)
    return MetaBlock(c_in, c_out, mix=(conv,), post=(*((gate,) if gate else ()), Act(stage.act or "relu")))


def basic(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """ResNet's basic block (arXiv:1512.03385): two dense convolutions, each with branches, around a shortcut."""
    c_in, c_out, stride, kernel = place.c_in, stage.channels, place.stride, stage.kernel
    act, same = stage.act or "relu", c_in == c_out and stride == 1
    first = Conv(c_in, c_out, kernel, stride, norm=BN, act=act, branches=branches_of(stage.branches, kernel, same))
    second = Conv(c_out, c_out, kernel, norm=BN, branches=branches_of(stage.branches, kernel, True))
    merges = (Branch("kxk"),) if stage.branches != "none" else ()
    shortcut = Conv(c_in, c_out, 1, stride, norm=BN, branches=merges)
    return (
        MetaBlock(
            c_in,
            c_out,
            mix=(first,),
            project=(second,),
            skip="identity" if same else shortcut,
            post=(Act(act),),
        ),
    )
