"""ONNX, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nasbench.exporting.request import Request
from nasbench.exporting.scoring import Run, onnx_run


def write(request: Request, path: Path) -> str:
    from nasbench.latency.export import export_onnx

    if request.dtype == "int8":
        from nasbench.exporting.onnx_int8 import quantise

        content, how = quantise(request)
        way = str(how)
    else:
        content, way = export_onnx(request.source, request.resolution, request.batch), ""
    if request.dtype == "fp16":
        from nasbench.latency.runtimes import half

        content = half(content)
    path.write_bytes(labelled(content, request.words))
    return way


def labelled(content: bytes, words: Mapping[str, str]) -> bytes:
    """With the words in the file's metadata."""
    import onnx

    if not words:
        return content
    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, dict(words))
    return bytes(model.SerializeToString())


def opened(path: Path) -> Run:
    return onnx_run(path)
