"""Drawing from a space under budgets: plain draws where enough of them fit, else moves that reduce the excess."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import UNITS, Budget, device_metrics, total_violation
from nasbench.errors import UserError

Predict = Callable[[Architecture], Mapping[str, float]]  # upper ends of the device's metrics: ms, bytes, joules
PLAIN_DRAWS = 100  # none of these fits: less than 1 % of the space does, by all one can tell
STEERED_STARTS = 4  # draws that are led towards the budgets before giving up
STEERING_MOVES = 600  # moves tried from one start
FRUITLESS_MOVES = 120  # moves without progress that end a start


@dataclass(frozen=True)
class Limits:
    """Budgets and what it takes to judge an architecture by them.

    `predict` gives the metrics that only a device's profile knows, those that budgets ask for, by name.
    """

    budgets: tuple[Budget, ...] = ()
    num_classes: int = 1000
    predict: Predict | None = None

    def metrics(self, arch: Architecture) -> dict[str, float]:
        """The analytic cost of the deploy form, and what a device needs where a budget asks for it."""
        from nasbench.costs.analytic import cost  # the formulas sit beside the modules, which need torch

        values: dict[str, float] = dict(cost(arch, self.num_classes).to_dict())
        if asked := device_metrics(self.budgets):
            predicted = {} if self.predict is None else self.predict(arch)
            unknown = ", ".join(metric for metric in asked if metric not in predicted)
            if unknown:
                raise ValueError(f"a budget on {unknown} needs a predictor: give predict, architecture -> its metrics")
            values |= predicted
        return values

    def violation(self, arch: Architecture) -> float:
        """Sum of the relative excesses, 0.0 where every budget is met."""
        return total_violation(self.budgets, self.metrics(arch)) if self.budgets else 0.0


@dataclass
class RejectionCounter:
    """How many candidates were drawn and how many each rule rejected.

    Shared by several calls, it remembers how rare a fit is.
    """

    drawn: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def reject(self, rule: str) -> None:
        self.rejected[rule] += 1

    def judge(self, budgets: tuple[Budget, ...], metrics: Mapping[str, float]) -> bool:
        """Count one plain draw; whether it meets every budget."""
        failed = [budget for budget in budgets if budget.violation(metrics) > 0]
        self.drawn += 1
        self.accepted += not failed
        for budget in failed:
            self.reject(f"budget {budget}")
        return not failed

    @property
    def rarely_accepts(self) -> bool:
        return self.drawn >= PLAIN_DRAWS and self.accepted < 0.01 * self.drawn

    @property
    def most(self) -> tuple[str, int] | None:
        """The rule that rejects most, and how often it did."""
        return self.rejected.most_common(1)[0] if self.rejected else None

    def to_dict(self) -> dict[str, Any]:
        return {"drawn": self.drawn, "accepted": self.accepted, "rejected": dict(self.rejected)}

    def __str__(self) -> str:
        if not self.drawn:
            return "nothing drawn yet"
        text = f"{self.accepted} of {self.drawn} random draws fit"
        most = self.most
        return f"{text}; {most[0]} rejects most ({most[1]})" if most else text


@dataclass
class _Hunt:
    """One call's search: the space, the rules and the smallest value seen of each budget's metric."""

    space: Any
    rng: np.random.Generator
    limits: Limits
    tried: int = 0
    smallest: dict[str, float] = field(default_factory=dict)
    nearest: tuple[float, dict[str, float]] = (np.inf, {})

    def judge(self, arch: Architecture) -> dict[str, float]:
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
        """From `arch` by random moves that reduce the excess, to a fit or to a standstill."""
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
        """Which budget nothing met, what the smallest needs, and what to do."""
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
    """`value` of the budget's metric in the unit that suits it: 8.4e6 under `1KFLOP` is '8.4MFLOP'."""
    binary = budget.unit[1:2] == "i"
    units = {(scale, shown) for metric, scale, shown in UNITS.values() if metric == budget.metric}
    alike = sorted(unit for unit in units if unit[0] == 1 or (unit[1][1:2] == "i") == binary)
    scale, shown = max((unit for unit in alike if unit[0] <= value), default=alike[0])
    return f"{value / scale:.3g}{shown}"


def draw_within(space: Any, rng: np.random.Generator, limits: Limits, counter: RejectionCounter) -> Architecture:
    """A random member of `space` within `limits`; UserError if none is found. At most some thousand candidates."""
    hunt = _Hunt(space, rng, limits)
    for _ in range(PLAIN_DRAWS):
        if counter.rarely_accepts:
            break
        arch = space.draw(rng)
        if counter.judge(limits.budgets, hunt.judge(arch)):
            return arch
    for _ in range(STEERED_STARTS):
        found = hunt.lead(space.draw(rng))
        if found is not None:
            return found
    raise UserError(hunt.failure())
