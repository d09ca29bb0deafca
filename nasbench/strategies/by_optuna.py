"""Optuna's samplers as strategies, over a space's parameters (`SearchSpace.parameters`).

Optuna is imported with the first proposal. Each call adds all trials to a new study in memory, so no state is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.strategies.context import Context, Parametric, Proposals
from nasbench.values import Value

PREFIX = "optuna:"


def propose_by(sampler: str) -> Callable[[Context, int, Value], list[Architecture]]:
    """The `propose` of the sampler of this name."""
    return partial(_propose, sampler)


def _propose(sampler: str, context: Context, n: int, settings: Value) -> list[Architecture]:
    """Up to `n` new architectures within the budgets; fewer when the space has no more."""
    if not isinstance(context.space, Parametric):
        raise UserError(f"strategy {PREFIX + sampler!r}: needs a search space with parameters; use evolution here")
    from nasbench.strategies.optuna_study import Asking

    proposals = Proposals(context)
    return proposals.fill(n, Asking(context.space, context, proposals, sampler, settings).next)
