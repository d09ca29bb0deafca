"""What the network sees of a stage's fields: settings with equal keys build the same stage.

The fields of a block fall into independent groups. Within a group several settings may build the same layers (an
expansion of 2.0 or 2.1 of 16 channels rounds to the same width), so a space counts and proposes one of each. A test
compares these keys with the lowered networks. A block that is not in GROUPS has a group for each of its fields, seen as
they are, which is right wherever different values always build different layers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any, NamedTuple

from nasbench.arch.parts import BLOCK_FIELDS, Head, Stem
from nasbench.arch.presets import HEADS, STEMS, End, make_divisible, squeeze_excite
from nasbench.arch.presets import branches_of as _branches_of

branches_of = cache(_branches_of)
Values = Mapping[str, Any]


class Shape(NamedTuple):
    """Where a stage's blocks stand."""

    c_in: int
    channels: int
    stride: int
    entry: bool  # the first block makes the transition
    plain: bool  # there are blocks at constant shape
    side: int | None = None  # of the map behind the transition, where it is known and matters (CLAMPED)
    tokens: int = 0


Key = Callable[[Values, Shape], Hashable]
Groups = tuple[tuple[tuple[str, ...], Key], ...]


def _sources(shape: Shape) -> list[tuple[int, bool]]:
    """The channels that blocks of this stage start from, and whether it is the entry block."""
    return [(shape.c_in, True)] * shape.entry + [(shape.channels, False)] * shape.plain


def _hidden(channels: int, ratio: float) -> int:
    gate = squeeze_excite(channels, ratio)
    return gate.hidden if gate else 0


def inverted_width(c_in: int, expansion: float) -> tuple[bool, int]:
    """Whether an inverted residual expands, and to how many channels."""
    return expansion != 1, make_divisible(round(c_in * expansion)) if expansion != 1 else c_in


def _mbconv(values: Values, shape: Shape) -> Hashable:
    widths = [inverted_width(c_in, values["expansion"]) for c_in, _ in _sources(shape)]
    return tuple((*width, _hidden(width[1], values["se"])) for width in widths)


def _irmb(values: Values, shape: Shape) -> Hashable:
    seen = []
    for c_in, entry in _sources(shape):
        expansion = values["expansion"]
        if entry and expansion != 1:
            expansion *= 2
        width = int(c_in * expansion) if expansion != 1 else c_in
        seen.append((expansion != 1, width, _hidden(width, values["se"])))
    expands = any(item[0] for item in seen)
    return (*seen, values.get("attention", False) and expands)  # alone, an entry block only changes norm and activation


def _depthwise(values: Values, shape: Shape) -> Hashable:
    """Branches of a depthwise convolution: an identity wherever it does not stride."""
    kernel, branches = values["kernel"], values["branches"]
    same = [shape.stride == 1] * shape.entry + [True] * shape.plain
    return kernel, tuple(branches_of(branches, kernel, keeps) for keeps in same)


def _dense(values: Values, shape: Shape) -> Hashable:
    """Branches of a dense convolution: an identity wherever it keeps its shape."""
    kernel, branches = values["kernel"], values["branches"]
    same = [shape.stride == 1 and shape.c_in == shape.channels] * shape.entry + [True] * shape.plain
    return kernel, tuple(branches_of(branches, kernel, keeps) for keeps in same)


def _mobileone(values: Values, shape: Shape) -> Hashable:
    pointwise = _dense({**values, "kernel": 1}, shape._replace(stride=1))  # the depthwise unit does the striding
    return _depthwise(values, shape), pointwise


def _mobileone_gates(values: Values, shape: Shape) -> Hashable:
    """A gate after the depthwise unit, another after the pointwise one."""
    widths = [width for c_in, _ in _sources(shape) for width in (c_in, shape.channels)]
    return tuple(_hidden(width, values["se"]) for width in widths)


def _repmixer(values: Values, shape: Shape) -> Hashable:
    kernel = values["kernel"]
    return kernel, branches_of(values["branches"], kernel, True) or branches_of("dbb", 1, True)  # one k x k branch


