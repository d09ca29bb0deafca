"""Predicted memory and energy of a network on a device, fitted to measurements as latency is.

Memory is the peak that running a network adds to a process: a constant (the runtime's own), all weights, those of
convolutions once more (onnxruntime keeps a packed copy for its kernels), what the largest kernel reads and writes, and
a share of all activations. Energy is that of the whole device during a run: power times time, so the roofline's
features per kind of kernel explain it as they do latency.

Weights, interval and ranges come from the same fit as latency (predictor.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import operators, total
from nasbench.costs.budget import RESOURCES
from nasbench.latency.features import BYTES
from nasbench.latency.launches import CONVOLUTIONS, launches
from nasbench.latency.lowering import architecture_features
from nasbench.latency.prediction import Columns
from nasbench.latency.predictor import MIN_NETWORKS, Features, Predictor, fit
from nasbench.latency.records import Record

MEGA = 1e6


@dataclass(frozen=True, eq=False)
class Estimate(Columns):
    """Arrays of length n in bytes or joules; `low` to `high` covers about 90 % where `extrapolating` is false."""

    metric: str
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    extrapolating: np.ndarray  # bool
    reasons: tuple[str, ...]  # why each extrapolates, "" where it doesn't


def memory_features(architecture: Architecture, num_classes: int, runtime: str = "onnxruntime") -> dict[str, float]:
    """Features of the memory of a network's deploy form, to be summed with weights >= 0; in MB but for the constant."""
    listed = operators(architecture, num_classes=num_classes, deploy=True)
    kernels = launches(listed, runtime)
    convolutions = sum(kernel.params for kernel in kernels if kernel.kind in CONVOLUTIONS | {"image_conv"})
    cost = total(listed)
    elements = {  # names with the same text after the dot share a weight in the coarse model of `linear.shrunk_nnls`
        "weights.held": cost.params,
        "convolutions.held": convolutions,
        "largest kernel": max(kernel.inputs + kernel.outputs for kernel in kernels),
        "activations": cost.activations,
    }
    return {"process": 1.0, **{name: count * BYTES / MEGA for name, count in elements.items()}}


FEATURES: Mapping[str, Callable[[Architecture, int, str], Features]] = {
    "memory_bytes": memory_features,
    "energy_j": architecture_features,
}
# Ridge penalty of the fit; cross-validation chooses where none is given. For memory it cannot: nearly all weights of
# most networks are those of convolutions, and the two features differ only for transformers, of which few are measured.
SHRINKAGE = {"memory_bytes": 30.0}
REMEDIES = {  # {fit} is the command that measures the device
    "memory_bytes": "measure it with `{fit} --memory`",
    "energy_j": "measure it with `{fit} --energy` on a device that reports it, see docs/latency.md",
}


def fit_resources(records: Sequence[Record], num_classes: int, runtime: str = "onnxruntime") -> dict[str, Predictor]:
    """{metric: predictor} for each metric of RESOURCES that at least MIN_NETWORKS of `records` were measured for."""
    fitted = {}
    for metric, (_, unit, scale) in RESOURCES.items():
        held = [(record, getattr(record, metric)) for record in records if getattr(record, metric)]
        if len(held) >= MIN_NETWORKS:
            designs = [Architecture.from_dict(record.architecture, source=record.id) for record, _ in held]
            features = [FEATURES[metric](design, num_classes, runtime) for design in designs]
            figures = [figure / scale for _, figure in held]
            fitted[metric] = fit(features, figures, shrinkage=SHRINKAGE.get(metric), unit=unit)
    return fitted


def estimate(
    predictor: Predictor, metric: str, architectures: Sequence[Architecture], num_classes: int, runtime: str
) -> Estimate:
    """The metric of each architecture's deploy form, in bytes or joules, from arithmetic alone."""
    found = predictor.predict([FEATURES[metric](a, num_classes, runtime) for a in architectures])
    _, _, scale = RESOURCES[metric]
    value, low, high = (scale * array for array in (found.latency_ms, found.low_ms, found.high_ms))
    return Estimate(metric, value, low, high, found.extrapolating, found.reasons)
