"""Budgets applied to draws from a space, and counts of the draws that they reject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget, device_metrics, total_violation

Predict = Callable[[Architecture], Mapping[str, float]]  # {metric: upper end} of a device's metrics: ms, bytes, joules
PLAIN_DRAWS = 100  # if none of so many fits, less than 1 % of the space is taken to fit


@dataclass(frozen=True)
class Limits:
    """Budgets, with what is needed to evaluate an architecture's metrics.

    predict: gives the device metrics that budgets name; needed only where one does.
    """

    budgets: tuple[Budget, ...] = ()
    num_classes: int = 1000
    predict: Predict | None = None

    def metrics(self, arch: Architecture) -> dict[str, float]:
        """The analytic cost of the deploy form, and predicted device metrics where budgets name any."""
        values: dict[str, float] = dict(cost(arch, self.num_classes).to_dict())
        if asked := device_metrics(self.budgets):
            predicted = {} if self.predict is None else self.predict(arch)
            unknown = ", ".join(metric for metric in asked if metric not in predicted)
            if unknown:
                raise ValueError(f"a budget on {unknown} needs a predictor: give predict, architecture -> its metrics")
            values |= predicted
        return values

    def violation(self, arch: Architecture) -> float:
        """Sum of the relative excesses over the budgets, 0.0 where all are met."""
        return total_violation(self.budgets, self.metrics(arch)) if self.budgets else 0.0


@dataclass
class RejectionCounter:
    """The number of candidates drawn, and how many each rule rejected.

    Passed to several calls, it lets them skip plain draws where these rarely fit.
    """

    drawn: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def reject(self, rule: str) -> None:
        self.rejected[rule] += 1

    def judge(self, budgets: tuple[Budget, ...], metrics: Mapping[str, float]) -> bool:
        """Count one plain draw; returns whether it meets every budget."""
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
        """The rule that rejected most candidates, and how many; None if none did."""
        return self.rejected.most_common(1)[0] if self.rejected else None

    def to_dict(self) -> dict[str, object]:
        return {"drawn": self.drawn, "accepted": self.accepted, "rejected": dict(self.rejected)}

    def __str__(self) -> str:
        if not self.drawn:
            return "nothing drawn yet"
        text = f"{self.accepted} of {self.drawn} random draws fit"
        most = self.most
        return f"{text}; {most[0]} rejects most ({most[1]})" if most else text
