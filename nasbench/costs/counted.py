"""What a network costs as fvcore counts it on the built module: the check of the analytic figures."""

from __future__ import annotations

import torch
from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis
from fvcore.nn.jit_analysis import JitModelAnalysis
from torch import nn

from nasbench.blocks.metablock import image_channels

# What fvcore has no handle for and costs nothing in the papers' convention.
FVCORE_MAC_OPERATORS = ("conv", "linear", "matmul", "addmm", "bmm", "baddbmm", "einsum")


def count_fvcore(model: nn.Module, resolution: int) -> dict[str, int]:
    """`params`, `macs`, `flops` and `activations` of one image as fvcore counts them on the module, in eval mode.

    fvcore gives 0 to torch's fused attention. Under its tracer the blocks spell the two products out, so it sees them.
    """
    activations = _by_operator(ActivationCountAnalysis, model, resolution)
    return count_work(model, resolution) | {"activations": sum(activations.values())}


def count_work(model: nn.Module, resolution: int) -> dict[str, int]:
    """The same without activations, in half the time: fvcore traces the network once for each of the two."""
    flops = _by_operator(FlopCountAnalysis, model, resolution)
    return {
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "macs": sum(flops.get(name, 0) for name in FVCORE_MAC_OPERATORS),
        "flops": sum(flops.values()),
    }


def _by_operator(analyse: type[JitModelAnalysis], model: nn.Module, resolution: int) -> dict[str, int]:
    was_training = model.training
    model.eval()
    parameter = next(model.parameters())
    shape = (1, image_channels(model), resolution, resolution)
    image = torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)
    try:
        analysis = analyse(model, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        return {name: int(count) for name, count in analysis.by_operator().items()}
    finally:
        model.train(was_training)
