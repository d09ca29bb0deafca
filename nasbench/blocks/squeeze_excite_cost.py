"""What squeeze-and-excitation costs. Its module: `squeeze_excite.py`."""

from __future__ import annotations

from nasbench.arch.extent import Extent
from nasbench.arch.metablock import SqueezeExcite
from nasbench.blocks.norm_cost import act_cost
from nasbench.blocks.op import Tape


def squeeze_excite_cost(tape: Tape, spec: SqueezeExcite, extent: Extent) -> Extent:
    """Pooling, two 1x1 convolutions of a single position while the map waits, the gate."""
    channels, hidden, elements = spec.channels, spec.hidden, spec.channels * extent.area
    tape.add("pool", "pool", inputs=elements, outputs=channels)
    with tape.holding(elements):
        tape.add_conv(channels, hidden, (1, 1), 1, 1, bias=True, name="reduce")
        act_cost(tape, spec.act, hidden)
        tape.add_conv(hidden, channels, (1, 1), 1, 1, bias=True, name="expand")
        act_cost(tape, "sigmoid", channels)
    tape.add("gate", "mul", inputs=elements + channels, outputs=elements)
    return extent
