"""What the relative position bias of windows costs. Its module: `windows.py`."""

from __future__ import annotations

from nasbench.arch.metablock import Attention
from nasbench.blocks.op import Tape


def bias_cost(tape: Tape, spec: Attention, scores: int) -> None:
    """Record the sum of the bias and this many scores; the table's entries are its parameters."""
    params = (2 * spec.partition.size - 1) ** 2 * spec.heads
    tape.add("bias", "add", inputs=2 * scores, outputs=scores, params=params)
