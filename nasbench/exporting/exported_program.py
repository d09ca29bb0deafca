"""torch's own exported program (.pt2), which any torch runs without our code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from nasbench.exporting.request import Request
from nasbench.exporting.scoring import Run
from nasbench.nn.finite import require_finite

WORDS = "about.json"  # the file within the program's file that holds the metadata
MOST = 1 << 16  # images at a time


def write(request: Request, path: Path) -> str:
    require_finite(request.source)
    free = ({0: torch.export.Dim("batch", max=MOST)},) if request.batch is None else None
    with request.evaluating() as model:
        program = torch.export.export(model, (request.zeros,), dynamic_shapes=free)
    torch.export.save(program, path, extra_files={WORDS: json.dumps(dict(request.words))})
    return ""


def opened(path: Path) -> Run:
    module = torch.export.load(path).module()

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(images)).numpy())

    return run
