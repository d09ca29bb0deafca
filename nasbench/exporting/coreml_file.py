"""Core ML (.mlpackage), which is converted anywhere and runs on Apple's systems alone."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from nasbench.exporting.request import Request
from nasbench.latency.export import ConstantShapes
from nasbench.latency.onnx_session import INPUT, OUTPUT
from nasbench.latency.runtimes import silence
from nasbench.nn.finite import require_finite


def write(request: Request, path: Path) -> str:
    require_finite(request.source)
    with silence(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions of torch that its converter was not tested with
        import coremltools

        with request.evaluating() as model, ConstantShapes():
            traced = torch.jit.trace(model, request.zeros, check_trace=False)
        precision = coremltools.precision.FLOAT16 if request.dtype == "fp16" else coremltools.precision.FLOAT32
        network = coremltools.convert(
            traced, convert_to="mlprogram", compute_precision=precision,
            inputs=[coremltools.TensorType(name=INPUT, shape=tuple(request.zeros.shape))],
            outputs=[coremltools.TensorType(name=OUTPUT)],
        )  # fmt: skip
        network.user_defined_metadata.update(request.words)
        network.save(str(path))
    return ""
