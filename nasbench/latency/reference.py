"""The reference network that all others are measured against, and a hash that identifies it."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import onnx
import torch
from torch import nn

from nasbench.latency.export import export_onnx

REFERENCE_NAME = "inverted-residuals-128-v1"  # change the name whenever the network below changes
REFERENCE_SIZE = 128


class ReferenceNet(nn.Module):
    """Six inverted residuals at 128 px: 74 million multiply-adds, about 1.5 ms on one server core. Never change it."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU6()]
        c_in = 32
        for c_out, stride in [(24, 2), (24, 1), (48, 2), (48, 1), (96, 2), (96, 1)]:
            layers.append(_inverted_residual(c_in, c_out, stride))
            c_in = c_out
        self.features = nn.Sequential(*layers, nn.Conv2d(c_in, 640, 1), nn.ReLU6())
        self.classifier = nn.Linear(640, 1000)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(image).mean((2, 3)))


def _inverted_residual(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    hidden = 6 * c_in
    return nn.Sequential(
        nn.Conv2d(c_in, hidden, 1),
        nn.ReLU6(),
        nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden),
        nn.ReLU6(),
        nn.Conv2d(hidden, c_out, 1),
    )


@lru_cache(maxsize=1)
def reference_module() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ReferenceNet().eval()


@lru_cache(maxsize=1)
def reference_onnx() -> bytes:
    """The reference network as ONNX, the same bytes on every call and every machine."""
    return export_onnx(reference_module(), REFERENCE_SIZE)


@lru_cache(maxsize=1)
def reference_hash() -> str:
    """SHA-256 over the reference's operators, their attributes and weights; not over names and versions in the file."""
    graph, digest = onnx.load_from_string(reference_onnx()).graph, hashlib.sha256()
    for node in graph.node:
        digest.update(node.op_type.encode())
        digest.update(repr(sorted((a.name, onnx.helper.get_attribute_value(a)) for a in node.attribute)).encode())
    for tensor in sorted((onnx.numpy_helper.to_array(t) for t in graph.initializer), key=lambda a: a.tobytes()):
        digest.update(tensor.tobytes())
    return digest.hexdigest()
