"""Modules that compute the same as torch's in less time, in their place while a proxy training runs on a CPU.

A module changes its class and nothing else, and gets it back: what a user builds, exports or counts holds none of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn

from nasbench.proxy.depthwise import DepthwiseConv, is_wide_depthwise

# what stands in, and for what
STAND_INS: tuple[tuple[type[nn.Module], Callable[[nn.Module], bool]], ...] = ((DepthwiseConv, is_wide_depthwise),)
CAPABILITIES = ("AVX2", "AVX512")  # of the CPUs for which oneDNN has the kernels that these rely on


@contextlib.contextmanager
def cheaper(model: nn.Module, precision: str) -> Iterator[None]:
    """Within it the modules of `model` have stand-ins, where it is in float32 on a CPU that these are faster on."""
    before: list[tuple[nn.Module, type[nn.Module]]] = []
    try:
        for module in model.modules() if _pays(model, precision) else ():
            for kind, fits in STAND_INS:
                if fits(module):
                    before.append((module, type(module)))
                    module.__class__ = kind
        yield
    finally:
        for module, kind in before:
            module.__class__ = kind


def _pays(model: nn.Module, precision: str) -> bool:
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    fast = torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() in CAPABILITIES
    return on_cpu and fast and precision == "float32"
