"""The network that is trained in place of a design at a fidelity: fewer channels, smaller images, fewer strides.

The reduction, stated once: images shrink to `resolution_scale` of the design's resolution, and as many strides of two
are removed, from the front (stem first, then the earliest strided stages), that later feature maps have `map_scale` of
their deployed size. With 1/8 and 1/2, as in the shipped recipes, a 256 px design of total stride 32
trains on 32 px with total stride 8, and its last map is 4 x 4 instead of 8 x 8: attention still has several positions.
Sides are rounded up to `image_multiple`, so that a 224 px design sees 32 px too and no map is cut. A patch embedding
keeps at least `smallest_patch` pixels a side, since one pixel shows no shape; later stages lose a stride in its place.
Channels are multiplied by `width`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from nasbench.arch.architecture import Architecture
from nasbench.arch.parts import Head, Stage, Stem
from nasbench.errors import UserError
from nasbench.study.fidelity import Fidelity

CHANNEL_MULTIPLE = 4  # with coarser rounding neighbouring choices would become the same network
MIN_CHANNELS = 8
MIN_HEAD_DIM = 4
MIN_MAP = 2  # side of the last feature map; over 1 x 1 attention has no effect


def reduced(arch: Architecture, fidelity: Fidelity) -> Architecture:
    """The network that is trained in place of `arch` at this fidelity.

    Channels become multiples of 4 (at least 8); heads and head dimension shrink by sqrt(width) each, so that a design
    keeps both several heads and a usable dimension; attention windows shrink with the maps; where attention reduces
    keys and values, at least 2 x 2 of them are kept. A network with parts given as slots keeps its widths and the
    strides of these parts, and gets larger images for them. UserError where the last map would be smaller than MIN_MAP.
    """
    width = 1.0 if is_spelled_out(arch) else fidelity.width
    size = fidelity.image_size(arch.resolution)
    stem, stages, left = _without_strides(arch, fidelity, size)
    size <<= left
    small = arch.model_copy(
        update={
            "resolution": size,
            "stem": stem.model_copy(update={"channels": scaled_channels(stem.channels, width)}),
            "stages": tuple(_reduced_stages(stages, width, fidelity.map_scale, size // stem.total_stride)),
            "head": _reduced_head(arch.head, width),
        }
    )
    if size < MIN_MAP * small.total_stride:
        raise UserError(
            f"{arch.label}: {arch.resolution} px becomes {size} px with total stride {small.total_stride} at this "
            f"fidelity, less than {MIN_MAP} x {MIN_MAP} at the end; use a larger resolution_scale"
        )
    return small


def is_spelled_out(arch: Architecture) -> bool:
    """Whether parts of the network are given as slots, whose widths and strides cannot be changed."""
    present = [stage for stage in arch.stages if stage.depth]
    return arch.stem.kind == "slots" or any("slots" in (stage.block, stage.downsample) for stage in present)


def scaled_channels(channels: int, width: float) -> int:
    """Channels x `width`, rounded to CHANNEL_MULTIPLE, at least MIN_CHANNELS or as many as before."""
    if width == 1:
        return channels
    return max(min(MIN_CHANNELS, channels), CHANNEL_MULTIPLE * round(channels * width / CHANNEL_MULTIPLE))


def _without_strides(arch: Architecture, fidelity: Fidelity, size: int) -> tuple[Stem, list[Stage], int]:
    """The stem and stages without `strides_out` strides of two, from the front; one stage always keeps its stride.

    Third, of a network with slots, the number of strides that could not be removed; else 0.
    """
    stem, count = _without_stem_strides(arch.stem, fidelity, size)
    stages = []
    strided = sum(stage.depth > 0 and stage.stride == 2 for stage in arch.stages)
    for stage in arch.stages:
        if stage.depth and stage.stride == 2 and stage.downsample != "slots" and count and strided > 1:
            stage = stage.model_copy(update={"stride": 1})
            count, strided = count - 1, strided - 1
        stages.append(stage)
    return stem, stages, count if is_spelled_out(arch) else 0


def _without_stem_strides(stem: Stem, fidelity: Fidelity, size: int) -> tuple[Stem, int]:
    """The stem with its stride halved up to `strides_out` times, and the number of strides that are left to remove.

    A patch embedding keeps at least `smallest_patch`: patches of one pixel have a colour and no shape.
    """
    count, stride, taken = fidelity.strides_out, float(stem.total_stride), 0
    if stem.kind == "slots":
        return stem, count
    smallest = fidelity.smallest_patch if stem.kind == "patch" else 1
    while stride > smallest and taken < count:
        stride, taken = stride / 2, taken + 1
    divisors = [side for side in range(2, size // MIN_MAP + 1) if size % side == 0]
    if stem.kind == "patch" and stride > 1 and divisors:  # patches of 14 or 32 become the nearest that divide the image
        stride = _nearest(divisors, stride)
    return stem.model_copy(update={"stride": int(stride)}), count - taken


def _reduced_stages(stages: Sequence[Stage], width: float, map_scale: float, side: int) -> Iterator[Stage]:
    """The reduced stages after a stem whose map has `side`."""
    for stage in stages:
        side = side // stage.stride if stage.depth else side
        yield _reduced_stage(stage, width, map_scale, side)


def _reduced_stage(stage: Stage, width: float, map_scale: float, side: int) -> Stage:
    channels = scaled_channels(stage.channels, width)
    changes: dict[str, Any] = {"channels": channels, "window": math.ceil(stage.window * map_scale)}
    changes["reduction"] = max(1, min(stage.reduction, side // MIN_MAP))
    if width != 1:
        changes["head_dim"] = _divisor_near(channels, stage.head_dim * math.sqrt(width))
        changes["heads"], changes["width"] = _reduced_heads(stage.heads, stage.inner_width, width, 1)
    return stage.model_copy(update=changes)


def _reduced_head(head: Head, width: float) -> Head:
    if width == 1:
        return head
    if head.kind == "decoder":
        heads, inner = _reduced_heads(head.heads, head.decoder_width, width, MIN_HEAD_DIM)
        return head.model_copy(update={"heads": heads, "width": inner})
    return head.model_copy(update={"width": scaled_channels(head.width, width)}) if head.width else head


def _reduced_heads(heads: int, channels: int, width: float, multiple: int) -> tuple[int, int]:
    """The number of heads, and the channels of all together; those of each are a multiple of `multiple`."""
    heads = max(1, round(heads * math.sqrt(width)))
    each = multiple * round(channels * width / heads / multiple)
    return heads, heads * max(MIN_HEAD_DIM, each)


def _divisor_near(channels: int, target: float) -> int:
    """The divisor of `channels`, at least 4, nearest to `target` by ratio."""
    return _nearest([d for d in range(min(MIN_HEAD_DIM, channels), channels + 1) if channels % d == 0], target)


def _nearest(options: Sequence[int], target: float) -> int:
    """The option nearest to `target` by ratio."""
    return min(options, key=lambda option: abs(math.log(option / target)))
