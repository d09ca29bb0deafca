"""A stand-in for training whose error follows a known law of parameters and samples, with noise by seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from nasbench.costs.analytic import cost
from nasbench.study.task import Task

FLOOR, ALPHA, BETA, NOISE = 0.1, 0.3, 0.4, 0.01


def true_error(params: float, samples: float, level: float = 1.0) -> float:
    return FLOOR + level * (0.25 * (params / 1e6) ** -ALPHA + 0.2 * (samples / 1000) ** -BETA)


def evaluate(task: Task) -> dict[str, Any]:
    costs, samples = cost(task.architecture), task.fidelity.samples
    rng = np.random.default_rng([task.seed, samples, costs.params])
    level = 0.8 if task.architecture.name.startswith("mobilevit") else 1.0
    error = true_error(costs.params, samples, level) * float(np.exp(NOISE * rng.standard_normal()))
    return {
        "accuracy": 1 - error, "loss": 3 * error, "samples": samples, "proxy_params": costs.params,
        "proxy_macs": costs.macs, "proxy_flops": costs.flops, "cpu_seconds": costs.macs * samples / 1e11,
    }  # fmt: skip
