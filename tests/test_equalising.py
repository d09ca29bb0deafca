"""Channels brought to like ranges: the same function, and far less of it lost in int8."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import nn

from nasbench.exporting.equalising import equalised
from nasbench.exporting.onnx_int8 import PLAIN, _quantised
from nasbench.exporting.scoring import onnx_run
from nasbench.latency.export import export_onnx


def uneven() -> nn.Module:
    """Convolutions whose channels differ a thousandfold, as merged branches leave them."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU(),
        nn.Conv2d(16, 16, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    scale = torch.logspace(-1.5, 1.5, 16)
    with torch.no_grad():
        for first, second in ((0, 2), (2, 4)):
            net[first].weight *= scale[:, None, None, None]
            net[first].bias *= scale
            by_input = (slice(None), None, None, None) if second == 2 else (None, slice(None), None, None)
            net[second].weight /= scale[by_input]
    return net.eval()


def test_it_computes_the_same_and_loses_less() -> None:
    batches = [np.random.default_rng(seed).standard_normal((8, 3, 12, 12), dtype=np.float32) for seed in range(3)]
    content = export_onnx(uneven(), 12, None)
    other = equalised(content, batches)
    expected = onnx_run(content)(batches[0])
    assert np.abs(onnx_run(other)(batches[0]) - expected).max() < 1e-4 * np.abs(expected).max()

    def lost(source: bytes) -> float:
        return float(np.abs(onnx_run(_quantised(source, batches, PLAIN))(batches[0]) - expected).mean())

    assert lost(other) < 0.3 * lost(content)


def test_what_has_no_such_pair_stays_as_it_is() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))
            self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.one(x).relu()
            return self.head(x + self.two(x))  # two readers: nothing between them can be scaled

    content = export_onnx(Skip().eval(), 8, None)
    assert equalised(content, [np.ones((2, 3, 8, 8), np.float32)]) is content
    gelu = export_onnx(nn.Sequential(nn.Conv2d(3, 3, 3), nn.GELU(), nn.Conv2d(3, 3, 3), nn.Flatten()).eval(), 8, None)
    assert equalised(gelu, [np.ones((2, 3, 8, 8), np.float32)]) is gelu
    assert "Conv" in {node.op_type for node in onnx.load_from_string(gelu).graph.node}
