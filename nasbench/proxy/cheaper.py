"""Replaces modules by faster ones with the same function while a proxy training runs on a CPU.

Only a module's class is changed, and changed back at the end: models that are built, exported or counted keep theirs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn

from nasbench.proxy.depthwise import DepthwiseConv, is_wide_depthwise

# (faster class, test whether a module can take it)
REPLACEMENTS: tuple[tuple[type[nn.Module], Callable[[nn.Module], bool]], ...] = ((DepthwiseConv, is_wide_depthwise),)
CAPABILITIES = ("AVX2", "AVX512")  # of CPUs for which oneDNN has the kernels that the replacements use


@contextlib.contextmanager
def cheaper(model: nn.Module, precision: str) -> Iterator[None]:
    """Replaces modules of `model` within the context, if it is in float32 on a CPU with CAPABILITIES."""
    before: list[tuple[nn.Module, type[nn.Module]]] = []
    try:
        for module in model.modules() if _is_faster(model, precision) else ():
            for kind, fits in REPLACEMENTS:
                if fits(module):
                    before.append((module, type(module)))
                    module.__class__ = kind
        yield
    finally:
        for module, kind in before:
            module.__class__ = kind


def _is_faster(model: nn.Module, precision: str) -> bool:
    """Whether the replacements are faster for this model at this precision."""
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    fast = torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() in CAPABILITIES
    return on_cpu and fast and precision == "float32"
