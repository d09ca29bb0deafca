"""The one block, as a value: `Y = Post( S(X) + γ · P( M1( E( M0( N(X) ) ) ) ) )`.

These frozen dataclasses say what a network is made of, channel numbers included. For each, `nasbench.blocks` holds its
module with its fusion rule, and beside it the formula of what it costs. Nothing here knows torch.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

NormKind = Literal["bn", "ln", "gn"]
BranchKind = Literal["kxk", "kx1", "1xk", "1x1", "identity", "avg", "1x1_kxk"]
ActName = Literal["silu", "gelu", "gelu_tanh", "relu", "relu6", "hardswish", "sigmoid"]
SpecT = TypeVar("SpecT")
MAX_CHANNELS = 1 << 16
MAX_RESOLUTION = 4096  # pixels or positions a side
MAX_SCALE = 1e3
MAX_SIDE = 256  # of kernels, strides, patches, windows
# What a file may write; that sizes and counts are at least 1 is in block_rules.py.
Channels = Annotated[int, Field(ge=0, le=MAX_CHANNELS)]
Side = Annotated[int, Field(ge=0, le=MAX_SIDE)]
Epsilon = Annotated[float, Field(ge=0, le=1)]
STRICT = {"extra": "forbid", "allow_inf_nan": False}  # pydantic, when a file spells slots out


@dataclass(frozen=True)
class Norm:
    """Batch norm ("bn"), layer norm over channels ("ln") or group norm ("gn")."""

    __pydantic_config__ = STRICT

    kind: NormKind = "bn"
    eps: Epsilon = 1e-5
    groups: Channels = 1


@dataclass(frozen=True)
class Act:
    """An activation by itself."""

    __pydantic_config__ = STRICT
    name: ActName


@dataclass(frozen=True)
class SqueezeExcite:
    """Channel gate: mean over the map, two biased 1x1 convolutions through `hidden` channels, sigmoid."""

    __pydantic_config__ = STRICT

    channels: Channels
    hidden: Channels
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
    kernel: Side | None = None
    norm: bool = True


@dataclass(frozen=True)
class Conv:
    """Convolution -> norm -> activation -> squeeze-excite -> (+ input, if `residual`).

    With `branches` it is the signed sum of them, each normed by itself, and re-parameterises into one biased
    convolution. Without, it stays a plain convolution with its norm, which every inference runtime folds.

    padding "half": kernel // 2 on every side; "valid": none; "same": TensorFlow's, more of it right and below.
    linear: a 1x1 convolution that runs as a linear layer over positions, as token networks are made.
    standardise: every filter is shifted and scaled to mean 0 and deviation 1; the value is added to the deviation
    (arXiv:1903.10520).
    """

    __pydantic_config__ = STRICT

    c_in: Channels
    c_out: Channels
    kernel: Side = 1
    stride: Side = 1
    groups: Channels = 1
    bias: bool = False
    norm: Norm | None = None
    act: ActName | None = None
    branches: tuple[Branch, ...] = ()
    se: SqueezeExcite | None = None
    residual: bool = False
    padding: Literal["half", "valid", "same"] = "half"
    linear: bool = False
    standardise: Epsilon | None = None


@dataclass(frozen=True)
class Pool:
    """Maximum over kernel x kernel; "half" and "same" pad as in `Conv`, with nothing that can win."""

    __pydantic_config__ = STRICT

    channels: Channels
    kernel: Side
    stride: Side
    padding: Literal["half", "same"] = "half"


@dataclass(frozen=True)
class SpaceToDepth:
    """Each size x size square of positions becomes one with all its channels, column by column; zero-padded (Swin)."""

    __pydantic_config__ = STRICT

    channels: Channels
    size: Side


@dataclass(frozen=True)
class Resize:
    """Bilinear with aligned corners to the next multiple of `multiple`; nothing where the side is one (MobileViTv2)."""

    __pydantic_config__ = STRICT

    channels: Channels
    multiple: Side


@dataclass(frozen=True)
class Embedding:
    """Adds a position embedding for side x side positions, and puts `tokens` learned tokens before them.

    With tokens the map becomes a single row, (B, C, 1, tokens + side²). position "learned"; "sine": fixed, sine and
    cosine of both axes (arXiv:2111.06377); "interpolated": learned, and resized in every forward pass even where the
    size is right, as PVT's code does. A map of another side than `side` has the embedding resized to it.
    """

    __pydantic_config__ = STRICT

    channels: Channels
    side: Annotated[int, Field(ge=0, le=MAX_RESOLUTION)]
    tokens: Side = 0
    position: Literal["none", "learned", "sine", "interpolated"] = "learned"


@dataclass(frozen=True)
class Partition:
    """Which tokens attend to each other.

    global: all; tokens: a strided grid of `size` x `size` tokens a group, zero-padded to a multiple (EMO);
    groups: a strided grid of `size` x `size` groups, resized bilinearly to a multiple (MobileViT);
    windows: `size` x `size` neighbours, the map rolled by `shift` before and back after, zero-padded (Swin).
    """

    __pydantic_config__ = STRICT

    kind: Literal["global", "tokens", "groups", "windows"] = "global"
    size: Side = 1
    shift: Side = 0


@dataclass(frozen=True)
class Attention:
    """Softmax attention without its output projection (that is the block's E or P).

    values "projected": V is a third projection (MHSA); "input": the attention matrix weighs the input itself (EMO).
    reduction: keys and values come from a map shrunk by a strided convolution and layer norm (PVT). relative_bias: a
    learned summand for each head and offset within a window (Swin). linear: as in `Conv`.
    """

    __pydantic_config__ = STRICT

    channels: Channels
    heads: Channels
    bias: bool = True
    values: Literal["projected", "input"] = "projected"
    partition: Partition = Partition()
    reduction: Side = 1
    relative_bias: bool = False
    linear: bool = False


@dataclass(frozen=True)
class SeparableAttention:
    """MobileViTv2's attention of linear cost, without its output projection (arXiv:2206.02680).

    A softmax of one score a position weighs the keys' sum, which gates relu(V); positions see those that lie at the
    same place of their patch x patch square.
    """

    __pydantic_config__ = STRICT

    channels: Channels
    patch: Side
    bias: bool = True


@dataclass(frozen=True)
class Nest:
    """Meta-blocks run inside each of the patch x patch interleaved sub-grids of the map, then a norm (MobileViT)."""

    __pydantic_config__ = STRICT

    patch: Side
    blocks: tuple[MetaBlock, ...]
    norm: Norm | None = None


Mixer = Conv | Attention | SeparableAttention | SqueezeExcite | Pool | SpaceToDepth | Resize | Embedding | Nest
Post = Norm | SqueezeExcite | Act  # what may stand behind the sum


@dataclass(frozen=True)
class MetaBlock:
    """`Y = Post( S(X) + γ · P( M1( E( M0( N(X) ) ) ) ) )`; γ is `layer_scale`'s initial value, None for no γ.

    skip None: S is zero. "identity": S(X) = X. A convolution: S is that (ResNet). "concat": the last convolution of P
    reads [X; .], which is the sum of the two halves of its kernel applied to X and to the branch (MobileViT's fusion).
    """

    __pydantic_config__ = STRICT

    c_in: Channels
    c_out: Channels
    pre_norm: Norm | None = None
    before: tuple[Mixer, ...] = ()
    expand: Conv | None = None
    mix: tuple[Mixer, ...] = ()
    project: tuple[Conv, ...] = ()
    skip: Literal["identity", "concat"] | Conv | None = None
    layer_scale: Annotated[float, Field(ge=-MAX_SCALE, le=MAX_SCALE)] | None = None
    post: tuple[Post, ...] = ()


@dataclass(frozen=True)
class HeadSpec:
    """Blocks, norm, pooling, linear classifier.

    pool: average over the map (fvcore counts "adaptive" pooling, not "mean"), leaving out the `tokens` that stand
    before it; "token": the tokens themselves, each with a classifier of its own, averaged (DeiT). norm_last: the norm
    stands behind the pooling.
    """

    __pydantic_config__ = STRICT

    features: int
    blocks: tuple[MetaBlock, ...] = ()
    norm: Norm | None = None
    pool: Literal["mean", "adaptive", "token"] = "mean"
    tokens: int = 0
    norm_last: bool = False


@dataclass(frozen=True)
class DecoderSpec:
    """A masked autoencoder's second half (arXiv:2111.06377).

    The encoder sees a share 1 - mask_ratio of the positions. Norm, `embed`; a learned token stands for each hidden
    position; `embedding`; blocks; `last_norm`; `predict` gives the pixels of a patch x patch square.
    """

    __pydantic_config__ = STRICT

    norm: Norm
    embed: Conv
    embedding: Embedding
    blocks: tuple[MetaBlock, ...]
    last_norm: Norm
    predict: Conv
    patch: int
    tokens: int = 1
    mask_ratio: float = 0.75


@dataclass(frozen=True)
class Network:
    """A whole network in meta-blocks; every `stages[i]` holds its transition and its blocks in order."""

    __pydantic_config__ = STRICT

    stem: tuple[MetaBlock, ...]
    stages: tuple[tuple[MetaBlock, ...], ...]
    head: HeadSpec | DecoderSpec


def changed(value: SpecT, **changes: Any) -> SpecT:
    """`dataclasses.replace` in a tenth of its time: the fields of these values are plain, and none is checked."""
    assert changes.keys() <= value.__dict__.keys()
    copy = object.__new__(type(value))
    copy.__dict__.update(value.__dict__, **changes)
    return copy


PLAIN = frozenset({bool, int, float, str, type(None)})
_DEFAULTS: dict[type, tuple[tuple[str, Any], ...]] = {}


def canonical(value: Any) -> Any:
    """A spec as plain JSON types: type names and the fields that differ from their defaults.

    Leaving the defaults out keeps ids when the vocabulary grows by an option.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, tuple):
        done: dict[int, Any] = {}  # repeated blocks are one object
        return [done[id(item)] if id(item) in done else done.setdefault(id(item), canonical(item)) for item in value]
    if kind not in _DEFAULTS:
        if not dataclasses.is_dataclass(value):
            return value
        _DEFAULTS[kind] = tuple((field.name, field.default) for field in dataclasses.fields(value))
    content = {"type": kind.__name__}
    for name, default in _DEFAULTS[kind]:
        item = getattr(value, name)
        if item is not default and item != default:
            content[name] = item if type(item) in PLAIN else canonical(item)
    return content


def canonical_json(network: Network) -> str:
    """The JSON of `canonical(network)`, keys in order: put together block by block, since equal blocks recur in a
    network and in its relatives, and ids are asked for by the thousand."""
    texts = {id(block): block for blocks in (network.stem, *network.stages) for block in blocks}
    written = {key: _block_json(block) for key, block in texts.items()}

    def listed(blocks: tuple[MetaBlock, ...]) -> str:
        return f"[{', '.join(written[id(block)] for block in blocks)}]"

    stages = ", ".join(map(listed, network.stages))
    head = json.dumps(canonical(network.head), sort_keys=True, allow_nan=False)
    return f'{{"head": {head}, "stages": [{stages}], "stem": {listed(network.stem)}, "type": "Network"}}'


@lru_cache(1 << 12)
def _block_json(block: MetaBlock) -> str:
    return json.dumps(canonical(block), sort_keys=True, allow_nan=False)


def spelled(value: Any) -> Any:
    """A spec as a file spells it out: plain JSON types, the fields that differ from their defaults, a norm's kind."""
    if isinstance(value, tuple):
        return [spelled(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    kept = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    defaults = {field.name: field.default for field in dataclasses.fields(value)}
    always = ("kind",) if isinstance(value, Norm) else ()
    return {name: spelled(item) for name, item in kept.items() if name in always or item != defaults[name]}
