"""Spaces small enough to try every setting of: written ones, each with one thing that makes counting hard, and random
ones; and what brute force finds in them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st
from small_networks import ENTRY, SLOTS, STEM_SLOTS

from nasbench.arch.architecture import Architecture
from nasbench.arch.parts import (
    BLOCK_FIELDS,
    INNER_BLOCKS,
    Head,
    Stage,
    Stem,
    effective_fields,
    effective_head_fields,
    effective_stem_fields,
)
from nasbench.errors import UserError
from nasbench.space import SearchSpace

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Content = dict[str, Any]
TINY: dict[str, Content] = {
    "expansions that round to one width": {
        "resolution": 64,
        "stem": {"channels": [8, 16]},
        "stages": [
            {
                "downsample": "block",
                "channels": [8, 16],
                "depth": [1, 2],
                "expansion": [1, 2, 2.1, 3],
                "se": [0, 0.1, 0.12, 0.25],
            }
        ],
        "constraints": {"channels": "non-decreasing"},
    },
    "branches that vanish at kernel 1": {
        "resolution": 64,
        "stem": {"channels": [8, 16]},
        "stages": [
            {
                "downsample": ["block", "none", "conv"],
                "stride": [1, 2],
                "block": ["mbconv", "repvgg", "mobileone", "repmixer"],
                "channels": [8, 16],
                "depth": [1, 2],
                "kernel": [1, 3],
                "branches": ["none", "repvgg", "acb", "dbb", "mobileone"],
                "se": [0, 0.25],
            }
        ],
    },
    "resolutions and strides": {
        "resolution": [32, 36, 64],
        "stem": {"kind": ["conv", "mobileone"], "channels": [16]},
        "stages": [
            {
                "downsample": ["block", "mbconv", "conv"],
                "downsample_expansion": [2, 2.1, 4],
                "block": ["mbconv", "irmb"],
                "channels": [16, 24],
                "stride": [1, 2],
                "depth": [1, 2],
                "expansion": [2, 4],
            },
            {"channels": [24, 32], "depth": [0, 1], "block": "irmb", "downsample": ["mbconv"], "expansion": [2, 4]},
        ],
        "constraints": {"stride": 8},
    },
    "attention that may be idle": {
        "resolution": 64,
        "stem": {"channels": 24},
        "stages": [
            {
                "downsample": ["block", "patch_embed"],
                "block": "irmb",
                "channels": [24, 32],
                "depth": [1, 2],
                "expansion": [0.5, 1, 2],
                "attention": [False, True],
                "head_dim": [8, 12, 16],
                "window": [4, 7],
                "se": [0, 1],
            },
        ],
    },
    "attention in late stages": {
        "resolution": 64,
        "stages": [
            {
                "block": ["irmb", "transformer"],
                "channels": [16, 24],
                "depth": 1,
                "attention": [False, True],
                "head_dim": 8,
            },
            {
                "downsample": ["conv", "block"],
                "block": ["irmb", "transformer", "mobilevit"],
                "channels": [24, 32],
                "depth": [1, 2],
                "attention": True,
                "head_dim": [12, 16],
                "heads": [2, 4],
                "width": [30, 32],
                "patch": [1, 2],
            },
        ],
        "constraints": {"channels": "increasing", "attention": "last 1 stage"},
    },
    "several optional stages": {
        "resolution": 64,
        "stem": {"channels": 16},
        "stages": [
            {"depth": [0, 1], "channels": [16, 24], "downsample": ["block", "none"], "stride": [1, 2]},
            {"depth": [0, 1, 2], "channels": [16, 24], "downsample": "block", "kernel": [3, 5]},
            {"depth": [0, 1], "channels": [24], "downsample": ["block", "conv"], "block": ["mbconv", "repvgg"]},
        ],
        "head": {"kind": ["conv", "mobileone"], "expansion": [2, 2.2]},
        "constraints": {"channels": "non-decreasing"},
    },
    "stride by the stem": {
        "resolution": [64, 80],
        "stem": {"kind": ["conv", "conv_bias", "mobileone"], "channels": [8], "stride": [1, 2, 4]},
        "stages": [
            {"depth": [1, 2], "channels": 16, "stride": [1, 2], "act": ["relu", "silu"], "block": ["repvgg", "mbconv"]},
            {
                "depth": [0, 1],
                "channels": [16, 32],
                "stride": [1, 2],
                "block": ["mobileone"],
                "downsample": ["block", "none"],
            },
        ],
        "constraints": {"stride": 16},
    },
}


TINY |= tomllib.loads((Path(__file__).parent / "tiny_spaces.toml").read_text(encoding="utf-8"))
TINY["spelled out"] = {
    "resolution": [32, 40],
    "stem": {"kind": ["slots", "conv"], "channels": [8, 16], "slots": STEM_SLOTS},
    "stages": [
        {
            "block": ["slots", "mbconv"],
            "downsample": ["slots", "block", "conv"],
            "channels": [16, 24],
            "depth": [1, 2],
            "slots": SLOTS,
            "entry": ENTRY,
        }
    ],
    "head": {"kind": ["conv", "linear"], "width": [24, 32], "act": ["relu6", "silu"]},
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def settings(table: Content) -> list[Content]:
    """Every raw setting of a table, sensible or not."""
    choices = [[value] if name in ("slots", "entry") else listed(value) for name, value in table.items()]
    return [dict(zip(table, values)) for values in itertools.product(*choices)]


def meets(content: Content, stages: tuple[Stage, ...], arch: Architecture) -> bool:
    """The constraints once more, written down independently."""
    rules = content.get("constraints", {})
    widths = [stage.channels for stage in stages if stage.depth]
    pairs = list(itertools.pairwise(widths))
    if rules.get("channels") == "non-decreasing" and any(a > b for a, b in pairs):
        return False
    if rules.get("channels") == "increasing" and any(a >= b for a, b in pairs):
        return False
    most = float(rules.get("width", "at most 1e9x channels").split()[2].split("x")[0])
    inner = [stage for stage in stages if stage.block in INNER_BLOCKS and stage.depth]
    if any(stage.inner_width > most * stage.channels for stage in inner):
        return False
    if "attention" in rules:
        last = int(rules["attention"].split()[1])
        if any(stage.attends for stage in stages[:-last]):
            return False
    return arch.total_stride == rules.get("stride", arch.total_stride)


def stages_of(table: Content) -> list[Stage]:
    """Every stage of a table, those once that differ only in fields without effect."""
    stages = [Stage(**setting) for setting in settings(table)]
    return list({tuple((name, getattr(s, name)) for name in effective_fields(s)): s for s in stages}.values())


def ends_of(kind: type, table: Content, effective: Callable[[Any], tuple[str, ...]]) -> list[Any]:
    ends = [kind(**setting) for setting in settings(table)]
    return list({tuple((name, getattr(end, name)) for name in effective(end)): end for end in ends}.values())


def brute_force(content: Content) -> set[str]:
    """The ids of everything that can be built from the choices: no cleverness but to leave out idle fields."""
    ids = set()
    stems = ends_of(Stem, content.get("stem", {}), effective_stem_fields)
    heads = ends_of(Head, content.get("head", {}), effective_head_fields)
    for stages in itertools.product(*map(stages_of, content["stages"])):
        if not any(stage.depth for stage in stages):
            continue
        for resolution, stem, head in itertools.product(listed(content["resolution"]), stems, heads):
            arch = Architecture.model_construct(resolution=resolution, stem=stem, stages=stages, head=head)
            if arch.problem() is None and meets(content, stages, arch):
                ids.add(arch.id)
    return ids


# What random spaces choose from: values that often build the same layers, or that do not go together.
POOLS: dict[str, list[Any]] = {
    "downsample": ["conv", "block", "none", "mbconv", "patch_embed", "patch", "merge"],
    "stride": [1, 2],
    "channels": [8, 16, 24],
    "depth": [0, 1, 2],
    "expansion": [2, 2.1],
    "kernel": [1, 3],
    "branches": ["none", "repvgg", "acb", "dbb", "mobileone"],
    "se": [0, 0.1, 0.12],
    "act": ["relu", "silu", "gelu"],
    "attention": [False, True],
    "head_dim": [4, 8],
    "heads": [2, 4],
    "width": [12, 24],
    "patch": [1, 2],
    "window": [4, 7, 8],
    "reduction": [1, 2, 4],
    "tokens": [0, 1],
    "position": ["none", "sine"],
    "cpe": [False, True],
}
POOLED_BLOCKS = {block: fields for block, fields in BLOCK_FIELDS.items() if set(fields) <= set(POOLS)}
STEMS = {"kind": ["conv", "conv_bias", "mobileone", "patch", "repvgg", "resnet"], "channels": [8, 16]}
HEADS = {"kind": ["linear", "norm", "token", "conv", "mobileone"], "expansion": [2, 2.2, 4]}
CONSTRAINTS = {
    "channels": ["non-decreasing", "increasing"],
    "attention": ["last 1 stage"],
    "width": ["at most 2x channels"],
    "stride": [8, 16],
}


@st.composite
def contents(draw: st.DrawFn, most: int = 60) -> Content:
    """The content of a space's file with at most `most` settings, some of which may not be possible.

    The fields that a block reads are given choices first, since there settings build the same network most often.
    """
    left = most

    def some(pool: list[Any], fewest: int = 1) -> list[Any]:
        nonlocal left
        most_now = max(1, min(left, 3))
        values = draw(st.lists(st.sampled_from(pool), min_size=min(fewest, most_now), max_size=most_now, unique=True))
        left //= len(values)
        return values

    stages = []
    for _ in range(draw(st.integers(1, 2))):
        blocks = draw(st.lists(st.sampled_from(list(POOLED_BLOCKS)), min_size=1, max_size=2, unique=True))
        left = max(1, left // len(blocks))
        own = draw(st.permutations(sorted({field for block in blocks for field in POOLED_BLOCKS[block]})))
        table = {"block": blocks} | {field: some(POOLS[field], fewest=2) for field in own[:3]}
        table["downsample"] = some(POOLS["downsample"], fewest=2)
        stages.append(table | {field: some(POOLS[field]) for field in ("channels", "depth", "stride")})
    content = {"resolution": some([32, 64]), "stages": stages}
    content["stem"], content["head"] = ({name: some(pool) for name, pool in ends.items()} for ends in (STEMS, HEADS))
    asked = draw(st.lists(st.sampled_from(list(CONSTRAINTS)), max_size=1))
    return content | {"constraints": {name: draw(st.sampled_from(CONSTRAINTS[name])) for name in asked}}


@st.composite
def spaces(draw: st.DrawFn, most: int = 60) -> SearchSpace:
    """A random space that holds something."""
    try:
        return SearchSpace.from_dict(draw(contents(most)))
    except UserError:
        reject()
