"""nasbench: one search space of mobile vision backbones, and a Pareto front of it that can be trusted.

Names load on first use, so `import nasbench` costs neither torch nor ray.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

# Public name -> the module that holds it. No module has a public name, so that importing one never hides the other.
_HOME = {
    "Architecture": "arch.architecture",
    "load": "arch.library",
    "SearchSpace": "space.search_space",
    "load_space": "space.shipped",
    "Budget": "costs.budget",
    "Cost": "costs.analytic",
    "cost": "costs.analytic",
    "build": "nn.model",
    "reparameterise": "nn.model",
    "load_weights": "weights.checkpoints",
    "load_model": "weights.checkpoints",
    "save_weights": "weights.checkpoints",
    "load_device": "latency.profile",
    "Trial": "study.trials",
    "Study": "study.study",
    "Front": "pareto",
    "search": "engine.start",
    "resume": "engine.start",
    "open_study": "report.results",
    "audit": "auditing.start",
    "confirm": "auditing.confirmation",
    "load_table": "table.loading",
    "suggest": "table.suggesting",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nasbench' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"nasbench.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
