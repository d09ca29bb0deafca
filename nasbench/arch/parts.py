"""The parts of an architecture as they stand in its file: stem, stages, head, and which of their fields take effect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from nasbench.arch.extent import stride_of
from nasbench.arch.metablock import MAX_CHANNELS, MAX_SIDE, ActName, MetaBlock
from nasbench.values import Value

Downsample = Literal["none", "block", "conv", "mbconv", "patch_embed", "patch", "merge", "slots"]
Block = Literal[
    "mbconv", "repmixer", "irmb", "mobilevit", "transformer", "repvgg", "mobileone", "basic", "separable", "encoder",
    "swin", "slots",
]  # fmt: skip
Branches = Literal["none", "repvgg", "acb", "dbb", "mobileone"]
Position = Literal["none", "learned", "interpolated", "sine"]

MAX_DEPTH = 1000  # of a stage; published networks have up to 32 blocks in one
MAX_STAGES = 64
IMAGE_CHANNELS = 3  # of the images that a network takes, unless its file says otherwise
MAX_IMAGE_CHANNELS = 1024
MAX_EXPANSION = 64.0

# The fields that a block reads besides channels, depth, downsample and stride.
BLOCK_FIELDS: dict[str, tuple[str, ...]] = {
    "mbconv": ("expansion", "kernel", "branches", "se", "act"),
    "repmixer": ("expansion", "kernel", "branches"),
    "irmb": ("expansion", "kernel", "branches", "se", "attention", "head_dim", "window"),
    "mobilevit": ("expansion", "kernel", "branches", "width", "heads", "patch"),
    "separable": ("expansion", "kernel", "branches", "width", "patch"),
    "transformer": ("expansion", "kernel", "head_dim", "patch", "cpe"),
    "encoder": ("expansion", "head_dim", "reduction", "act", "tokens", "position"),
    "swin": ("expansion", "head_dim", "window", "act"),
    "repvgg": ("kernel", "branches", "se", "act"),
    "mobileone": ("kernel", "branches", "se", "act"),
    "basic": ("kernel", "branches", "act"),
    "slots": ("slots",),
}
STEM_FIELDS: dict[str, tuple[str, ...]] = {
    "conv": ("act",), "conv_bias": (), "mobileone": (), "patch": ("norm",), "repvgg": ("act",), "resnet": ("act",),
    "slots": ("slots",),
}  # fmt: skip
HEAD_FIELDS: dict[str, tuple[str, ...]] = {
    "linear": ("pool",),
    "norm": ("eps",),
    "pooled_norm": ("eps",),
    "token": ("eps",),
    "conv": ("expansion", "width", "act", "pool"),
    "mobileone": ("expansion",),
    "decoder": ("width", "depth", "heads", "eps"),
}
# Blocks that can themselves change channels and stride, so that `downsample = "block"` makes sense.
STRIDING_BLOCKS = ("mbconv", "irmb", "repvgg", "mobileone", "basic")
# Blocks that attend wherever they stand; an irmb does so where its `attention` says so.
ATTENDING_BLOCKS = ("mobilevit", "separable", "transformer", "encoder", "swin")
INNER_BLOCKS = ("mobilevit", "separable")  # their depth counts layers inside one block
STEM_STRIDE = {"conv": 2, "conv_bias": 2, "mobileone": 4, "patch": 4, "repvgg": 2, "resnet": 4}  # as published
STEM_STRIDES: dict[str, tuple[int, ...]] = {
    "conv": (1, 2), "conv_bias": (1, 2), "mobileone": (1, 2, 4), "repvgg": (1, 2), "resnet": (1, 2, 4),
}  # fmt: skip


class Stem(Value):
    """What makes a map of the image.

    conv: 3x3 BN SiLU; conv_bias: biased 3x3 BN, no activation (EMO); mobileone: three re-parameterised convolutions
    (FastViT); patch: a biased convolution with kernel = stride, then layer norm if `norm` (ViT, PVT, Swin); repvgg: 3x3
    and 1x1 branches, ReLU; resnet: 7x7 BN ReLU, maximum pooling; slots: meta-blocks as spelled out.
    `stride` is by default what the kind is published with: 2, 2, 4, 4, 2 and 4.
    """

    kind: Literal["conv", "conv_bias", "mobileone", "patch", "repvgg", "resnet", "slots"] = "conv"
    channels: int = Field(16, ge=1, le=MAX_CHANNELS)
    stride: int | None = Field(None, ge=1, le=64)
    act: ActName | None = None  # conv, repvgg, resnet; None: the kind's published one
    norm: bool = False  # patch
    slots: tuple[MetaBlock, ...] = ()

    @property
    def total_stride(self) -> int:
        if self.kind == "slots":
            return stride_of(self.slots)
        return self.stride or STEM_STRIDE[self.kind]


class Stage(Value):
    """A change of channels and stride (`downsample`), then `depth` blocks at constant shape.

    With `downsample = "block"` the first of the `depth` blocks makes the change; an irmb has no skip there. The depth
    of a "mobilevit" or "separable" stage counts the transformer layers inside its one block. A stage of depth 0 is
    absent.
    """

    downsample: Downsample = "conv"
    stride: Literal[1, 2] = 2
    downsample_expansion: float = Field(4.0, gt=0, le=MAX_EXPANSION)  # of the "mbconv" transition
    block: Block = "mbconv"
    channels: int = Field(ge=1, le=MAX_CHANNELS)
    depth: int = Field(ge=0, le=MAX_DEPTH)
    expansion: float = Field(4.0, gt=0, le=MAX_EXPANSION)
    kernel: int = Field(3, ge=1, le=31)
    branches: Branches = "none"
    se: float = Field(0.0, ge=0, le=1)  # squeeze-excite ratio of the gated channels, 0 for none
    act: ActName | None = None  # None: the block's published one
    attention: bool = False  # irmb
    head_dim: int = Field(32, ge=1, le=MAX_CHANNELS)  # irmb, transformer, encoder, swin
    heads: int = Field(4, ge=1, le=MAX_CHANNELS)  # mobilevit
    width: int | None = Field(
        None, ge=1, le=MAX_CHANNELS
    )  # inner channels of mobilevit (None: 1.5 x channels) and separable (half)
    patch: int = Field(
        1, ge=1, le=MAX_SIDE
    )  # mobilevit, separable, transformer: attend across patch x patch interleaved grids
    window: int = Field(7, ge=1, le=MAX_SIDE)  # irmb, swin: tokens a side of one attention group
    reduction: int = Field(1, ge=1, le=MAX_SIDE)  # encoder: by what the side of keys' and values' map shrinks
    tokens: int = Field(0, ge=0, le=2)  # encoder: learned tokens before the positions, in the last stage only
    position: Position = "none"  # encoder: embedding added before the first block; interpolated: PVT's
    cpe: bool = False  # transformer: conditional position encoding before the first block
    slots: tuple[MetaBlock, ...] = ()  # block = "slots": the meta-blocks of one of the `depth` repetitions
    entry: tuple[MetaBlock, ...] = ()  # downsample = "slots": the transition's meta-blocks

    @property
    def inner_width(self) -> int:
        """Channels inside a mobilevit or separable block."""
        if self.block == "separable":
            return self.width or max(1, self.channels // 2)
        return self.width or self.heads * max(1, round(1.5 * self.channels / self.heads))

    @property
    def plain_blocks(self) -> int:
        """Blocks at constant shape, the transition left out."""
        return self.depth - (self.downsample == "block")

    @property
    def attends(self) -> bool:
        if self.depth == 0:
            return False
        if self.block == "irmb":
            return self.attention and self.plain_blocks > 0
        return self.block in ATTENDING_BLOCKS


class Head(Value):
    """linear: mean and classifier; norm: layer norm before it (EMO, Swin); pooled_norm: between both (MAE, ConvNeXt);
    token: layer norm, then a classifier on each token, averaged (ViT, DeiT), or on the mean where there are none;
    conv: 1x1 convolution to `width` channels, or to `expansion` x channels but at most 960 (MobileNetV2, MobileViT);
    mobileone: depthwise re-parameterised 3x3 to `expansion` x channels with SE (FastViT); decoder: a masked
    autoencoder's, `depth` transformer layers of `width` channels in `heads` heads (MAE)."""

    kind: Literal["linear", "norm", "pooled_norm", "token", "conv", "mobileone", "decoder"] = "linear"
    expansion: float = Field(4.0, gt=0, le=MAX_EXPANSION)
    width: int | None = Field(None, ge=1, le=MAX_CHANNELS)  # conv; decoder (None: 512)
    act: ActName | None = None  # conv; None: SiLU
    pool: Literal["mean", "adaptive"] = "mean"  # the same function; fvcore counts only the second
    eps: float = Field(1e-6, gt=0, le=1)
    depth: int = Field(8, ge=1, le=MAX_DEPTH)
    heads: int = Field(16, ge=1, le=MAX_CHANNELS)

    @property
    def decoder_width(self) -> int:
        return self.width or 512


