"""What changing a map's shape costs: pooling, space to depth, resizing, padding, copies. The modules: `shapes.py`."""

from __future__ import annotations

from nasbench.arch.extent import Extent, mixer_extent
from nasbench.arch.metablock import Pool, Resize, SpaceToDepth
from nasbench.blocks.op import Tape


def max_pool_cost(tape: Tape, spec: Pool, extent: Extent) -> Extent:
    """Record the pooling on a map of this extent; the extent of its output."""
    after = mixer_extent(spec, extent)
    tape.add("max pool", "pool", inputs=spec.channels * extent.area, outputs=spec.channels * after.area)
    return after


def space_to_depth_cost(tape: Tape, spec: SpaceToDepth, extent: Extent) -> Extent:
    """A copy of the padded map."""
    after = mixer_extent(spec, extent)
    padded = after.map(lambda size: size * spec.size)
    pad_cost(tape, spec.channels, extent, padded)
    copy_cost(tape, spec.channels * padded.area, "space to depth")
    return after


def aligned_resize_cost(tape: Tape, spec: Resize, extent: Extent) -> Extent:
    """Resizing to the next multiple; nothing where the sides are one."""
    after = mixer_extent(spec, extent)
    resize_cost(tape, spec.channels, extent, after)
    return after


def resize_cost(tape: Tape, channels: int, before: Extent, after: Extent) -> None:
    """Record a bilinear resize; nothing where the size is right already."""
    if before != after:
        outputs = channels * after.area
        tape.add("resize", "resize", inputs=channels * before.area, outputs=outputs, flops=4 * outputs)


def pad_cost(tape: Tape, channels: int, before: Extent, after: Extent) -> None:
    """Record a padding; nothing where the size is right already."""
    if before != after:
        tape.add("pad", "pad", inputs=channels * before.area, outputs=channels * after.area)


def copy_cost(tape: Tape, elements: int, name: str) -> None:
    """Record a rearrangement of a map in memory."""
    tape.add(name, "copy", inputs=elements, outputs=elements)