def _basic(values: Values, shape: Shape) -> Hashable:
    """The first convolution's branches, the second's, and whether a shortcut convolution merges."""
    return _dense(values, shape), branches_of(values["branches"], values["kernel"], True), values["branches"] != "none"


def _separable(values: Values, shape: Shape) -> Hashable:
    width = values["width"] or max(1, shape.channels // 2)  # Stage.inner_width
    return width, int(width * values["expansion"])


def _gate(values: Values, shape: Shape) -> Hashable:
    return _hidden(shape.channels, values["se"])


def _ffn(values: Values, shape: Shape) -> Hashable:
    return int(shape.channels * values["expansion"])


def _mobilevit(values: Values, shape: Shape) -> Hashable:
    heads = values["heads"]
    width = values["width"] or heads * max(1, round(1.5 * shape.channels / heads))  # Stage.inner_width
    return heads, width, int(width * values["expansion"])


def _on_map(field: str) -> tuple[tuple[str, ...], Key]:
    """A size that a smaller map cuts down to its own."""
    return (field,), lambda values, shape: min(values[field], shape.side or values[field])


def _act(default: str) -> Key:
    return lambda values, shape: values["act"] or default


def _as_is(*fields: str) -> tuple[tuple[str, ...], Key]:
    return fields, lambda values, shape: tuple(values[name] for name in fields)


CONVOLUTION = ("kernel", "branches")
CLAMPED = {"encoder": "reduction", "swin": "window"}  # block -> the field that cannot exceed its map
GROUPS: dict[str, Groups] = {
    "mbconv": ((("expansion", "se"), _mbconv), (CONVOLUTION, _depthwise), (("act",), _act("silu"))),
    "repmixer": ((("expansion",), _ffn), (CONVOLUTION, _repmixer)),
    "mobilevit": ((("expansion", "heads", "width"), _mobilevit), (CONVOLUTION, _dense), _as_is("patch")),
    "separable": ((("expansion", "width"), _separable), (CONVOLUTION, _depthwise), _as_is("patch")),
    "encoder": (
        (("expansion",), _ffn),
        _as_is("head_dim"),
        _on_map("reduction"),
        (("act",), _act("gelu")),
        _as_is("position"),
    ),
    "swin": ((("expansion",), _ffn), _as_is("head_dim"), _on_map("window"), (("act",), _act("gelu"))),
    "basic": ((CONVOLUTION, _basic), (("act",), _act("relu"))),
    "transformer": ((("expansion",), _ffn), _as_is("kernel"), _as_is("head_dim"), _as_is("patch"), _as_is("cpe")),
    "repvgg": ((("se",), _gate), (CONVOLUTION, _dense), (("act",), _act("relu"))),
    "mobileone": ((("se",), _mobileone_gates), (CONVOLUTION, _mobileone), (("act",), _act("relu"))),
}
IRMB: Groups = ((("expansion", "se"), _irmb), (CONVOLUTION, _depthwise))
IRMB_ATTENDING: Groups = (*IRMB, _as_is("head_dim"), _as_is("window"))
IRMB_ALONE: Groups = ((("attention", "expansion", "se"), _irmb), (CONVOLUTION, _depthwise))


def groups_of(block: str, attention: bool | None) -> Groups:
    """The independent groups of fields of a block; `attention` is None where it decides nothing beyond its group."""
    if block == "irmb":
        return IRMB_ALONE if attention is None else IRMB_ATTENDING if attention else IRMB
    return GROUPS.get(block) or tuple(_as_is(name) for name in BLOCK_FIELDS[block])


def stem_key(stem: Stem) -> Hashable:
    return stem.channels, STEMS[stem.kind](stem)


def head_key(head: Head, c_in: int, tokens: int) -> Hashable:
    """`tokens`: those of the last stage; without any, a "token" head averages like a "norm" head."""
    return HEADS[head.kind](head, End(c_in, tokens))
