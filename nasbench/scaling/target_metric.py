"""The metric that a target limits as a function of an architecture: analytic, or predicted by a device's profile."""

from __future__ import annotations

from collections.abc import Callable

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import RESOURCES, Budget


def metric_of(target: Budget, classes: int = 1000, device: str = "this-machine") -> Callable[[Architecture], float]:
    """A function that gives the metric of `target` for an architecture's deploy form, in the metric's own unit."""
    if target.metric != "latency_ms" and target.metric not in RESOURCES:
        return lambda arch: float(getattr(cost(arch, classes), target.metric))
    from nasbench.latency.profile import load_device

    profile = load_device(device)
    if target.metric == "latency_ms":
        return lambda arch: float(profile.predict([arch], classes).latency_ms[0])
    profile.require_metrics([target.metric])
    return lambda arch: float(profile.predict_resource(target.metric, [arch], classes).value[0])
