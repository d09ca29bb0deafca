"""nasbench: one search space of mobile vision backbones, and a Pareto front of it that can be trusted.

Names load on first use, so `import nasbench` costs neither torch nor ray.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
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
    "load_model": "checkpoints",
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


class _Package(ModuleType):
    """Keeps `nasbench.cost` and `nasbench.search` functions: importing a module of that name would bind the module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and _HOME.get(name) == name):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return [*globals(), *__all__]
