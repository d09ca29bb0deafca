"""From an architecture to the kernels that a runtime launches for its deploy form, by arithmetic alone."""

from __future__ import annotations

from dataclasses import dataclass

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import operators
from nasbench.latency.device import KernelTime
from nasbench.latency.features import network_features
from nasbench.latency.launches import Kernel, launches


@dataclass(frozen=True)
class NetworkKernels:
    """The kernels that `runtime` launches for one network, and those that the runtime of a prior would launch."""

    kernels: tuple[Kernel, ...]
    runtime: str
    prior_kernels: tuple[Kernel, ...] = ()
    reported: tuple[KernelTime, ...] = ()  # by the runtime's own profile


def network_kernels(
    architecture: Architecture,
    num_classes: int,
    runtime: str = "onnxruntime",
    prior_runtime: str | None = None,
    reported: tuple[KernelTime, ...] = (),
) -> NetworkKernels:
    """The kernels of the deploy form under `runtime`, and under `prior_runtime` where one is given."""
    listed = operators(architecture, num_classes=num_classes, deploy=True)
    own = tuple(launches(listed, runtime))
    if prior_runtime is None:
        return NetworkKernels(own, runtime, (), reported)
    prior = own if prior_runtime == runtime else tuple(launches(listed, prior_runtime))
    return NetworkKernels(own, runtime, prior, reported)


def architecture_features(
    architecture: Architecture, num_classes: int, runtime: str = "onnxruntime"
) -> dict[str, float]:
    """The roofline features of the deploy form: see features.py."""
    return network_features(network_kernels(architecture, num_classes, runtime).kernels, runtime)
