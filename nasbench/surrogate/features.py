"""A design as a feature vector: its fields stage by stage, and sums over the reduced network that is trained.

The vector has one length for every architecture. Seven slots describe the last seven stages, the last stage in the last
slot, so that stages with maps of the same size share a slot; earlier stages count in the totals alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import get_args

import numpy as np

from nasbench.arch.architecture import Architecture, require_architecture
from nasbench.arch.parts import BLOCK_FIELDS, HEAD_FIELDS, STEM_FIELDS, Branches, Downsample, Stage, effective_fields
from nasbench.errors import UserError, shown
from nasbench.proxy.reduction import reduced
from nasbench.study.fidelity import Fidelity, Recipe
from nasbench.surrogate.walk import COUNTED, KINDS, SUMS, Part, Walk, walk

SLOTS = 7  # stages described one by one
CACHED = 1 << 13  # designs whose vectors are kept, of 3 kB each
BLOCKS, TRANSITIONS, BRANCHES = tuple(BLOCK_FIELDS), get_args(Downsample), get_args(Branches)
STEMS, HEADS = tuple(STEM_FIELDS), tuple(HEAD_FIELDS)
LOGARITHMIC = ("expansion", "head_dim", "patch", "window", "reduction", "downsample_expansion")  # fields read as log2
STAGE = (
    "present", "channels", "depth", "stride", *LOGARITHMIC, "kernel", "se", "attends", "inner", "cpe",
    *(f"block {name}" for name in BLOCKS), *(f"transition {name}" for name in TRANSITIONS),
    *(f"branches {name}" for name in BRANCHES),
)  # fmt: skip
TRAINED_STAGE = ("trained channels", "trained side", "trained macs share", "trained params share")
TOTALS = ("macs", "params", "activations", "layers", *(f"share {kind}" for kind in KINDS))
TRAINED_TOTALS = (*COUNTED, "blocks", "without skip", "longest chain")
ENDS = ("resolution", "stem channels", "stem stride", "trained resolution", "trained stem stride", "head width")
FEATURES = (
    *(f"stage {slot + 1 - SLOTS} {name}" for slot in range(SLOTS) for name in (*STAGE, *TRAINED_STAGE)),
    *(f"design {name}" for name in TOTALS), *(f"trained {name}" for name in (*TOTALS, *TRAINED_TOTALS)),
    *(f"depth of {name}" for name in BLOCKS), *(f"macs share of {name}" for name in BLOCKS),
    *ENDS, *(f"stem {name}" for name in STEMS), *(f"head {name}" for name in HEADS),
)  # fmt: skip


def features(archs: Sequence[Architecture], fidelity: Recipe) -> np.ndarray:
    """(n, len(FEATURES)) of the designs as they are trained at this fidelity, whatever its number of samples.

    UserError for a block without a feature, or images too small for the design.
    """
    recipe = fidelity.at(1) if not isinstance(fidelity, Fidelity) else fidelity.recipe.at(1)
    return np.array([_vector(arch, recipe) for arch in archs]).reshape(len(archs), len(FEATURES))


@lru_cache(CACHED)
def _vector(arch: Architecture, fidelity: Fidelity) -> np.ndarray:
    require_architecture(arch)
    small = reduced(arch, fidelity)
    _require_known(arch)
    design, trained = walk(arch, deploy=True), walk(small, deploy=False)
    present = [stage for stage in arch.stages if stage.depth]
    small_present = [stage for stage in small.stages if stage.depth]
    total = _total(trained)
    empty = (0.0,) * (len(STAGE) + len(TRAINED_STAGE))
    slots = [
        (*_stage_fields(stage), *_trained_stage(small_stage, part, total))
        for stage, small_stage, part in zip(present, small_present, trained.stages)
    ][-SLOTS:]
    numbers = [value for slot in (*[empty] * (SLOTS - len(slots)), *slots) for value in slot]
    numbers += [*_totals(_total(design)), *_totals(total), *_trained_totals(trained, total)]
    numbers += [*_by_block(present, trained, total), *_ends(arch, small)]
    vector = np.array(numbers)
    vector.flags.writeable = False
    return vector


def _require_known(arch: Architecture) -> None:
    for index, stage in enumerate(arch.stages):
        if stage.block not in BLOCKS:
            known = ", ".join(BLOCKS)
            raise UserError(
                f"{arch.label}: stages[{index}]: block {shown(stage.block)} has no features; known blocks: {known}"
            )


@lru_cache(CACHED)
def _stage_fields(stage: Stage) -> tuple[float, ...]:
    """The fields that take effect; one without effect is 0."""
    effective = effective_fields(stage)
    logs = [math.log2(getattr(stage, name)) if name in effective else 0.0 for name in LOGARITHMIC]
    inner = math.log2(stage.inner_width / stage.channels) if "width" in BLOCK_FIELDS[stage.block] else 0.0
    branches = stage.branches if "branches" in effective else ""
    return (
        1.0, math.log2(stage.channels), math.log2(1 + stage.depth), float(stage.stride - 1), *logs,
        stage.kernel / 2 if "kernel" in effective else 0.0, stage.se if "se" in effective else 0.0,
        float(stage.attends), inner, float(stage.cpe and "cpe" in effective),
        *_one_hot(stage.block, BLOCKS), *_one_hot(stage.downsample, TRANSITIONS), *_one_hot(branches, BRANCHES),
    )  # fmt: skip


def _one_hot(value: str, values: Sequence[str]) -> list[float]:
    return [float(value == each) for each in values]


def _total(network: Walk) -> np.ndarray:
    return np.sum([part.sums for part in network.parts], axis=0)


def _macs(sums: np.ndarray) -> float:
    return float(sums[: len(KINDS)].sum())


def _trained_stage(stage: Stage, part: Part, total: np.ndarray) -> tuple[float, ...]:
    params = SUMS.index("params")
    return (
        math.log2(stage.channels), math.log2(part.extent.area) / 2,
        _macs(part.sums) / _macs(total), float(part.sums[params] / total[params]),
    )  # fmt: skip


def _totals(total: np.ndarray) -> list[float]:
    sizes = [_macs(total), *(total[SUMS.index(name)] for name in ("params", "activations", "layers"))]
    return [*np.log2(sizes), *(total[: len(KINDS)] / _macs(total))]


def _trained_totals(trained: Walk, total: np.ndarray) -> list[float]:
    chain = trained.stem.chain
    for part in trained.parts[1:]:
        chain = chain.then(part.chain)
    blocks = sum(part.blocks for part in trained.parts)
    without_skip = sum(part.without_skip for part in trained.parts)
    counted = total[[SUMS.index(name) for name in COUNTED]]
    return [*np.log2(1 + counted), *np.log2(1 + np.array([blocks, without_skip, chain.longest]))]


def _by_block(present: Sequence[Stage], trained: Walk, total: np.ndarray) -> list[float]:
    """For each kind of block how many there are, and the share of the multiply-adds of its stages."""
    depth, share = dict.fromkeys(BLOCKS, 0.0), dict.fromkeys(BLOCKS, 0.0)
    for stage, part in zip(present, trained.stages):
        depth[stage.block] += stage.depth
        share[stage.block] += _macs(part.sums) / _macs(total)
    return [*(math.log2(1 + count) for count in depth.values()), *share.values()]


def _ends(arch: Architecture, small: Architecture) -> list[float]:
    stem, head = arch.stem, arch.head
    width = float(head.width or 0)
    if "expansion" in HEAD_FIELDS[head.kind] and not width:
        width = head.expansion * next(stage.channels for stage in reversed(arch.stages) if stage.depth)
    return [
        math.log2(arch.resolution), math.log2(stem.channels), math.log2(stem.total_stride),
        math.log2(small.resolution), math.log2(small.stem.total_stride), math.log2(1 + width),
        *_one_hot(stem.kind, STEMS), *_one_hot(head.kind, HEADS),
    ]  # fmt: skip
