"""What norms and activations cost. Their modules: `norm.py`."""

from __future__ import annotations

from nasbench.arch.metablock import Norm
from nasbench.blocks.op import Tape

# kind of a norm -> name of the operator, what fvcore 0.1.5 counts for an element in eval mode
NORM_COSTS = {"bn": ("batch_norm", 2), "ln": ("layer_norm", 5), "gn": ("group_norm", 5)}


def norm_cost(tape: Tape, norm: Norm | None, channels: int, area: int) -> None:
    """Record a norm of a map of `area` positions: scale and shift are 2 parameters a channel."""
    if norm:
        kind, per_element = NORM_COSTS[norm.kind]
        elements = channels * area
        tape.add("norm", kind, inputs=elements, outputs=elements, flops=per_element * elements, params=2 * channels)


def act_cost(tape: Tape, name: str | None, elements: int) -> None:
    """Record an activation: the papers count it as nothing."""
    if name:
        tape.add("act", f"act:{name}", inputs=elements, outputs=elements)
