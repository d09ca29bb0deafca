"""What the meta-block costs, and a sequence of them. Its module: `metablock.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from nasbench.arch.extent import Extent, round_up
from nasbench.arch.metablock import (
    Act,
    Attention,
    Conv,
    Embedding,
    MetaBlock,
    Nest,
    Norm,
    Pool,
    Resize,
    SeparableAttention,
    SpaceToDepth,
    SqueezeExcite,
)
from nasbench.blocks.attention_cost import attention_cost
from nasbench.blocks.conv_cost import conv_cost
from nasbench.blocks.embedding_cost import embedding_cost
from nasbench.blocks.norm_cost import act_cost, norm_cost
from nasbench.blocks.op import Op, Tape
from nasbench.blocks.separable_cost import separable_attention_cost
from nasbench.blocks.shapes_cost import aligned_resize_cost, copy_cost, max_pool_cost, resize_cost, space_to_depth_cost
from nasbench.blocks.squeeze_excite_cost import squeeze_excite_cost


def nest_cost(tape: Tape, spec: Nest, extent: Extent) -> Extent:
    """Record the blocks on every sub-grid, and what parts the map and joins it again."""
    channels, padded = spec.blocks[0].c_in, extent.map(lambda size: round_up(size, spec.patch))
    within = padded.map(lambda size: size // spec.patch)
    resize_cost(tape, channels, extent, padded)
    if spec.patch > 1:
        copy_cost(tape, channels * padded.area, "fold")
    with tape.batched(spec.patch**2):
        blocks_cost(tape, spec.blocks, within)
        norm_cost(tape, spec.norm, channels, within.area)
    if spec.patch > 1:
        copy_cost(tape, channels * padded.area, "unfold")
    resize_cost(tape, channels, padded, extent)
    return extent


# type of a mixer's value -> what records its operators on a map and says what becomes of the map
MIXER_COSTS: dict[type, Callable[[Tape, Any, Extent], Extent]] = {
    Conv: conv_cost,
    Attention: attention_cost,
    SeparableAttention: separable_attention_cost,
    SqueezeExcite: squeeze_excite_cost,
    Pool: max_pool_cost,
    SpaceToDepth: space_to_depth_cost,
    Resize: aligned_resize_cost,
    Embedding: embedding_cost,
    Nest: nest_cost,
}
# type of what may stand behind the sum -> the same, of a map of so many channels
POST_COSTS: dict[type, Callable[[Tape, Any, int, Extent], object]] = {
    Norm: lambda tape, norm, channels, extent: norm_cost(tape, norm, channels, extent.area),
    SqueezeExcite: lambda tape, gate, channels, extent: squeeze_excite_cost(tape, gate, extent),
    Act: lambda tape, act, channels, extent: act_cost(tape, act.name, channels * extent.area),
}


def metablock_cost(tape: Tape, spec: MetaBlock, extent: Extent) -> Extent:
    """Record the block's operators on a map of this extent; the extent of its output."""
    before = extent
    if spec.skip:
        extent = _branch_beside_skip_cost(tape, spec, extent)
    else:
        extent = _branch_cost(tape, spec, extent)
    elements = spec.c_out * extent.area
    if isinstance(spec.skip, Conv):
        with tape.holding(elements):
            conv_cost(tape, spec.skip, before)
    if spec.skip and spec.skip != "concat":
        tape.add("skip", "add", inputs=2 * elements, outputs=elements)
    for item in spec.post:
        POST_COSTS[type(item)](tape, item, spec.c_out, extent)
    return extent


def _branch_beside_skip_cost(tape: Tape, spec: MetaBlock, extent: Extent) -> Extent:
    """The branch while X waits in memory; its first operator reads X itself, which is not there twice."""
    waiting, first = spec.c_in * extent.area, len(tape.ops)
    with tape.holding(waiting):
        extent = _branch_cost(tape, spec, extent)
    if len(tape.ops) > first and not tape.ops[first].in_place:
        tape.ops[first] = tape.ops[first].holding_less(waiting * tape.batch)
    return extent


def _branch_cost(tape: Tape, spec: MetaBlock, extent: Extent) -> Extent:
    """γ · P( M1( E( M0( N(X) ) ) ) )."""
    norm_cost(tape, spec.pre_norm, spec.c_in, extent.area)
    for mixer in spec.before:
        extent = MIXER_COSTS[type(mixer)](tape, mixer, extent)
    if spec.expand:
        extent = conv_cost(tape, spec.expand, extent)
    for mixer in spec.mix:
        extent = MIXER_COSTS[type(mixer)](tape, mixer, extent)
    for index, conv in enumerate(spec.project):
        if spec.skip == "concat" and index + 1 == len(spec.project):
            elements = conv.c_in * extent.area
            tape.add("concat", "concat", inputs=elements, outputs=elements, held=-spec.c_in * extent.area)
        extent = conv_cost(tape, conv, extent)
    if spec.layer_scale is not None:
        elements = spec.c_out * extent.area
        tape.add("layer scale", "mul", inputs=elements, outputs=elements, params=spec.c_out)
    return extent


def blocks_cost(tape: Tape, blocks: tuple[MetaBlock, ...], extent: Extent) -> Extent:
    """Record blocks in order; repeated ones are one object, and are looked up once for a map size."""
    known: dict[tuple[int, Extent], tuple[tuple[Op, ...], Extent]] = {}
    for block in blocks:
        key = (id(block), extent)
        if key not in known:
            known[key] = _recorded(block, extent, tape.stage, tape.batch, tape.held)
        ops, extent = known[key]
        tape.ops += ops
    return extent


@lru_cache(1 << 12)
def _recorded(block: MetaBlock, extent: Extent, stage: str, batch: int, held: int) -> tuple[tuple[Op, ...], Extent]:
    """The operators of a block on a tape in this state, and the extent of its output; kept, since relatives of a
    network share most of their blocks."""
    tape = Tape(stage)
    tape.batch, tape.held = batch, held
    extent = metablock_cost(tape, block, extent)
    return tuple(tape.ops), extent
