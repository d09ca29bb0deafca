"""Budgets as a space judges its draws by them, and the count of what they reject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget, device_metrics, total_violation

Predict = Callable[[Architecture], Mapping[str, float]]  # upper ends of the device's metrics: ms, bytes, joules
PLAIN_DRAWS = 100  # none of these fits: less than 1 % of the space does, by all one can tell


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

    def to_dict(self) -> dict[str, object]:
        return {"drawn": self.drawn, "accepted": self.accepted, "rejected": dict(self.rejected)}

    def __str__(self) -> str:
        if not self.drawn:
            return "nothing drawn yet"
        text = f"{self.accepted} of {self.drawn} random draws fit"
        most = self.most
        return f"{text}; {most[0]} rejects most ({most[1]})" if most else text
