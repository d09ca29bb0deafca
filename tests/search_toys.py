"""A stand-in for proxy training: an accuracy worked out from the design, at once."""

from __future__ import annotations

from typing import Any

from nasbench.architecture import Architecture
from nasbench.cost import cost


def evaluate(task: dict[str, Any]) -> dict[str, Any]:
    """More multiply-adds and more samples help, a mobilevit block hurts, seeds scatter a little."""
    arch = Architecture.from_dict(task["architecture"])
    if any(stage.block == "mobilevit" for stage in arch.stages):
        raise ValueError("mobilevit is out of order today")
    gain = 0.2 * min(1.0, cost(arch).macs / 1e9) + 1e-6 * task["fidelity"]["samples"]
    return {"accuracy": 0.3 + gain + 0.001 * task["seed"], "samples": task["fidelity"]["samples"]}
