"""OpenVINO: a .xml with its weights in a .bin beside it, made from the ONNX file; int8 by NNCF."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from nasbench.exporting.request import Request
from nasbench.exporting.scoring import Run
from nasbench.latency.export import export_onnx
from nasbench.latency.runtimes import silence

SECTION = "model_info"  # of the file's runtime information, where OpenVINO's own tools look


def write(request: Request, path: Path) -> str:
    import openvino

    content = export_onnx(request.source, request.resolution, request.batch)
    network = openvino.convert_model(io.BytesIO(content))
    if request.dtype == "int8":
        network = _quantised(network, request)
    for name, value in request.words.items():
        network.set_rt_info(value, [SECTION, name])
    openvino.save_model(network, path, compress_to_fp16=request.dtype == "fp16")
    return "by NNCF" if request.dtype == "int8" else ""


def _quantised(network: Any, request: Request) -> Any:
    """By NNCF with its own bias correction; weights with a scale a channel."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    images = [image[None] for batch in request.calibration for image in batch]
    with silence():
        return nncf.quantize(network, nncf.Dataset(images), subset_size=len(images))


def opened(path: Path) -> Run:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)

    def run(images: np.ndarray) -> np.ndarray:
        return np.array(compiled([images])[0])

    return run
