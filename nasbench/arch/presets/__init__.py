"""The named blocks, transitions, stems and heads, each a short recipe over the meta-block.

`lower` turns the parts of an architecture into its `Network` of meta-blocks. To add a block, write one function from
(stage, place) to meta-blocks, put it in `BLOCKS`, and name its fields in `parts.BLOCK_FIELDS`; in `ALTERNATING_BLOCKS`
where it looks at its place's turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from nasbench.arch.extent import blocks_extent, square
from nasbench.arch.metablock import MetaBlock, Network
from nasbench.arch.parts import IMAGE_CHANNELS, INNER_BLOCKS, Head, Stage, Stem, total_stride
from nasbench.arch.presets.common import Place, branches_of, make_divisible, squeeze_excite, widened
from nasbench.arch.presets.convolution import basic, irmb, mbconv, mobileone, repmixer, repvgg
from nasbench.arch.presets.ends import HEADS, MAX_HEAD_CHANNELS, STEMS, End
from nasbench.arch.presets.transformers import encoder, mobilevit, separable, swin, transformer
from nasbench.arch.presets.transitions import TRANSITIONS, embedding, position_encoding

__all__ = [
    "ALTERNATING_BLOCKS", "BLOCKS", "HEADS", "MAX_HEAD_CHANNELS", "STEMS", "TRANSITIONS", "End", "Place",
    "branches_of", "lower", "make_divisible", "squeeze_excite", "stage_units", "widened",
]  # fmt: skip


def slots(stage: Stage, place: Place) -> tuple[MetaBlock, ...]:
    """The meta-blocks that the file spells out."""
    return stage.slots


BLOCKS: dict[str, Callable[[Stage, Place], tuple[MetaBlock, ...]]] = {
    "mbconv": mbconv,
    "repmixer": repmixer,
    "irmb": irmb,
    "mobilevit": mobilevit,
    "separable": separable,
    "transformer": transformer,
    "encoder": encoder,
    "swin": swin,
    "repvgg": repvgg,
    "mobileone": mobileone,
    "basic": basic,
    "slots": slots,
}


ALTERNATING_BLOCKS = ("swin",)  # every other one may differ: only these look at their place's turn


class StageUnits(NamedTuple):
    """A stage's meta-blocks: its transition, what stands before the first block, and each block's own."""

    transition: tuple[MetaBlock, ...]
    position: tuple[MetaBlock, ...]
    blocks: tuple[tuple[MetaBlock, ...], ...]

    @property
    def all(self) -> tuple[MetaBlock, ...]:
        return (*self.transition, *self.position, *chain.from_iterable(self.blocks))


@lru_cache(1 << 10)
def stage_units(stage: Stage, c_in: int, side: int) -> StageUnits:
    """The meta-blocks of one stage on a map of this side; equal blocks are one object."""
    if stage.depth == 0:
        return StageUnits((), (), ())
    make = BLOCKS[stage.block]
    transition: tuple[MetaBlock, ...] = ()
    blocks: list[tuple[MetaBlock, ...]] = []
    if stage.downsample == "block":
        blocks.append(make(stage, Place(c_in, stage.stride, True, side)))
        side = blocks_extent(blocks[0], square(side)).width
    elif stage.downsample != "none":
        transition = TRANSITIONS[stage.downsample](stage, c_in)
        side = blocks_extent(transition, square(side)).width
    count = 1 if stage.block in INNER_BLOCKS else stage.plain_blocks
    if count:
        first = make(stage, Place(stage.channels, 1, False, side))
        blocks += [first] * count
        if stage.block in ALTERNATING_BLOCKS and count > 1:
            second = make(stage, Place(stage.channels, 1, False, side, turn=1))
            if second != first:
                blocks[-count + 1 :: 2] = [second] * (count // 2)
    return StageUnits(transition, _before_blocks(stage, side), tuple(blocks))


def _before_blocks(stage: Stage, side: int) -> tuple[MetaBlock, ...]:
    if stage.block == "transformer" and stage.cpe:
        return (position_encoding(stage.channels),)
    if stage.block == "encoder" and (stage.tokens or stage.position != "none"):
        return (embedding(stage, side),)
    return ()


def lower(
    resolution: int, stem: Stem, stages: Sequence[Stage], head: Head, in_channels: int = IMAGE_CHANNELS
) -> Network:
    """An architecture's parts as meta-blocks, channel numbers and map sizes filled in."""
    channels, stem_blocks = stem.channels, STEMS[stem.kind](stem, in_channels)
    extent = blocks_extent(stem_blocks, square(resolution))
    lowered, present = [], [stage for stage in stages if stage.depth]
    for stage in present:
        before, units = extent, stage_units(stage, channels, extent.width)
        lowered.append(units.all)
        extent, channels = blocks_extent(lowered[-1], before), stage.channels
    side = blocks_extent(units.transition, before).width
    tokens = present[-1].tokens if present[-1].block == "encoder" else 0
    end = End(channels, tokens, side, total_stride(stem, stages), in_channels)
    return Network(stem_blocks, tuple(lowered), HEADS[head.kind](head, end))
