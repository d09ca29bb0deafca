"""What softmax attention over the positions of a map costs. Its module: `attention.py`."""

from __future__ import annotations

from nasbench.arch.extent import Extent, round_up
from nasbench.arch.metablock import Attention, Norm
from nasbench.blocks.norm_cost import norm_cost
from nasbench.blocks.op import Tape
from nasbench.blocks.shapes_cost import copy_cost, pad_cost, resize_cost
from nasbench.blocks.windows_cost import bias_cost

REDUCTION_NORM = Norm("ln", 1e-5)  # PVT's, arXiv:2102.12122


def attention_cost(tape: Tape, spec: Attention, extent: Extent) -> Extent:
    """Q·Kᵀ and A·V are counted as multiply-adds, softmax and scaling as nothing, like the papers."""
    partition, c = spec.partition, spec.channels
    if partition.kind == "global":
        _attend_cost(tape, spec, extent, extent, 1)
        return extent
    padded = extent.map(lambda size: round_up(size, partition.size))
    (resize_cost if partition.kind == "groups" else pad_cost)(tape, c, extent, padded)
    if partition.kind == "groups":
        count, within = partition.size**2, padded.map(lambda size: size // partition.size)
    else:
        count, within = padded.area // partition.size**2, Extent(partition.size, partition.size)
    if partition.shift:
        copy_cost(tape, c * padded.area, "roll")
    moves = count > 1
    if moves:
        copy_cost(tape, c * padded.area, "fold")
    _attend_cost(tape, spec, padded, within, count)
    if moves:
        copy_cost(tape, c * padded.area, "unfold")
    if partition.shift:
        copy_cost(tape, c * padded.area, "roll back")
    if partition.kind == "groups":
        resize_cost(tape, c, padded, extent)
    return extent


def _attend_cost(tape: Tape, spec: Attention, extent: Extent, group: Extent, count: int) -> None:
    """Attention within each of `count` groups of positions of the map."""
    c, tokens = spec.channels, group.area
    reduced = _projections_cost(tape, spec, extent)
    keys = tokens if reduced is None else reduced
    scores, value, key = spec.heads * tokens * keys, c * tokens, c * keys
    held = (2 if spec.values == "projected" else 1) * key
    with tape.batched(count):
        tape.add("scale", "mul", inputs=value, outputs=value, held=held)
        tape.add("scores", "matmul", inputs=value + key, outputs=scores, macs=c * tokens * keys, held=key)
    if spec.relative_bias:
        bias_cost(tape, spec, scores * count)
    with tape.batched(count):
        tape.add("softmax", "softmax", inputs=scores, outputs=scores, held=key)
        tape.add("weigh", "matmul", inputs=scores + key, outputs=value, macs=c * tokens * keys)


def _projections_cost(tape: Tape, spec: Attention, extent: Extent) -> int | None:
    """Queries, keys and values; how many keys there are where they come from a reduced map, or None."""
    c, area, kind = spec.channels, extent.area, "linear" if spec.linear else ""
    if spec.reduction <= 1:
        features = 3 * c if spec.values == "projected" else 2 * c
        tape.add_conv(c, features, (1, 1), area, area, bias=spec.bias, kind=kind)
        return None
    tape.add_conv(c, c, (1, 1), area, area, bias=spec.bias, kind=kind)
    keys, side = extent.map(lambda size: size // spec.reduction).area, (spec.reduction, spec.reduction)
    with tape.holding(c * area):
        tape.add_conv(c, c, side, area, keys, spec.reduction, bias=True)
        norm_cost(tape, REDUCTION_NORM, c, keys)
        tape.add_conv(c, 2 * c, (1, 1), keys, keys, bias=spec.bias, kind=kind)
    return keys
