"""The one block, as a value: `Y = Post( S(X) + γ · P( M1( E( M0( N(X) ) ) ) ) )`.

These frozen dataclasses say what a network is made of, channel numbers included. `nasbench.blocks` holds, for each,
its module, cost formula and fusion rule. Nothing here knows torch.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

BranchKind = Literal["kxk", "kx1", "1xk", "1x1", "identity", "avg", "1x1_kxk"]
ActName = Literal["silu", "gelu", "relu", "relu6", "hardswish", "sigmoid"]
STRICT = {"extra": "forbid", "allow_inf_nan": False}  # pydantic, when a file spells slots out


@dataclass(frozen=True)
class Norm:
    """Batch norm ("bn"), layer norm over channels ("ln") or group norm ("gn")."""

    __pydantic_config__ = STRICT

    kind: Literal["bn", "ln", "gn"] = "bn"
    eps: float = 1e-5
    groups: int = 1


@dataclass(frozen=True)
class Act:
    __pydantic_config__ = STRICT
    name: ActName


@dataclass(frozen=True)
class SqueezeExcite:
    """Channel gate: mean over the map, two biased 1x1 convolutions through `hidden` channels, sigmoid."""

    __pydantic_config__ = STRICT

    channels: int
    hidden: int
    act: ActName = "relu"


@dataclass(frozen=True)
class Branch:
    """One summand of a re-parameterised convolution; `norm=False` leaves out its batch norm (and adds a bias).

    kxk, kx1, 1xk, 1x1: a convolution of that shape; identity: the input itself; avg: average pooling, after a 1x1
    convolution unless depthwise; 1x1_kxk: a 1x1 convolution, then a k x k one (both as in arXiv:2103.13425).
    `kernel` is the branch's own odd size where it is smaller than the convolution's.
    """

    __pydantic_config__ = STRICT

    kind: BranchKind = "kxk"
    sign: Literal[-1, 1] = 1
    kernel: int | None = None
    norm: bool = True


@dataclass(frozen=True)
class Conv:
    """Convolution -> norm -> activation -> squeeze-excite -> (+ input, if `residual`).

    With `branches` it is the signed sum of them, each normed by itself, and re-parameterises into one biased
    convolution. Without, it stays a plain convolution with its norm, which every inference runtime folds.
    """

    __pydantic_config__ = STRICT

    c_in: int
    c_out: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    bias: bool = False
    norm: Norm | None = None
    act: ActName | None = None
    branches: tuple[Branch, ...] = ()
    se: SqueezeExcite | None = None
    residual: bool = False


@dataclass(frozen=True)
class Partition:
    """Which tokens attend to each other.

    global: all; tokens: a strided grid of `size` x `size` tokens a group, zero-padded to a multiple (EMO);
    groups: a strided grid of `size` x `size` groups, resized bilinearly to a multiple (MobileViT).
    """

    __pydantic_config__ = STRICT

    kind: Literal["global", "tokens", "groups"] = "global"
    size: int = 1


@dataclass(frozen=True)
class Attention:
    """Softmax attention without its output projection (that is the block's E or P).

    values "projected": V is a third projection (MHSA); "input": the attention matrix weighs the input itself (EMO).
    """

    __pydantic_config__ = STRICT

    channels: int
    heads: int
    bias: bool = True
    values: Literal["projected", "input"] = "projected"
    partition: Partition = Partition()


@dataclass(frozen=True)
class Nest:
    """Meta-blocks run inside each of the patch x patch interleaved sub-grids of the map, then a norm (MobileViT)."""

    __pydantic_config__ = STRICT

    patch: int
    blocks: tuple[MetaBlock, ...]
    norm: Norm | None = None


Mixer = Conv | Attention | SqueezeExcite | Nest


@dataclass(frozen=True)
class MetaBlock:
    """`Y = Post( S(X) + γ · P( M1( E( M0( N(X) ) ) ) ) )`; γ is `layer_scale`'s initial value, None for no γ.

    skip None: S is zero. "identity": S(X) = X. "concat": the last convolution of P reads [X; .], which is the sum of
    the two halves of its kernel applied to X and to the branch (MobileViT's fusion).
    """

    __pydantic_config__ = STRICT

    c_in: int
    c_out: int
    pre_norm: Norm | None = None
    before: tuple[Mixer, ...] = ()
    expand: Conv | None = None
    mix: tuple[Mixer, ...] = ()
    project: tuple[Conv, ...] = ()
    skip: Literal["identity", "concat"] | None = None
    layer_scale: float | None = None
    post: tuple[Norm | SqueezeExcite | Act, ...] = ()


@dataclass(frozen=True)
class HeadSpec:
    """Blocks, norm, average over the map (fvcore counts "adaptive" pooling, not "mean"), linear classifier."""

    __pydantic_config__ = STRICT

    features: int
    blocks: tuple[MetaBlock, ...] = ()
    norm: Norm | None = None
    pool: Literal["mean", "adaptive"] = "mean"


@dataclass(frozen=True)
class Network:
    """A whole network in meta-blocks; every `stages[i]` holds its transition and its blocks in order."""

    __pydantic_config__ = STRICT

    stem: tuple[MetaBlock, ...]
    stages: tuple[tuple[MetaBlock, ...], ...]
    head: HeadSpec


def deploy_conv(conv: Conv) -> Conv:
    """What a convolution becomes when its branches are merged."""
    if not conv.branches:
        return conv
    return dataclasses.replace(conv, branches=(), norm=None, bias=True)


def folds_into_one_conv(block: MetaBlock) -> bool:
    """Whether X + γ · conv(X) is itself one convolution (RepMixer, conditional position encoding)."""
    if block.skip != "identity" or block.pre_norm or block.before or block.expand or block.project:
        return False
    if len(block.mix) != 1 or not isinstance(block.mix[0], Conv):
        return False
    conv = block.mix[0]
    linear = bool(conv.branches) or conv.norm is None
    return linear and conv.act is None and conv.se is None and not conv.residual and conv.stride == 1


def deploy_block(block: MetaBlock) -> MetaBlock:
    """The block after re-parameterisation: same function, fewer operators."""
    if folds_into_one_conv(block):
        conv = block.mix[0]
        assert isinstance(conv, Conv)
        merged = dataclasses.replace(deploy_conv(conv), bias=True)
        return dataclasses.replace(block, mix=(merged,), skip=None, layer_scale=None)
    parts = {
        "before": tuple(map(deploy_mixer, block.before)),
        "mix": tuple(map(deploy_mixer, block.mix)),
        "project": tuple(map(deploy_conv, block.project)),
        "expand": block.expand and deploy_conv(block.expand),
    }
    changed = {name: part for name, part in parts.items() if part != getattr(block, name)}
    return dataclasses.replace(block, **changed) if changed else block  # type: ignore[arg-type]


def deploy_mixer(mixer: Mixer) -> Mixer:
    if isinstance(mixer, Conv):
        return deploy_conv(mixer)
    if isinstance(mixer, Nest):
        return dataclasses.replace(mixer, blocks=deploy_blocks(mixer.blocks))
    return mixer


def deploy_blocks(blocks: tuple[MetaBlock, ...]) -> tuple[MetaBlock, ...]:
    """Each block's deploy form; repeated blocks are one object and stay one."""
    done = {id(block): block for block in blocks}
    done = {key: deploy_block(block) for key, block in done.items()}
    return tuple(done[id(block)] for block in blocks)


def deploy_network(network: Network) -> Network:
    """The network after re-parameterisation, as a value."""
    stages = tuple(deploy_blocks(stage) for stage in network.stages)
    head = dataclasses.replace(network.head, blocks=deploy_blocks(network.head.blocks))
    return Network(deploy_blocks(network.stem), stages, head)


_DEFAULTS: dict[type, tuple[tuple[str, Any], ...]] = {}


def canonical(value: Any) -> Any:
    """A spec as plain JSON types: type names and the fields that differ from their defaults.

    Leaving the defaults out keeps ids when the vocabulary grows by an option.
    """
    if isinstance(value, tuple):
        return [canonical(item) for item in value]
    kind = type(value)
    if kind not in _DEFAULTS:
        if not dataclasses.is_dataclass(value):
            return value
        _DEFAULTS[kind] = tuple((field.name, field.default) for field in dataclasses.fields(value))
    content = {"type": kind.__name__}
    for name, default in _DEFAULTS[kind]:
        item = getattr(value, name)
        if item is not default and item != default:
            content[name] = canonical(item)
    return content
