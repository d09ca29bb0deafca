"""What the convolution unit costs. Its module: `conv.py`."""

from __future__ import annotations

from nasbench.arch.extent import Extent, mixer_extent
from nasbench.arch.metablock import Conv
from nasbench.blocks.branches_cost import BRANCH_COSTS
from nasbench.blocks.norm_cost import act_cost, norm_cost
from nasbench.blocks.op import Tape
from nasbench.blocks.squeeze_excite_cost import squeeze_excite_cost


def conv_cost(tape: Tape, spec: Conv, extent: Extent) -> Extent:
    """Record the operators of `spec` on a map of this extent; the extent of its output."""
    if not spec.residual:
        return _unit_cost(tape, spec, extent)
    with tape.holding(spec.c_in * extent.area):
        after = _unit_cost(tape, spec, extent)
    elements = spec.c_out * after.area
    tape.add("inner residual", "add", inputs=2 * elements, outputs=elements)
    return after


def _unit_cost(tape: Tape, spec: Conv, extent: Extent) -> Extent:
    """All but the inner residual."""
    after = mixer_extent(spec, extent)
    area = after.area
    if spec.branches:
        _branches_cost(tape, spec, extent, after)
    else:
        shape, kind = (spec.kernel, spec.kernel), "linear" if spec.linear else ""
        tape.add_conv(spec.c_in, spec.c_out, shape, extent.area, area, spec.stride, spec.groups, spec.bias, kind)
        norm_cost(tape, spec.norm, spec.c_out, area)
    act_cost(tape, spec.act, spec.c_out * area)
    if spec.se:
        squeeze_excite_cost(tape, spec.se, after)
    return after


def _branches_cost(tape: Tape, spec: Conv, before: Extent, after: Extent) -> None:
    """The branches and their sums."""
    elements, inputs = spec.c_out * after.area, spec.c_in * before.area
    for index, branch in enumerate(spec.branches):
        # The input waits for the later branches, the running sum for this one.
        later = index + 1 < len(spec.branches)
        with tape.holding((elements if index else 0) + (inputs if later and branch.kind == "identity" else 0)):
            BRANCH_COSTS[branch.kind](tape, spec, branch, before, after)
        if index:
            tape.add("sum", "add", inputs=2 * elements, outputs=elements)
