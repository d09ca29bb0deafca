"""Whether a difference between two networks is more than the luck of their seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nasbench.report.rows import ReportRow
from nasbench.study.trials import Kind


@dataclass(frozen=True)
class SeedNoise:
    """Standard deviation of accuracy over seeds, pooled over all networks that were trained more than once.

    Two or three seeds of one network say little about its spread; pooled over the finalists there are enough degrees
    of freedom, at the price of assuming that they all scatter alike.
    """

    std: float
    degrees_of_freedom: int


def seed_noise(rows: Sequence[ReportRow]) -> SeedNoise | None:
    """The pooled within-network standard deviation; None if no network has two seeds."""
    squares, freedom = 0.0, 0
    for row in rows:
        squares += sum((value - row.accuracy) ** 2 for value in row.accuracies.values())
        freedom += row.seeds - 1
    return SeedNoise(math.sqrt(squares / freedom), freedom) if freedom > 0 else None


@dataclass(frozen=True)
class AccuracyGap:
    """Accuracy of `first` minus `second`, with the standard error that seed noise gives it (None if unknown)."""

    first: ReportRow
    second: ReportRow
    mean: float
    standard_error: float | None

    @property
    def exceeds_noise(self) -> bool | None:
        """More than two standard errors apart; None where nothing is known of the noise."""
        return None if self.standard_error is None else abs(self.mean) > 2 * self.standard_error


def accuracy_gap(first: ReportRow, second: ReportRow, noise: SeedNoise | None) -> AccuracyGap:
    if first.split != second.split or first.rung != second.rung:
        raise ValueError(
            f"{first.name} ({first.split}, rung {first.rung}) and {second.name} ({second.split}, rung {second.rung}) "
            "were not measured alike; compare rows of one split and one rung"
        )
    error = None if noise is None else noise.std * math.sqrt(1 / first.seeds + 1 / second.seeds)
    return AccuracyGap(first, second, first.accuracy - second.accuracy, error)


def _latencies(first: ReportRow, second: ReportRow) -> tuple[float, float, str] | None:
    """Both rows' latency of the same kind, and that kind; measured where both have it."""
    if first.latency_measured is not None and second.latency_measured is not None:
        return first.latency_measured, second.latency_measured, "measured"
    if first.latency_predicted is not None and second.latency_predicted is not None:
        return first.latency_predicted, second.latency_predicted, "predicted"
    return None


def _comparable(rows: Sequence[ReportRow]) -> list[ReportRow]:
    """The rows that share the split and rung of the best supported ones (most seeds, highest rung)."""
    if not rows:
        return []
    chief = max(rows, key=lambda row: (row.rung, row.seeds, row.split == "test"))
    return [row for row in rows if (row.split, row.rung) == (chief.split, chief.rung)]


def challengers(rows: Sequence[ReportRow]) -> tuple[ReportRow | None, list[ReportRow]]:
    """The most accurate fixed point, and the searched designs that are no slower than it, best first."""
    rows = _comparable(rows)
    fixed = max((row for row in rows if row.kind == Kind.FIXED_POINT), key=lambda row: row.accuracy, default=None)
    if fixed is None:
        return None, []
    pairs = [(row, _latencies(row, fixed)) for row in rows if row.kind == Kind.SEARCHED]
    faster = [row for row, pair in pairs if pair is not None and pair[0] <= pair[1]]
    return fixed, sorted(faster, key=lambda row: -row.accuracy)


def _points(value: float) -> str:
    return f"{100 * value:+.2f} points"


def _describe(row: ReportRow) -> str:
    spread = f" ± {100 * row.accuracy_std:.2f}" if row.accuracy_std is not None else ""
    seeds = f"{row.seeds} seed{'s' if row.seeds != 1 else ''}"
    latency = "" if row.latency is None else f", {row.latency:.2f} ms {row.latency_kind}"
    return f"{row.name} ({100 * row.accuracy:.2f}{spread} {row.objective.unit} {row.split}, {seeds}{latency})"


def _judgement(gap: AccuracyGap, noise: SeedNoise | None) -> str:
    if gap.standard_error is None or noise is None:
        return "Each was trained with one seed, so nothing can be said about noise."
    relation = "more" if gap.exceeds_noise else "not more"
    return (
        f"Seed noise is {100 * noise.std:.2f} points (pooled, {noise.degrees_of_freedom} degrees of freedom), so two "
        f"standard errors are {200 * gap.standard_error:.2f} points: the difference is {relation} than seed noise."
    )


def verdict(rows: Sequence[ReportRow]) -> list[str]:
    """In words and figures: does a searched design beat the best fixed point at no more latency?"""
    fixed, faster = challengers(rows)
    if fixed is None:
        return ["No fixed point fits the budget, so there is nothing to compare the front with."]
    lines = [f"Best fixed point within the budget: {_describe(fixed)}."]
    if not faster:
        return [*lines, "No searched design was as fast or faster: nothing beats it at equal or lower latency."]
    noise = seed_noise(_comparable(rows))
    gap = accuracy_gap(faster[0], fixed, noise)
    pair = _latencies(gap.first, fixed)
    assert pair is not None  # challengers() kept only rows with a common latency
    lines.append(
        f"Best of {len(faster)} searched design{'s' * (len(faster) > 1)} at equal or lower latency: "
        f"{_describe(gap.first)}, "
        f"{_points(gap.mean)} at "
        f"{pair[0] / pair[1] - 1:+.0%} latency ({pair[2]})."
    )
    outcome = "It beats the fixed point. " if gap.mean > 0 else "It does not beat the fixed point. "
    return [*lines, outcome + _judgement(gap, noise)]