def total_stride(stem: Stem, stages: Sequence[Stage]) -> int:
    """By how much the side of the image shrinks down to the last map; absent stages count for nothing."""
    return math.prod((stem.total_stride, *(stage.stride for stage in stages if stage.depth)))


def effective_head_fields(head: Head) -> tuple[str, ...]:
    """The names of the fields that take effect in this head, in the order of the file."""
    names = {"kind", *HEAD_FIELDS[head.kind]}
    names.discard("expansion" if head.width and head.kind == "conv" else "width" if head.width is None else "")
    if head.act is None:
        names.discard("act")
    return tuple(name for name in Head.model_fields if name in names)


def effective_stem_fields(stem: Stem) -> tuple[str, ...]:
    """The names of the fields that take effect in this stem, in the order of the file."""
    names = {"kind", "channels", *STEM_FIELDS[stem.kind]} | ({"stride"} if stem.kind != "slots" else set())
    return tuple(name for name in Stem.model_fields if name in names and getattr(stem, name) is not None)


def effective_fields(stage: Stage) -> tuple[str, ...]:
    """The names of the fields that take effect in this stage, in the order of the file."""
    if stage.depth == 0:
        return ("depth",)
    names = {"downsample", "stride", "block", "channels", "depth", *BLOCK_FIELDS[stage.block]}
    if stage.downsample == "mbconv":
        names.add("downsample_expansion")
    if stage.downsample == "slots":
        names.add("entry")
    if stage.block == "irmb":
        names -= _idle_irmb_fields(stage)
    if stage.act is None:
        names.discard("act")
    return tuple(name for name in Stage.model_fields if name in names)


def _idle_irmb_fields(stage: Stage) -> set[str]:
    if not stage.attention:
        return {"head_dim", "window"}
    if stage.plain_blocks > 0:
        return set()
    # Alone, the striding block does not attend; its norm and activation belong to the expansion.
    return {"head_dim", "window"} | ({"attention"} if stage.expansion == 1 else set())
