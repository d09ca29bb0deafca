"""ncnn: a .param with its weights in a .bin and its metadata in a .json beside it, converted by pnnx."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from nasbench.errors import UserError
from nasbench.exporting.request import Request
from nasbench.exporting.scoring import Run
from nasbench.latency.device import Settings
from nasbench.latency.runtimes import silence, write_file


def write(request: Request, path: Path) -> str:
    settings = Settings(runtime="ncnn", dtype=request.dtype)
    with tempfile.TemporaryDirectory() as folder, request.evaluating() as model:
        written = write_file(model, request.resolution, settings, Path(folder) / "net")
        path.write_bytes(written.read_bytes())
        path.with_suffix(".bin").write_bytes(written.with_suffix(".bin").read_bytes())
    path.with_suffix(".json").write_text(json.dumps(dict(request.words), indent=1) + "\n", encoding="utf-8")
    return ""


def opened(path: Path) -> Run:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    with silence():
        failed = net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin")))
    if failed:
        raise UserError("ncnn does not know an operator that pnnx wrote; take another format, such as --to onnx")

    def run(images: np.ndarray) -> np.ndarray:
        return np.stack([_one(image) for image in images])

    def _one(image: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input(net.input_names()[0], ncnn.Mat(np.ascontiguousarray(image)).clone())
        code, logits = extractor.extract(net.output_names()[0])
        if code:
            raise UserError(f"ncnn cannot run what pnnx wrote (code {code}); take another format, such as --to onnx")
        return np.array(logits)

    return run
