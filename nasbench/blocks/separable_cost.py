"""What separable self-attention costs. Its module: `separable.py`."""

from __future__ import annotations

from nasbench.arch.extent import Extent
from nasbench.arch.metablock import SeparableAttention
from nasbench.blocks.norm_cost import act_cost
from nasbench.blocks.op import Tape


def separable_attention_cost(tape: Tape, spec: SeparableAttention, extent: Extent) -> Extent:
    """The weighted sum and the gate are elementwise: the papers count them as nothing."""
    c, area = spec.channels, extent.area
    elements = c * area
    tape.add_conv(c, 1 + 2 * c, (1, 1), area, area, bias=spec.bias)
    tape.add("softmax", "softmax", inputs=area, outputs=area, held=2 * elements)
    tape.add("weigh", "mul", inputs=elements + area, outputs=elements, held=elements)
    tape.add("context", "pool", inputs=elements, outputs=c * spec.patch**2, held=elements)
    act_cost(tape, "relu", elements)
    tape.add("gate", "mul", inputs=elements + c * spec.patch**2, outputs=elements)
    return extent
