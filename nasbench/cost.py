"""What a network costs: analytically from its meta-blocks, and as fvcore counts the built module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nasbench.architecture import Architecture
from nasbench.blocks.branches import conv_cost
from nasbench.blocks.metablock import metablock_cost
from nasbench.blocks.norm import norm_cost
from nasbench.blocks.op import MULTIPLY_ADD_KINDS, Op, Tape
from nasbench.metablock import HeadSpec, MetaBlock, deploy_network

if TYPE_CHECKING:
    from torch import nn

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
    params = sum(op.params for op in ops)
    return Cost(
        params=params,
        macs=sum(op.macs for op in ops),
        flops=sum(op.flops for op in ops),
        activations=sum(op.outputs for op in ops if op.kind in MULTIPLY_ADD_KINDS),
        weight_bytes=params * BYTES_PER_ELEMENT,
        peak_activation_bytes=max((live_elements(op) for op in ops), default=0) * BYTES_PER_ELEMENT,
    )


def live_elements(op: Op) -> int:
    """Elements in memory while `op` runs."""
    return op.inputs + op.held + (0 if op.in_place else op.outputs)


def operators(arch: Architecture, num_classes: int = 1000, deploy: bool = True) -> list[Op]:
    """The network's operators in order of execution, each with the stage that it belongs to."""
    network = deploy_network(arch.network) if deploy else arch.network
    size, ops = arch.resolution, []
    parts = [("stem", network.stem), *((f"stage {i + 1}", stage) for i, stage in enumerate(network.stages))]
    for name, blocks in parts:
        size = _blocks_operators(ops, name, blocks, size)
    channels = network.stages[-1][-1].c_out
    _head_operators(ops, network.head, channels, size, num_classes)
    return ops


def _blocks_operators(ops: list[Op], stage: str, blocks: tuple[MetaBlock, ...], size: int) -> int:
    known: dict[tuple[int, int], list[Op]] = {}  # repeated blocks are one object: walk each once for a map size
    for block in blocks:
        key = (id(block), size)
        if key not in known:
            tape = Tape()
            size = metablock_cost(tape, block, size)
            known[key] = [op._replace(stage=stage) for op in tape.ops]
        ops.extend(known[key])
    return size


def _head_operators(ops: list[Op], head: HeadSpec, channels: int, size: int, num_classes: int) -> None:
    size = _blocks_operators(ops, "head", head.blocks, size)
    tape = Tape()
    norm_cost(tape, head.norm, channels, size)
    elements = head.features * size**2
    counted = elements if head.pool == "adaptive" else 0
    tape.add("pool", "pool", inputs=elements, outputs=head.features, flops=counted)
    conv_cost(tape, head.features, num_classes, (1, 1), 1, 1, bias=True)
    tape.ops[-1] = tape.ops[-1]._replace(name="classifier", kind="linear")
    ops.extend(op._replace(stage="head") for op in tape.ops)


# What fvcore has no handle for and costs nothing in the papers' convention.
FVCORE_MAC_OPERATORS = ("conv", "linear", "matmul", "addmm", "bmm", "baddbmm", "einsum")


def count_fvcore(model: nn.Module, resolution: int) -> dict[str, Any]:
    """`params`, `macs`, `flops` and `activations` of one image as fvcore counts them on the module, in eval mode.

    fvcore gives 0 to torch's fused attention. The blocks here spell the two products out, so that it sees them.
    """
    import torch
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    was_training = model.training
    model.eval()
    parameter = next(model.parameters())
    image = torch.zeros(1, 3, resolution, resolution, dtype=parameter.dtype, device=parameter.device)
    try:
        counts = []
        for analysis in (FlopCountAnalysis(model, image), ActivationCountAnalysis(model, image)):
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            counts.append(analysis.by_operator())
    finally:
        model.train(was_training)
    flops, activations = counts
    return {
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "macs": int(sum(flops[name] for name in FVCORE_MAC_OPERATORS)),
        "flops": int(sum(flops.values())),
        "activations": int(sum(activations.values())),
    }
