"""ExecuTorch (.pte) for phones, with the XNNPACK kernels; int8 by torchao's quantiser for them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nasbench.exporting.request import Request
from nasbench.exporting.scoring import Run
from nasbench.latency.runtimes import silence
from nasbench.nn.finite import require_finite


def write(request: Request, path: Path) -> str:
    require_finite(request.source)
    with silence(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's and torchao's own deprecations
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        with request.evaluating() as model:
            program = torch.export.export(model, (request.zeros,))
            if request.dtype == "int8":
                program = torch.export.export(_quantised(program, request.calibration), (request.zeros,))
        # Values of the file's own, which a runtime reads by name: a constant method for each word.
        constants = {name: list(value.encode()) for name, value in request.words.items()}
        lowered = to_edge_transform_and_lower(
            program, partitioner=[XnnpackPartitioner()], constant_methods=constants or None
        )
        path.write_bytes(lowered.to_executorch().buffer)
    return "by torchao for XNNPACK" if request.dtype == "int8" else ""


def _quantised(program: Any, batches: Sequence[np.ndarray]) -> Any:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantiser = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(program.module(), quantiser)
    for image in (torch.from_numpy(image[None]) for batch in batches for image in batch):
        prepared(image)
    return convert_pt2e(prepared)


def opened(path: Path) -> Run:
    with silence():
        from executorch.runtime import Runtime

        method = Runtime.get().load_program(path).load_method("forward")

    def run(images: np.ndarray) -> np.ndarray:
        return np.asarray(method.execute([torch.from_numpy(images)])[0].numpy()).copy()

    return run
