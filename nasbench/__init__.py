"""nasbench: one search space of mobile vision backbones, and a Pareto front of it that can be trusted.

Names load on first use, so `import nasbench` costs neither torch nor ray.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Architecture": "architecture",
    "load": "library",
    "load_space": "library",
    "SearchSpace": "space",
    "Budget": "budget",
    "Trial": "trials",
    "Study": "study",
    "Front": "pareto",
    "build": "model",
    "reparameterise": "model",
    "cost": "cost",
    "Cost": "cost",
    "load_weights": "checkpoints",
    "save_weights": "checkpoints",
    "load_device": "latency",
    "search": "search",
    "resume": "search",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nasbench' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"nasbench.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
