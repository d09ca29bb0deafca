"""One network as a report shows it, with what is measured kept apart from what is predicted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from nasbench.study.objective import SUPERVISED, Objective
from nasbench.study.trials import Kind

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture


@dataclass(frozen=True)
class Figure:
    """One metric of a network on a device, in the metric's own unit; None where it is not known."""

    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    measured: float | None = None


class LongTraining(NamedTuple):
    """Mean and standard deviation of the accuracy that a table expects after `times` times the training."""

    mean: float
    std: float
    times: int

    @property
    def at_least(self) -> float:
        """A standard deviation below the mean, so that nothing counts as good because little is known of it."""
        return self.mean - self.std


@dataclass(frozen=True)
class ReportRow:
    """One architecture at one rung.

    `accuracies` maps seed to measured accuracy (0 to 1) on `split`, or to the score of another `objective`. Latencies
    are in milliseconds, None where unknown. `cost` holds the analytic figures of the deploy form: macs, flops, params,
    weight_bytes, activations, peak_activation_bytes. `resources`: memory_bytes and energy_j, those with a budget.
    """

    id: str
    name: str
    kind: Kind
    arch: Architecture
    rung: int
    split: str
    accuracies: Mapping[int, float]
    cost: Mapping[str, float]
    latency_predicted: float | None = None
    latency_low: float | None = None
    latency_high: float | None = None
    latency_measured: float | None = None
    extrapolating: bool = False
    resources: Mapping[str, Figure] = field(default_factory=dict)
    on_front: bool = False
    objective: Objective = SUPERVISED
    notes: Mapping[str, str] = field(default_factory=dict)
    majority_share: float | None = None  # of the scored images; None where the trial did not store it
    balanced: bool = False  # accuracies are means over classes
    raced: bool = False  # its trainings were added one by one, depending on its lead
    expected_long: LongTraining | None = None
    lacks: str = ""  # on the front by its score at the level below: the training that is still missing

    @property
    def accuracy(self) -> float:
        return statistics.fmean(self.accuracies.values())

    @property
    def promise(self) -> tuple[float, int, float]:
        """By what a network is chosen for long training, the larger the better: the accuracy that it is expected to
        reach at least, a standard deviation below the mean, where a table tells; else that at the highest rung."""
        return self.expected_long.at_least if self.expected_long else 0.0, self.rung, self.accuracy

    @property
    def words(self) -> Objective:
        """What `accuracy` is called: balanced where it is the mean over classes."""
        return self.objective.words(self.balanced)

    @property
    def seeds(self) -> int:
        return len(self.accuracies)

    @property
    def accuracy_std(self) -> float | None:
        """Standard deviation over seeds (n - 1); None for a single seed."""
        return statistics.stdev(self.accuracies.values()) if self.seeds > 1 else None

    @property
    def latency(self) -> float | None:
        """The measured latency where there is one, else the predicted."""
        return self.latency_predicted if self.latency_measured is None else self.latency_measured

    @property
    def known_latency(self) -> float:
        """The same, of a row that is known to have one."""
        assert self.latency is not None
        return self.latency

    @property
    def latency_kind(self) -> str:
        if self.latency_measured is not None:
            return "measured"
        return "predicted" if self.latency_predicted is not None else "unknown"


def in_reading_order(rows: Sequence[ReportRow]) -> list[ReportRow]:
    """The front by latency, then the other fixed points by latency; nothing else."""
    shown = [row for row in rows if row.on_front or row.kind == Kind.FIXED_POINT]
    return sorted(shown, key=lambda row: (not row.on_front, math.inf if row.latency is None else row.latency, row.id))
