"""A trained network in int8 for onnxruntime, by its own quantiser: calibrated on training images, scored by itself.

Networks whose branches were merged have weights and activations of uneven ranges, and can lose tens of points
(arXiv:2212.01593 on RepVGG). So several ways of calibration are tried, and those that keep the first and last layers in
float32; the one that scores best on the validation images is taken, and scored on the test images beside float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from nasbench.exporting.request import Request
from nasbench.exporting.scoring import accuracy, onnx_run
from nasbench.latency.export import export_onnx
from nasbench.latency.onnx_session import INPUT
from nasbench.latency.runtimes import silence

CALIBRATIONS = ("MinMax", "Percentile", "Entropy")  # onnxruntime's words
LAYERS = ("Conv", "Gemm", "MatMul")  # operators with weights
ENOUGH = 0.002  # a loss of accuracy on the validation images below which no further way is tried


def quantise(request: Request) -> tuple[bytes, str]:
    """The model in int8 (QDQ, a scale a channel), and how it was made."""
    assert request.images is not None
    validation, norm = request.images.validation, request.images.norm
    content = export_onnx(request.model, request.resolution, request.batch)
    wanted, _ = accuracy(onnx_run(content), validation, norm)
    calibration = request.calibration
    best: tuple[float, str, bytes] | None = None
    for way, settings in _ways(content):
        made = _quantised(content, calibration, **settings)
        reached, _ = accuracy(onnx_run(made), validation, norm)
        if best is None or reached > best[0]:
            best = reached, way, made
        if wanted - best[0] <= ENOUGH:
            break
    assert best is not None
    return best[2], best[1]


def _ways(content: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every way to quantise a file, the plainest first."""
    for calibration in CALIBRATIONS:
        yield calibration, {"calibration": calibration, "kept": []}
    ends = _ends(content)
    for calibration in CALIBRATIONS:
        yield f"{calibration}, first and last layer in float32", {"calibration": calibration, "kept": ends}


def _ends(content: bytes) -> list[str]:
    """The names of the first and the last layer with weights."""
    layers = [node.name for node in onnx.load_from_string(content).graph.node if node.op_type in LAYERS]
    return [layers[0], layers[-1]] if layers else []


def _quantised(content: bytes, batches: list[np.ndarray], calibration: str, kept: list[str]) -> bytes:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]
        left = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.left, None)
            return None if batch is None else {INPUT: batch}

    with tempfile.TemporaryDirectory(prefix="nasbench-int8-") as folder, silence():
        plain, prepared, out = (Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "int8"))
        plain.write_bytes(content)
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(out), Images(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=kept,
            calibrate_method=CalibrationMethod[calibration],
        )  # fmt: skip
        return out.read_bytes()
