"""Change a design's depth, width and resolution, rounded to what its blocks can have.

Only these fields are changed: channels, depth, heads, head_dim, a mobilevit's inner width, attention
windows and patches (both follow the resolution). Whatever else a stage holds stays as it is, and the architecture's own
rules decide whether the result is a network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from nasbench.arch.architecture import Architecture
from nasbench.arch.metablock import MAX_CHANNELS
from nasbench.arch.part_rules import stage_problem
from nasbench.arch.parts import Stage, effective_fields
from nasbench.errors import UserError
from nasbench.scaling.rules import Factors
from nasbench.values import first_problem

CHANNEL_STEP = 8  # as MobileNet rounds; a design with a finer step keeps its own
FINE_STEP = 4  # where steps of 8 are too coarse to meet a target
MIN_CHANNELS = 8
STEM = -1  # the stem, in place of the index of a stage
HEAD_DIM_STEP = 4
HEAD_DIM_DRIFT = 1.5  # factor by which a head may grow or shrink, so that channels need not be multiples of it
RESOLUTION_STEP = 8
MIN_LAST_MAP = 2  # side of the last stage's map
HEAD_DIM_WEIGHT = 0.15  # of a change of head dimension (in ln) against one of channels, when options are compared
WINDOW_DRIFT = 1.6  # factor by which an attention window may change to divide the map that it tiles
SEARCH_STEPS = 24  # channel steps tried on either side of the wanted width


def resize(arch: Architecture, factors: Factors) -> Architecture:
    """`arch` with its depth, width and resolution multiplied by `factors`, as near as rounding allows; UserError."""
    stages = tuple(_deeper(stage, factors.depth) for stage in arch.stages)
    changed = arch.model_copy(update={"name": "", "stages": stages})
    for index in width_knobs(arch):
        own = arch.stem.channels if index == STEM else arch.stages[index].channels
        wanted = own * factors.width
        if wanted > MAX_CHANNELS:
            most = f"{wanted:.3g} channels, {MAX_CHANNELS} at most"
            raise UserError(f"a design cannot be resized so far: {most}; choose another target")
        changed = with_channels(changed, arch, index, wanted) or changed
    return fresh(_with_resolution(changed, arch, arch.resolution * factors.resolution))


def fresh(arch: Architecture) -> Architecture:
    """The same value validated, without the id and network that `model_copy` took over in its cache; UserError."""
    try:
        return Architecture.model_validate(arch.model_dump())
    except ValidationError as error:
        problem = first_problem(error, Architecture)
        raise UserError(f"a design cannot be resized so far: {problem}; choose another target") from None


def is_tied(arch: Architecture, index: int) -> bool:
    """Whether stage `index` has no transition, so that its channels are those of the stage or stem before it."""
    return arch.stages[index].depth > 0 and arch.stages[index].downsample == "none"


def width_knobs(arch: Architecture) -> list[int]:
    """STEM and the indices of stages whose channels are free; tied stages follow the one before.

    Blocks and transitions spelled out as slots hold their own channel numbers, so neither they nor what leads into them
    can change.
    """
    present = [STEM, *(i for i, stage in enumerate(arch.stages) if stage.depth)]
    free = []
    for position, index in enumerate(present):
        follower = present[position + 1] if position + 1 < len(present) else None
        spelled = any(i is not None and _is_spelled(arch, i) for i in (index, follower))
        if not spelled and (index == STEM or not is_tied(arch, index)):
            free.append(index)
    return free


def _is_spelled(arch: Architecture, index: int) -> bool:
    """Whether a part is given as slots."""
    if index == STEM:
        return arch.stem.kind == "slots"
    return arch.stages[index].block == "slots" or bool(getattr(arch.stages[index], "entry", ()))


def with_channels(
    arch: Architecture, base: Architecture, index: int, wanted: float, fine: bool = False
) -> Architecture | None:
    """`arch` with about `wanted` channels in stage `index` and those tied to it; None where none fit.

    base: the design that is scaled, whose channel steps (at most 4 with `fine`) and head dimensions are kept.
    """
    own = base.stem.channels if index == STEM else base.stages[index].channels
    options: list[tuple[float, int, tuple[Stage, ...]]] = []
    for channels in _near(own, wanted, fine):
        if options and abs(math.log(channels / wanted)) > min(option[0] for option in options):
            break
        stages = _set_from(arch, base, index, channels)
        if stages is not None:
            drift = max((abs(math.log(a.head_dim / b.head_dim)) for a, b in zip(stages, base.stages)), default=0.0)
            options.append((abs(math.log(channels / wanted)) + HEAD_DIM_WEIGHT * drift, channels, stages))
    if not options:
        return None
    _, channels, stages = min(options, key=lambda option: option[0])
    stem = arch.stem.model_copy(update={"channels": channels}) if index == STEM else arch.stem
    return arch.model_copy(update={"stem": stem, "stages": stages})


def channel_step(base_channels: int, fine: bool = False) -> int:
    """The largest divisor of the design's channels among 8, 4, 2, 1; with `fine` at most 4."""
    return math.gcd(base_channels, FINE_STEP if fine else CHANNEL_STEP)


def _near(base: int, wanted: float, fine: bool) -> Iterator[int]:
    """Multiples of the step, nearest to `wanted` first."""
    step = channel_step(base, fine)
    centre = round(wanted / step)
    around = range(max(1, centre - SEARCH_STEPS), centre + SEARCH_STEPS + 1)
    yield from sorted((k * step for k in around if k * step >= min(base, MIN_CHANNELS)), key=lambda c: abs(c - wanted))


