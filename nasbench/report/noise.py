"""Whether a difference between two networks is more than the luck of their seeds."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from nasbench.report.rows import ReportRow
from nasbench.study.seed_noise import SeedNoise, pooled, pooled_between
from nasbench.study.trials import Kind


def seed_noise(rows: Sequence[ReportRow]) -> SeedNoise | None:
    """The pooled within-network standard deviation; None if no network has two seeds."""
    return _as_raced(pooled(list(row.accuracies.values()) for row in rows), rows)


def noise_between(first: ReportRow, second: ReportRow, rows: Sequence[ReportRow]) -> SeedNoise | None:
    """What a difference between two of `rows` is held against; None if no network has two seeds."""
    others = [list(row.accuracies.values()) for row in rows if row is not first and row is not second]
    noise = pooled_between(list(first.accuracies.values()), list(second.accuracies.values()), others)
    return _as_raced(noise, rows)


def _as_raced(noise: SeedNoise | None, rows: Sequence[ReportRow]) -> SeedNoise | None:
    return noise and replace(noise, raced=any(row.raced for row in rows))


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


# By how much more a lead must exceed its standard error where trainings were chosen one by one until it was clear:
# with it equal networks lead in 5.0 % of simulated races, without it in 6.6 % (benchmarks/race_errors.py).
RACED = 1.15


def needed_factor(candidates: int, noise: SeedNoise) -> float:
    """Standard errors that the best of `candidates` must lead by, for trainings such as those that told `noise`."""
    return choice_factor(candidates, noise.degrees_of_freedom) * (RACED if noise.raced else 1.0)


@lru_cache(maxsize=64)
def choice_factor(candidates: int, degrees_of_freedom: int) -> float:
    """Standard errors that the best of `candidates` must lead another network by: equal ones do in 5 % of cases.

    Dunnett's one-sided test: the candidates are compared with the same network, trained with as many seeds, so their t
    statistics are correlated by 1/2. Two at least, as for a single candidate, whose own point lies there where the
    noise is known from four degrees of freedom on (5.8 %).
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
    """How often the best of so many networks that are all equal would lead by less than this many standard errors.

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


def _points(value: float) -> str:
    return f"{100 * value:+.2f} points"


def _describe(row: ReportRow) -> str:
    spread = f" ± {100 * row.accuracy_std:.2f}" if row.accuracy_std is not None else ""
    seeds = f"{row.seeds} seed{'s' if row.seeds != 1 else ''}"
    latency = "" if row.latency is None else f", {row.latency:.2f} ms {row.latency_kind}"
    return f"{row.name} ({100 * row.accuracy:.2f}{spread} {row.words.unit} {row.split}, {seeds}{latency})"


def _judgement(gap: AccuracyGap, noise: SeedNoise | None, searched: int, fixed: int) -> str:
    """Whether the best of `searched` designs beats the best of `fixed` networks, and whether that is more than luck.

    The one that leads was picked as the best of its kind, and equal networks lead by luck the more of them there are.
    """
    ahead = gap.mean > 0
    candidates, kind = (searched, "searched designs") if ahead else (fixed, "published networks")
    factor = None if noise is None else needed_factor(candidates, noise)
    exceeds = gap.standard_error is not None and factor is not None and abs(gap.mean) > factor * gap.standard_error
    beats = "beats" if exceeds or candidates == 1 else "is ahead of"
    outcome = f"It {beats if ahead else 'does not beat'} the published network."
    if gap.standard_error is None or noise is None or factor is None:
        return f"{outcome} Each was trained with one seed, so nothing can be said about noise."
    errors = "two standard errors" if factor == 2 else f"{factor:.2f} standard errors"
    chosen = _corrections(candidates, kind, noise.raced)
    return (
        f"{outcome} Seed noise is {100 * noise.std:.2f} points (pooled, {noise.degrees_of_freedom} degrees of "
        f"freedom), so {errors}{chosen} are {100 * factor * gap.standard_error:.2f} points: the difference is "
        f"{'more' if exceeds else 'not more'} than seed noise."
    )


def _corrections(candidates: int, kind: str, raced: bool) -> str:
    """What the bound allows for, as a clause."""
    reasons = [f"picked the best of {candidates} {kind} (Dunnett)"] if candidates > 1 else []
    reasons += ["looked after every training"] if raced else []
    return f", corrected for having {' and '.join(reasons)}," if reasons else ""


def _without_fixed_point(rows: Sequence[ReportRow]) -> str:
    if not rows:
        return "No training is complete yet, so there is no front."
    if any(row.kind == Kind.FIXED_POINT for row in rows):
        return "No published network was scored as the best designs were, so the front has nothing to be compared with."
    return "No published network fits the budget, so the front has nothing to be compared with."


def _without_challenger(fixed: ReportRow, rows: Sequence[ReportRow]) -> str:
    waiting = [row for row in rows if row.kind == Kind.SEARCHED and row.lacks]
    if any((pair := latency_pair(row, fixed)) and pair[0] <= pair[1] for row in waiting):
        return "No searched design that is as fast or faster has been scored as it was yet."
    return "No searched design was as fast or faster: nothing beats it at equal or lower latency."


def verdict(rows: Sequence[ReportRow]) -> list[str]:
    """In words and figures: does a searched design beat the best fixed point at no more latency?"""
    fixed, faster = challengers(rows)
    if fixed is None:
        return [_without_fixed_point(rows)]
    lines = [f"Best published network within the budget: {_describe(fixed)}."]
    if not faster:
        return [*lines, _without_challenger(fixed, rows)]
    compared = comparable(rows)
    noise = noise_between(faster[0], fixed, compared)
    gap = accuracy_gap(faster[0], fixed, noise)
    pair = latency_pair(gap.first, fixed)
    assert pair is not None  # challengers() kept only rows with a common latency
    lines.append(
        f"Best of {len(faster)} searched design{'s' * (len(faster) > 1)} at equal or lower latency: "
        f"{_describe(gap.first)}, "
        f"{_points(gap.mean)} at "
        f"{pair[0] / pair[1] - 1:+.0%} latency ({pair[2]})."
    )
    published = sum(row.kind == Kind.FIXED_POINT for row in compared)
    return [*lines, _judgement(gap, noise, len(faster), published)]
