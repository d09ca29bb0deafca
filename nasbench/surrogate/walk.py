"""Sums over the operators of a network's parts: work by kind of operator, sizes, chains of layers without a skip.

A stage's sums are cached, since candidates of a search share most of their stages.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.arch.deploy_form import deploy_blocks
from nasbench.arch.extent import Extent, blocks_extent, mixers_of, square
from nasbench.arch.metablock import Conv, DecoderSpec, MetaBlock, changed
from nasbench.arch.parts import Head, Stage, Stem
from nasbench.arch.presets import HEADS, STEMS, End, stage_units
from nasbench.blocks.decoder_cost import decoder_cost
from nasbench.blocks.head_cost import head_cost
from nasbench.blocks.metablock_cost import blocks_cost
from nasbench.blocks.op import Op, Tape

KINDS = ("conv", "depthwise", "grouped", "pointwise", "linear", "matmul")  # of operators that multiply
COUNTED = ("batch_norm", "layer_norm", "softmax", "act:relu", "act:gelu", "act:silu")  # operators that do not
SUMS = (*(f"macs {kind}" for kind in KINDS), "params", "activations", "layers", *COUNTED)
CLASSES = 10  # of the classifier: small, so that it does not outweigh a reduced network
CACHED = 1 << 14  # stages and ends whose sums are kept


class Chain(NamedTuple):
    """Numbers of consecutive weighted layers without a skip: before the first skip, at most, behind the last skip."""

    first: int = 0
    longest: int = 0
    last: int = 0
    bridged: bool = False  # whether there is a skip

    def then(self, other: Chain) -> Chain:
        """Both in a row."""
        joined = self.last + other.first
        return Chain(
            self.first if self.bridged else joined,
            max(self.longest, other.longest, joined),
            other.last if other.bridged else joined,
            self.bridged or other.bridged,
        )


class Part(NamedTuple):
    """A stem, stage or head: its sums in the order of `SUMS`, blocks, those without a skip, its chain, the map left."""

    sums: np.ndarray
    blocks: int
    without_skip: int
    chain: Chain
    extent: Extent


class Walk(NamedTuple):
    """A network's parts in order; `stages` are those that have a depth."""

    stem: Part
    stages: tuple[Part, ...]
    head: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.stem, *self.stages, self.head)


def walk(arch: Architecture, deploy: bool) -> Walk:
    """The parts of the deploy form, or of the train form. A masked autoencoder is taken to see all positions."""
    stem = _stem(arch.stem, arch.in_channels, arch.resolution, deploy)
    channels, extent, stages, side = arch.stem.channels, stem.extent, [], stem.extent.width
    present = [stage for stage in arch.stages if stage.depth]
    for stage in present:
        part, side = _stage(stage, channels, extent, deploy)
        stages.append(part)
        channels, extent = stage.channels, part.extent
    tokens = present[-1].tokens if present[-1].block == "encoder" else 0
    end = End(channels, tokens, side, arch.total_stride, arch.in_channels)
    return Walk(stem, tuple(stages), _head(arch.head, end, extent, deploy))


@lru_cache(CACHED)
def _stem(stem: Stem, in_channels: int, resolution: int, deploy: bool) -> Part:
    return _part("stem", STEMS[stem.kind](stem, in_channels), square(resolution), deploy)


@lru_cache(CACHED)
def _stage(stage: Stage, c_in: int, extent: Extent, deploy: bool) -> tuple[Part, int]:
    """The stage, and the side of the map behind its transition."""
    units = stage_units(stage, c_in, extent.width)
    return _part("stage", units.all, extent, deploy), blocks_extent(units.transition, extent).width


@lru_cache(CACHED)
def _head(head: Head, end: End, extent: Extent, deploy: bool) -> Part:
    spec = HEADS[head.kind](head, end)
    tape, blocks = Tape("head"), deploy_blocks(spec.blocks) if deploy else spec.blocks
    if isinstance(spec, DecoderSpec):
        decoder_cost(tape, changed(spec, blocks=blocks), extent)
    else:
        head_cost(tape, changed(spec, blocks=blocks), extent, CLASSES)
    return _summed(tape.ops, spec.blocks, extent)


def _part(name: str, blocks: tuple[MetaBlock, ...], extent: Extent, deploy: bool) -> Part:
    tape = Tape(name)
    extent = blocks_cost(tape, deploy_blocks(blocks) if deploy else blocks, extent)
    return _summed(tape.ops, blocks, extent)


def _summed(ops: list[Op], blocks: tuple[MetaBlock, ...], extent: Extent) -> Part:
    sums = dict.fromkeys(SUMS, 0)
    for _, kind, macs, _, params, _, outputs, *_ in ops:
        if macs:
            sums[f"macs {kind}"] += macs
            sums["activations"] += outputs
            sums["layers"] += 1
        elif kind in sums:
            sums[kind] += 1
        sums["params"] += params
    chain = Chain()
    for block in blocks:
        layers = len(mixers_of(block))
        chain = chain.then(Chain(bridged=True) if has_skip(block) else Chain(layers, layers, layers))
    return Part(
        np.array([*sums.values()], float), len(blocks), sum(not has_skip(block) for block in blocks), chain, extent
    )


def has_skip(block: MetaBlock) -> bool:
    """Whether the input bypasses the block's layers: by a skip, or an identity branch of its one convolution."""
    if block.skip is not None:
        return True
    mixers = mixers_of(block)
    only = mixers[0] if len(mixers) == 1 else None
    return isinstance(only, Conv) and any(branch.kind == "identity" for branch in only.branches)
