"""Whether a difference between two networks exceeds seed noise."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from nasbench.report.rows import ReportRow
from nasbench.study.seed_noise import SeedNoise, pooled, pooled_between
from nasbench.study.trials import Kind


def seed_noise(rows: Sequence[ReportRow]) -> SeedNoise | None:
    """The pooled within-network standard deviation; None if no network has two seeds."""
    return _as_raced(pooled(list(row.accuracies.values()) for row in rows), rows)


def noise_between(first: ReportRow, second: ReportRow, rows: Sequence[ReportRow]) -> SeedNoise | None:
    """The noise that a difference between two of `rows` is tested against; None if no network has two seeds."""
    others = [list(row.accuracies.values()) for row in rows if row is not first and row is not second]
    noise = pooled_between(list(first.accuracies.values()), list(second.accuracies.values()), others)
    return _as_raced(noise, rows)


def _as_raced(noise: SeedNoise | None, rows: Sequence[ReportRow]) -> SeedNoise | None:
    return noise and replace(noise, raced=any(row.raced for row in rows))


class AccuracyGap(NamedTuple):
    """A difference of accuracies, and the standard error that seed noise gives it (None if unknown)."""

    mean: float
    standard_error: float | None


def accuracy_gap(first: ReportRow, second: ReportRow, noise: SeedNoise | None) -> AccuracyGap:
    """Of `first` minus `second`; ValueError unless both were scored on one split at one rung."""
    if first.split != second.split or first.rung != second.rung:
        raise ValueError(
            f"{first.name} ({first.split}, rung {first.rung}) and {second.name} ({second.split}, rung {second.rung}) "
            "were not measured alike; compare rows of one split and one rung"
        )
    error = None if noise is None else noise.std * math.sqrt(1 / first.seeds + 1 / second.seeds)
    return AccuracyGap(first.accuracy - second.accuracy, error)


# Factor on the bound where trainings were added one by one until the lead was clear (sequential testing): with it equal
# networks lead in 5.0 % of simulated races, without it in 6.6 % (benchmarks/race_errors.py).
RACED = 1.15


def needed_factor(candidates: int, noise: SeedNoise) -> float:
    """Standard errors by which the best of `candidates` must lead another network to exceed `noise`."""
    return choice_factor(candidates, noise.degrees_of_freedom) * (RACED if noise.raced else 1.0)


@lru_cache(maxsize=64)
def choice_factor(candidates: int, degrees_of_freedom: int) -> float:
    """Standard errors by which the best of `candidates` leads an equal network in 5 % of cases.

    Dunnett's one-sided test: the candidates are compared with the same network, trained with as many seeds, so their t
    statistics are correlated by 1/2. At least two standard errors, the rule for a single candidate from four degrees of
    freedom on (exceeded in 5.8 % of cases there).
    """
    if candidates == 1 and degrees_of_freedom >= 4:
        return 2.0
    thousandths = range(2000, 1_000_000)
    first = bisect_left(thousandths, 0.95, key=lambda n: _largest_below(n / 1000, candidates, degrees_of_freedom))
    return thousandths[first] / 1000


def _largest_below(limit: float, candidates: int, freedom: int) -> float:
    """P(the largest of `candidates` t statistics < limit), Eq. 3 of Dunnett (1955), by quadrature at rho = 1/2."""
    from scipy.special import gammaincinv, ndtr  # scipy.stats has both by name, and takes half a second to import

    shares = (np.arange(400) + 0.5) / 400
    spread = np.sqrt(2 * gammaincinv(freedom / 2, shares) / freedom)  # estimated noise over true
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    below = ndtr(math.sqrt(2) * limit * spread[:, None] + nodes) ** candidates  # (400, 60)
    return float((below @ (weights / weights.sum())).mean())


def confidence_of_lead(lead: float, candidates: int, noise: SeedNoise) -> float:
    """How often the best of `candidates` equal networks leads by less than `lead` standard errors.

    The same test as `needed_factor`: 0.95 is where a lead begins to count as more than noise.
    """
    return _largest_below(lead / (RACED if noise.raced else 1.0), candidates, noise.degrees_of_freedom)


def latency_pair(first: ReportRow, second: ReportRow) -> tuple[float, float, str] | None:
    """Both rows' latency of the same kind, and that kind; measured where both have it."""
    if first.latency_measured is not None and second.latency_measured is not None:
        return first.latency_measured, second.latency_measured, "measured"
    if first.latency_predicted is not None and second.latency_predicted is not None:
        return first.latency_predicted, second.latency_predicted, "predicted"
    return None


def comparable(rows: Sequence[ReportRow]) -> list[ReportRow]:
    """The rows that share the split and rung of the best supported ones (highest rung, most seeds)."""
    if not rows:
        return []
    chief = max(rows, key=lambda row: (row.rung, row.seeds, row.split == "test"))
    return [row for row in rows if (row.split, row.rung) == (chief.split, chief.rung)]


def challengers(rows: Sequence[ReportRow]) -> tuple[ReportRow | None, list[ReportRow]]:
    """The most accurate fixed point, and the searched designs that are no slower than it, best first."""
    rows = comparable(rows)
    fixed = max((row for row in rows if row.kind == Kind.FIXED_POINT), key=lambda row: row.accuracy, default=None)
    if fixed is None:
        return None, []
    pairs = [(row, latency_pair(row, fixed)) for row in rows if row.kind == Kind.SEARCHED]
    faster = [row for row, pair in pairs if pair is not None and pair[0] <= pair[1]]
    return fixed, sorted(faster, key=lambda row: -row.accuracy)