def deeper(arch: Architecture, index: int, blocks: int) -> Architecture | None:
    """`arch` with `blocks` more (or, if negative, fewer) in one stage; None below the least that the stage needs."""
    stage = arch.stages[index]
    if stage.depth + blocks < _least_depth(stage):
        return None
    stages = list(arch.stages)
    stages[index] = stage.model_copy(update={"depth": stage.depth + blocks})
    return arch.model_copy(update={"stages": tuple(stages)})


def _set_from(arch: Architecture, base: Architecture, index: int, channels: int) -> tuple[Stage, ...] | None:
    """All stages with `channels` in stage `index` and in those tied to it; None where one cannot have them."""
    stages = list(arch.stages)
    for position in range(max(index, 0), len(stages)):
        if not stages[position].depth:
            continue
        if position > index and not is_tied(arch, position):
            break
        fitted = _fitted(stages[position], base.stages[position], channels)
        if fitted is None:
            return None
        stages[position] = fitted
    return tuple(stages)


def _fitted(stage: Stage, base: Stage, channels: int) -> Stage | None:
    """`stage` with `channels`, its heads and inner width chosen to suit; None where nothing suits."""
    if base.block == "slots" and channels != base.channels:
        return None
    names, changes = effective_fields(base), {"channels": channels}
    if "head_dim" in names:
        head_dim = _head_dim(channels, base)
        if head_dim is None:
            return None
        changes["head_dim"] = head_dim
    if "width" in names:
        changes["width"] = _inner_width(base, channels)
    elif "heads" in names:
        changes["heads"] = _heads(channels, base)
    changed = stage.model_copy(update=changes)
    return None if stage_problem(changed, channels) and not stage_problem(base, base.channels) else changed


def _head_dim(channels: int, base: Stage) -> int | None:
    """The divisor of `channels` nearest to the design's head dimension, within HEAD_DIM_DRIFT; None where none is."""
    step = math.gcd(base.head_dim, HEAD_DIM_STEP)
    fits = [d for d in range(step, channels + 1, step) if channels % d == 0]
    near = [d for d in fits if 1 / HEAD_DIM_DRIFT <= d / base.head_dim <= HEAD_DIM_DRIFT]
    if near:
        return min(near, key=lambda d: abs(math.log(d / base.head_dim)))
    return channels if channels < base.head_dim else None  # a narrow stage keeps one head


def _heads(channels: int, base: Stage) -> int:
    """The number of heads, a divisor of `channels`, whose channels per head are nearest to the design's."""
    wanted = channels * base.heads / base.channels
    return min((h for h in range(1, channels + 1) if channels % h == 0), key=lambda h: abs(math.log(h / wanted)))


def _inner_width(base: Stage, channels: int) -> int:
    """A mobilevit's inner channels in proportion, a multiple of its heads and of the step of its head dimension."""
    head_dim = base.inner_width // base.heads
    step = base.heads * math.gcd(head_dim, HEAD_DIM_STEP)
    return max(1, round(base.inner_width * channels / base.channels / step)) * step


def _deeper(stage: Stage, factor: float) -> Stage:
    """`stage` with its depth times `factor`: at least one block, and one that attends where the design has one."""
    if not stage.depth:
        return stage
    depth = max(min(_least_depth(stage), stage.depth), math.floor(stage.depth * factor + 0.5))
    return stage.model_copy(update={"depth": depth})


def _least_depth(stage: Stage) -> int:
    """1, or 2 where the first block downsamples and so cannot attend."""
    return 1 + (stage.downsample == "block" and stage.attends)


def _with_resolution(arch: Architecture, base: Architecture, wanted: float) -> Architecture:
    """The nearest resolution that the network can have; attention windows and patches follow it."""
    stride = base.total_stride
    step = math.lcm(stride, RESOLUTION_STEP) if base.resolution % math.lcm(stride, RESOLUTION_STEP) == 0 else stride
    least = min(base.resolution, MIN_LAST_MAP * stride)
    centre = round(wanted / step)
    sizes = [k * step for k in range(max(1, centre - 8), centre + 9) if least <= k * step <= 4096]
    for size in sorted({*sizes, base.resolution}, key=lambda size: abs(size - wanted)):
        changed = arch.model_copy(update={"resolution": size, "stages": _with_windows_and_patches(arch, base, size)})
        if changed.problem() is None:
            return changed
    return arch.model_copy(update={"resolution": base.resolution})


def _with_windows_and_patches(arch: Architecture, base: Architecture, resolution: int) -> tuple[Stage, ...]:
    """The stages of `arch` with windows and patches for `resolution`."""
    stride, stages = base.stem.total_stride, []
    for stage, own in zip(arch.stages, base.stages):
        stride *= own.stride if own.depth else 1
        changes: dict[str, Any] = {}
        names = effective_fields(own)
        if "window" in names and own.depth:
            changes["window"] = _window(own.window, base.resolution // stride, resolution // stride)
        if "patch" in names and own.attends:
            halvings = math.trunc(math.log2(resolution / base.resolution) * 1.001)
            changes["patch"] = max(1, round(own.patch * 2.0**halvings))
        stages.append(stage.model_copy(update=changes) if changes else stage)
    return tuple(stages)


def _window(window: int, old_map: int, new_map: int) -> int:
    """The divisor of the new map nearest to the old window, where the old one tiled its map; else the old one."""
    if old_map % window or new_map % window == 0:
        return window
    near = [d for d in range(2, new_map + 1) if new_map % d == 0 and 1 / WINDOW_DRIFT <= d / window <= WINDOW_DRIFT]
    return min(near, key=lambda d: abs(math.log(d / window)), default=window)
