"""Keys of settings: two settings of a stage's fields build the same layers exactly when their keys are equal.

The fields of a block fall into independent groups, each with a function that makes its key. Within a group several
settings may build the same layers (an expansion of 2.0 or 2.1 of 16 channels rounds to the same width), so a space
counts and proposes one of each. A test compares these keys with the lowered networks. A block that is not in GROUPS has
a group for each of its fields with the value as key, which is right if different values always build different layers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache
from typing import NamedTuple

from nasbench.arch.parts import BLOCK_FIELDS, IMAGE_CHANNELS, Head, Stage, Stem
from nasbench.arch.presets import HEADS, STEMS, End, make_divisible, squeeze_excite, widened
from nasbench.arch.presets import branches_of as _branches_of

branches_of = cache(_branches_of)


class Shape(NamedTuple):
    """What the layers of a stage depend on besides its own fields."""

    c_in: int
    channels: int
    stride: int
    entry: bool  # the first block makes the transition
    plain: bool  # there are further blocks, which keep the shape
    side: int | None = None  # of the map after the transition, where known and needed (CLAMPED)
    tokens: int = 0


Key = Callable[[Stage, Shape], Hashable]  # may read only its group's fields of the stage


class FieldGroup(NamedTuple):
    """Fields of a block whose effect depends on each other, and the key of the layers that they build."""

    fields: tuple[str, ...]
    key: Key


def _sources(shape: Shape) -> list[tuple[int, bool]]:
    """(input channels, whether it is the entry block) of each kind of block in the stage."""
    return [(shape.c_in, True)] * shape.entry + [(shape.channels, False)] * shape.plain


def _hidden(channels: int, ratio: float) -> int:
    """Hidden channels of a squeeze-excite, 0 for none."""
    gate = squeeze_excite(channels, ratio)
    return gate.hidden if gate else 0


def inverted_width(c_in: int, expansion: float) -> tuple[bool, int]:
    """Whether an inverted residual expands, and to how many channels."""
    return expansion != 1, make_divisible(round(c_in * expansion)) if expansion != 1 else c_in


def _mbconv(stage: Stage, shape: Shape) -> Hashable:
    widths = [inverted_width(c_in, stage.expansion) for c_in, _ in _sources(shape)]
    return tuple((*width, _hidden(width[1], stage.se)) for width in widths)


def _irmb(stage: Stage, shape: Shape) -> Hashable:
    seen = []
    for c_in, entry in _sources(shape):
        expansion = stage.expansion
        if entry and expansion != 1:
            expansion *= 2
        width = widened(c_in, expansion) if expansion != 1 else c_in
        seen.append((expansion != 1, width, _hidden(width, stage.se)))
    expands = any(item[0] for item in seen)
    return (*seen, stage.attention and expands)  # alone, an entry block only changes norm and activation


def _depthwise(stage: Stage, shape: Shape) -> Hashable:
    """Branches of a depthwise convolution; an identity branch only where the stride is 1."""
    same = [shape.stride == 1] * shape.entry + [True] * shape.plain
    return stage.kernel, tuple(branches_of(stage.branches, stage.kernel, keeps) for keeps in same)


def _dense_branches(branches: str, kernel: int, shape: Shape) -> Hashable:
    """Branches of a dense convolution; an identity branch only where it keeps its shape."""
    same = [shape.stride == 1 and shape.c_in == shape.channels] * shape.entry + [True] * shape.plain
    return kernel, tuple(branches_of(branches, kernel, keeps) for keeps in same)


def _dense(stage: Stage, shape: Shape) -> Hashable:
    return _dense_branches(stage.branches, stage.kernel, shape)


def _mobileone(stage: Stage, shape: Shape) -> Hashable:
    pointwise = _dense_branches(stage.branches, 1, shape._replace(stride=1))  # the depthwise unit does the striding
    return _depthwise(stage, shape), pointwise


def _mobileone_gates(stage: Stage, shape: Shape) -> Hashable:
    """A gate after the depthwise unit, another after the pointwise one."""
    widths = [width for c_in, _ in _sources(shape) for width in (c_in, shape.channels)]
    return tuple(_hidden(width, stage.se) for width in widths)


def _repmixer(stage: Stage, shape: Shape) -> Hashable:
    kernel = stage.kernel
    return kernel, branches_of(stage.branches, kernel, True) or branches_of("dbb", 1, True)  # one k x k branch


def _basic(stage: Stage, shape: Shape) -> Hashable:
    """The first convolution's branches, the second's, and whether a shortcut convolution merges."""
    return _dense(stage, shape), branches_of(stage.branches, stage.kernel, True), stage.branches != "none"


def _separable(stage: Stage, shape: Shape) -> Hashable:
    width = stage.width or max(1, shape.channels // 2)  # Stage.inner_width
    return width, widened(width, stage.expansion)


def _gate(stage: Stage, shape: Shape) -> Hashable:
    return _hidden(shape.channels, stage.se)


def _ffn(stage: Stage, shape: Shape) -> Hashable:
    return widened(shape.channels, stage.expansion)


def _mobilevit(stage: Stage, shape: Shape) -> Hashable:
    heads = stage.heads
    width = stage.width or heads * max(1, round(1.5 * shape.channels / heads))  # Stage.inner_width
    return heads, width, widened(width, stage.expansion)


def _on_map(field: str) -> FieldGroup:
    """A size that is limited to the side of the map."""
    return FieldGroup((field,), lambda stage, shape: min(getattr(stage, field), shape.side or getattr(stage, field)))


def _act(default: str) -> FieldGroup:
    return FieldGroup(("act",), lambda stage, shape: stage.act or default)


def _as_is(*fields: str) -> FieldGroup:
    return FieldGroup(fields, lambda stage, shape: tuple(getattr(stage, name) for name in fields))


CONVOLUTION = ("kernel", "branches")
CLAMPED = {"encoder": "reduction", "swin": "window"}  # block -> its field that is limited to the side of the map
TRANSITION = FieldGroup(  # of the "mbconv" downsample
    ("downsample_expansion",), lambda stage, shape: inverted_width(shape.c_in, stage.downsample_expansion)
)
GROUPS: dict[str, tuple[FieldGroup, ...]] = {
    "mbconv": (FieldGroup(("expansion", "se"), _mbconv), FieldGroup(CONVOLUTION, _depthwise), _act("silu")),
    "repmixer": (FieldGroup(("expansion",), _ffn), FieldGroup(CONVOLUTION, _repmixer)),
    "mobilevit": (
        FieldGroup(("expansion", "heads", "width"), _mobilevit),
        FieldGroup(CONVOLUTION, _dense),
        _as_is("patch"),
    ),
    "separable": (
        FieldGroup(("expansion", "width"), _separable),
        FieldGroup(CONVOLUTION, _depthwise),
        _as_is("patch"),
    ),
    "encoder": (
        FieldGroup(("expansion",), _ffn),
        _as_is("head_dim"),
        _on_map("reduction"),
        _act("gelu"),
        _as_is("position"),
    ),
    "swin": (FieldGroup(("expansion",), _ffn), _as_is("head_dim"), _on_map("window"), _act("gelu")),
    "basic": (FieldGroup(CONVOLUTION, _basic), _act("relu")),
    "transformer": (
        FieldGroup(("expansion",), _ffn),
        _as_is("kernel"),
        _as_is("head_dim"),
        _as_is("patch"),
        _as_is("cpe"),
    ),
    "repvgg": (FieldGroup(("se",), _gate), FieldGroup(CONVOLUTION, _dense), _act("relu")),
    "mobileone": (FieldGroup(("se",), _mobileone_gates), FieldGroup(CONVOLUTION, _mobileone), _act("relu")),
}
IRMB = (FieldGroup(("expansion", "se"), _irmb), FieldGroup(CONVOLUTION, _depthwise))
IRMB_ATTENDING = (*IRMB, _as_is("head_dim"), _as_is("window"))
IRMB_ALONE = (FieldGroup(("attention", "expansion", "se"), _irmb), FieldGroup(CONVOLUTION, _depthwise))


def groups_of(block: str, attention: bool | None) -> tuple[FieldGroup, ...]:
    """The independent groups of fields of a block.

    attention: whether an irmb block attends; None where attention has no effect but on the group that it is in.
    """
    if block == "irmb":
        return IRMB_ALONE if attention is None else IRMB_ATTENDING if attention else IRMB
    return GROUPS.get(block) or tuple(_as_is(name) for name in BLOCK_FIELDS[block])


def stem_key(stem: Stem) -> Hashable:
    """Equal for stems that build the same layers."""
    return stem.channels, STEMS[stem.kind](stem, IMAGE_CHANNELS)


def head_key(head: Head, c_in: int, tokens: int) -> Hashable:
    """Equal for heads that build the same layers after `c_in` channels and `tokens` learned tokens.

    Without tokens a "token" head averages as a "norm" head does.
    """
    return HEADS[head.kind](head, End(c_in, tokens))
