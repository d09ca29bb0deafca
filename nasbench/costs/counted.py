"""What a network costs as fvcore counts it on the built module: the check of the analytic figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import (
    Handle,
    addmm_flop_jit,
    bmm_flop_jit,
    conv_flop_jit,
    einsum_flop_jit,
    generic_activation_jit,
    linear_flop_jit,
    matmul_flop_jit,
)
from torch import nn

from nasbench.blocks.metablock import image_channels

# What fvcore has no handle for and costs nothing in the papers' convention.
FVCORE_MAC_OPERATORS = ("conv", "linear", "matmul", "addmm", "bmm", "baddbmm", "einsum")
ACTIVATIONS = "activations"
# The operators whose outputs are fvcore's activations, with its handles for their work.
ACTIVATING: dict[str, Handle] = {
    "_convolution": conv_flop_jit,
    "addmm": addmm_flop_jit,
    "bmm": bmm_flop_jit,
    "einsum": einsum_flop_jit,
    "matmul": matmul_flop_jit,
    "linear": linear_flop_jit,
}


def count_fvcore(model: nn.Module, resolution: int) -> dict[str, int]:
    """`params`, `macs`, `flops` and `activations` of one image as fvcore counts them on the module, in eval mode.

    fvcore gives 0 to torch's fused attention. Under its tracer the blocks spell the two products out, so it sees them.
    It has an analysis for work and one for activations, each of which traces the network; here both are told by one.
    """
    found = _by_operator(model, resolution)
    activations = found.pop(ACTIVATIONS, 0)
    return {
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "macs": sum(found.get(name, 0) for name in FVCORE_MAC_OPERATORS),
        "flops": sum(found.values()),
        "activations": activations,
    }


def _by_operator(model: nn.Module, resolution: int) -> dict[str, int]:
    was_training = model.training
    model.eval()
    parameter = next(model.parameters())
    shape = (1, image_channels(model), resolution, resolution)
    image = torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)
    try:
        analysis = FlopCountAnalysis(model, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        analysis.ancestor_mode("caller")  # totals alone are asked for, and parents by name take their time
        analysis.set_op_handle(**{f"aten::{name}": _with_activations(name) for name in ACTIVATING})
        return {name: int(count) for name, count in analysis.by_operator().items()}
    finally:
        model.train(was_training)


def _with_activations(name: str) -> Handle:
    """fvcore's handle of an operator, which tells beside its work how many elements it writes."""
    written = generic_activation_jit()

    def handle(inputs: Sequence[Any], outputs: Sequence[Any]) -> Counter[str]:
        work = ACTIVATING[name](inputs, outputs)
        by_operator = work if isinstance(work, Counter) else Counter({name: work})
        return by_operator + Counter({ACTIVATIONS: written(inputs, outputs)})

    return handle
