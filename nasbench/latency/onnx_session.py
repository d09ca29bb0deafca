"""An ONNX file opened in onnxruntime on the CPU, and a call that runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

INPUT, OUTPUT = "image", "logits"  # names in the files that export.py writes


def open_session(model: bytes | str | Path, threads: int = 1, profile: str = "") -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU, sequential, with `threads` intra-op threads, from ONNX bytes or a path.

    profile: prefix of the path of a file that the time of each kernel is written to; none by default.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors only
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return onnxruntime.InferenceSession(_source(model), options, providers=["CPUExecutionProvider"])


def _source(model: bytes | str | Path) -> bytes | str:
    """What onnxruntime opens; it takes no path that is not UTF-8."""
    if isinstance(model, bytes):
        return model
    try:
        str(model).encode("utf-8")
    except UnicodeEncodeError:
        return Path(model).read_bytes()
    return str(model)


def runner(session: onnxruntime.InferenceSession) -> Callable[[], object]:
    """A call without arguments that runs `session` once on a fixed random image."""
    shape = session.get_inputs()[0].shape
    image = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return lambda: session.run(None, {INPUT: image})
