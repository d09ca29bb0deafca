"""What a masked autoencoder's decoder costs. Its module: `decoder.py`."""

from __future__ import annotations

from nasbench.arch.extent import Extent
from nasbench.arch.metablock import DecoderSpec
from nasbench.blocks.conv_cost import conv_cost
from nasbench.blocks.metablock_cost import blocks_cost
from nasbench.blocks.norm_cost import norm_cost
from nasbench.blocks.op import Tape


def kept_positions(positions: int, mask_ratio: float) -> int:
    """How many of the positions the encoder sees."""
    return max(1, int(positions * (1 - mask_ratio)))


def decoder_cost(tape: Tape, spec: DecoderSpec, extent: Extent) -> None:
    """`extent`: the visible positions with their tokens, one row."""
    norm_cost(tape, spec.norm, spec.embed.c_in, extent.area)
    conv_cost(tape, spec.embed, extent)
    channels = spec.embed.c_out
    full = Extent(1, spec.embedding.side**2 + spec.tokens)
    elements = channels * full.area
    tape.add("unshuffle", "copy", inputs=channels * extent.area, outputs=elements, params=channels)
    tape.add("positions", "add", inputs=2 * elements, outputs=elements, params=elements)
    blocks_cost(tape, spec.blocks, full)
    norm_cost(tape, spec.last_norm, channels, full.area)
    conv_cost(tape, spec.predict, full)
