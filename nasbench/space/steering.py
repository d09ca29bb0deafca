"""Draws from a space under budgets: plain draws where enough of them fit, else local search that reduces the excess."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import UNITS, Budget, total_violation
from nasbench.errors import UserError
from nasbench.space.limits import PLAIN_DRAWS, Limits, RejectionCounter

STEERED_STARTS = 4  # local searches before giving up
STEERING_MOVES = 600  # moves tried from one start
FRUITLESS_MOVES = 120  # moves without progress that end a start


class Drawable(Protocol):
    """What drawing under budgets needs of a space."""

    @property
    def label(self) -> str: ...
    def draw(self, rng: np.random.Generator) -> Architecture: ...
    def mutate(self, arch: Architecture, rng: np.random.Generator) -> Architecture: ...


def draw_within(space: Drawable, rng: np.random.Generator, limits: Limits, counter: RejectionCounter) -> Architecture:
    """A random member of `space` within `limits`; UserError if none is found among at most about 2500 candidates."""
    search = _BudgetSearch(space, rng, limits)
    for _ in range(PLAIN_DRAWS):
        if counter.rarely_accepts:
            break
        arch = space.draw(rng)
        if counter.judge(limits.budgets, search.judge(arch)):
            return arch
    for _ in range(STEERED_STARTS):
        found = search.lead(space.draw(rng))
        if found is not None:
            return found
    raise UserError(search.failure())


@dataclass
class _BudgetSearch:
    """The search of one call, with the smallest value seen of each budget's metric and the nearest candidate."""

    space: Drawable
    rng: np.random.Generator
    limits: Limits
    tried: int = 0
    smallest: dict[str, float] = field(default_factory=dict)
    nearest: tuple[float, dict[str, float]] = (np.inf, {})  # excess, metrics

    def judge(self, arch: Architecture) -> dict[str, float]:
        """The metrics of a candidate, which is recorded."""
        metrics = self.limits.metrics(arch)
        self.tried += 1
        for budget in self.limits.budgets:
            value = metrics[budget.metric]
            self.smallest[budget.metric] = min(value, self.smallest.get(budget.metric, value))
        excess = total_violation(self.limits.budgets, metrics)
        if excess < self.nearest[0]:
            self.nearest = (excess, metrics)
        return metrics

    def lead(self, arch: Architecture) -> Architecture | None:
        """Random moves from `arch` that reduce the excess, up to a fit; None after too many moves without progress."""
        budgets = self.limits.budgets
        excess, fruitless = total_violation(budgets, self.judge(arch)), 0
        for _ in range(STEERING_MOVES):
            if excess == 0:
                return arch
            if fruitless >= FRUITLESS_MOVES:
                return None
            other = self.space.mutate(arch, self.rng)
            other_excess = total_violation(budgets, self.judge(other))
            if other_excess < excess:
                arch, excess, fruitless = other, other_excess, 0
            else:
                fruitless += 1
        return arch if excess == 0 else None

    def failure(self) -> str:
        """The error's text: the budget that nothing met, the smallest value seen, and the remedy."""
        where = f"no design of space {self.space.label!r} met"
        for budget in self.limits.budgets:
            smallest = self.smallest[budget.metric]
            if smallest > budget.limit:
                need = f"the smallest of {self.tried} tried needs {readable(budget, smallest)}"
                return f"budget {budget}: {where} it; {need}; raise the budget"
        names = " and ".join(map(str, self.limits.budgets))
        needs = " and ".join(readable(budget, self.nearest[1][budget.metric]) for budget in self.limits.budgets)
        return f"budgets {names}: {where} all; the nearest of {self.tried} tried needs {needs}; raise one of them"


def readable(budget: Budget, value: float) -> str:
    """`value` of the budget's metric in the largest unit below it: 8.4e6 under `1KFLOP` is '8.4MFLOP'."""
    binary = budget.unit[1:2] == "i"
    units = {(scale, shown) for metric, scale, shown in UNITS.values() if metric == budget.metric}
    alike = sorted(unit for unit in units if unit[0] == 1 or (unit[1][1:2] == "i") == binary)
    scale, shown = max((unit for unit in alike if unit[0] <= value), default=alike[0])
    return f"{value / scale:.3g}{shown}"
