"""What position embeddings and learned tokens cost. Their module: `embedding.py`."""

from __future__ import annotations

from nasbench.arch.extent import Extent, mixer_extent, square
from nasbench.arch.metablock import Embedding
from nasbench.blocks.op import Tape


def embedding_cost(tape: Tape, spec: Embedding, extent: Extent) -> Extent:
    """Record resizing, adding and putting in front on a map of this extent; the extent of the output."""
    after, elements = mixer_extent(spec, extent), spec.channels * extent.area
    if spec.position != "none":
        own = square(spec.side)
        if spec.position == "interpolated" or extent != own:
            outputs = spec.channels * extent.area
            tape.add("resize", "resize", inputs=spec.channels * own.area, outputs=outputs, flops=4 * outputs)
        params = spec.channels * (own.area + spec.tokens)
        tape.add("positions", "add", inputs=2 * elements, outputs=elements, params=params)
    if spec.tokens:
        params = spec.channels * spec.tokens
        tape.add("tokens", "concat", inputs=elements, outputs=spec.channels * after.area, params=params)
    return after
