"""Random search: independent draws from the space, none of them twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import Budget
from nasbench.space.limits import Limits, Predict, RejectionCounter
from nasbench.strategies.candidate import Candidate, Desk, Space


def propose(
    space: Space,
    trials: Sequence[Candidate],
    rng: np.random.Generator | int,
    n: int,
    *,
    budgets: Sequence[Budget] = (),
    num_classes: int = 1000,
    predict: Predict | None = None,
    counter: RejectionCounter | None = None,
    speed: Callable[[Architecture], float] | None = None,
) -> list[Architecture]:
    """Up to `n` new random members within the budgets; fewer when the space has no more. It asks for no speed."""
    desk = Desk.of(space, trials, rng, Limits(tuple(budgets), num_classes, predict), counter)
    found: list[Architecture] = []
    while len(found) < n:
        arch = desk.draw_new()
        if arch is None:
            break
        found.append(desk.take(arch))
    return found
