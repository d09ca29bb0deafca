"""Random search: independent draws from the space, none of them twice."""

from __future__ import annotations

from nasbench.arch.architecture import Architecture
from nasbench.strategies.context import Context, Proposals
from nasbench.values import Value


class RandomSettings(Value, strict=True):
    """Random search has nothing to set."""


def propose(context: Context, n: int, settings: RandomSettings) -> list[Architecture]:
    """Up to `n` new random members within the budgets; fewer when the space has no more."""
    return Proposals(context).fill(n, lambda: None)
