"""What a network costs, worked out from its meta-blocks without building it."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import lru_cache

from nasbench.arch.architecture import Architecture, require_architecture
from nasbench.arch.deploy_form import deploy_network
from nasbench.arch.extent import Extent, square
from nasbench.arch.metablock import DecoderSpec, MetaBlock
from nasbench.blocks.decoder_cost import decoder_cost, kept_positions
from nasbench.blocks.head_cost import head_cost
from nasbench.blocks.metablock_cost import blocks_cost
from nasbench.blocks.op import IN_PLACE_KINDS, Op, Tape
from nasbench.errors import UserError, shown

BYTES_PER_ELEMENT = 4  # float32


@dataclass(frozen=True)
class Cost:
    """Of one inference at batch 1 in float32.

    macs: multiply-adds of convolutions, linear layers and both attention products. flops: fvcore's total, which adds
    norms, adaptive pooling and resizing. activations: elements written by the operators that `macs` counts. peak
    activation bytes: the most that is alive at one operator, elementwise operators in place.
    """

    params: int
    macs: int
    flops: int
    activations: int
    weight_bytes: int
    peak_activation_bytes: int

    def to_dict(self) -> dict[str, int]:
        return dict(self.__dict__)


def cost(arch: Architecture, num_classes: int = 1000, deploy: bool = True) -> Cost:
    """Cost of the deploy form, or of the train form with `deploy=False`, at the architecture's own resolution."""
    return total(operators(arch, num_classes, deploy))


def total(ops: list[Op]) -> Cost:
    """The sums over operators, and the largest of their live elements."""
    params = macs = flops = activations = 0
    for op in ops:
        params += op.params
        macs += op.macs
        flops += op.flops
        if op.macs:
            activations += op.outputs
    distinct = {id(op): op for op in ops}  # those of repeated blocks are the same objects
    peak = max(map(live_elements, distinct.values()), default=0)
    return Cost(params, macs, flops, activations, params * BYTES_PER_ELEMENT, peak * BYTES_PER_ELEMENT)


def live_elements(op: Op) -> int:
    """Elements in memory while `op` runs."""
    return op.inputs + op.held + (0 if op.kind in IN_PLACE_KINDS else op.outputs)


def operators(arch: Architecture, num_classes: int = 1000, deploy: bool = True) -> list[Op]:
    """The network's operators in order of execution, each with the stage that it belongs to."""
    require_architecture(arch)
    return list(_operators(arch, checked_classes(num_classes), deploy))


def checked_classes(num_classes: int) -> int:
    """A number of classes as Python's own number; a UserError where it is none of at least 1."""
    try:
        count = operator.index(num_classes)
    except TypeError:
        raise UserError(f"num_classes {shown(num_classes)}: is no whole number; give the number of classes") from None
    if count < 1:
        raise UserError(f"num_classes {count}: a classifier needs at least 1; give the number of classes")
    return count


@lru_cache(1 << 8)  # what describes a design asks for them, and what it costs
def _operators(arch: Architecture, num_classes: int, deploy: bool) -> list[Op]:
    network = deploy_network(arch.network) if deploy else arch.network
    extent, tape = square(arch.resolution), Tape("stem")
    extent = blocks_cost(tape, network.stem, extent)
    for index, stage in enumerate(network.stages):
        tape.stage = f"stage {index + 1}"
        if index == 0 and isinstance(network.head, DecoderSpec):
            extent = _masked_stage_cost(tape, network.head, stage, extent)
        else:
            extent = blocks_cost(tape, stage, extent)
    tape.stage = "head"
    if isinstance(network.head, DecoderSpec):
        decoder_cost(tape, network.head, extent)
    else:
        head_cost(tape, network.head, extent, num_classes)
    return tape.ops


def _masked_stage_cost(tape: Tape, head: DecoderSpec, stage: tuple[MetaBlock, ...], extent: Extent) -> Extent:
    """A masked autoencoder hides positions between their embedding and the first block."""
    blocks_cost(tape, stage[:1], extent)
    visible = Extent(1, head.tokens + kept_positions(extent.area, head.mask_ratio))
    return blocks_cost(tape, stage[1:], visible)
