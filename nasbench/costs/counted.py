"""What a network costs as fvcore counts it on the built module: the check of the analytic figures."""

from __future__ import annotations

from typing import Any

import torch
from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis
from torch import nn

from nasbench.blocks.metablock import image_channels

# What fvcore has no handle for and costs nothing in the papers' convention.
FVCORE_MAC_OPERATORS = ("conv", "linear", "matmul", "addmm", "bmm", "baddbmm", "einsum")


def count_fvcore(model: nn.Module, resolution: int) -> dict[str, Any]:
    """`params`, `macs`, `flops` and `activations` of one image as fvcore counts them on the module, in eval mode.

    fvcore gives 0 to torch's fused attention. Under its tracer the blocks spell the two products out, so it sees them.
    """
    was_training = model.training
    model.eval()
    parameter = next(model.parameters())
    shape = (1, image_channels(model), resolution, resolution)
    image = torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)
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
