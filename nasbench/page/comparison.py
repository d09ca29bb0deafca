"""Two studies compared: within the same latency, whose design is more accurate, and by more than seed noise or not."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

from nasbench.report.noise import SeedNoise, comparable, seed_noise
from nasbench.report.results import StudyResult
from nasbench.report.rows import ReportRow

LEVEL = 0.9  # of the interval of a difference


class Difference(NamedTuple):
    """Accuracy of the first minus that of the second, with its 90 % interval where noise is known.

    `paired`: over seeds that both were trained with, one difference a seed.
    """

    mean: float
    low: float | None
    high: float | None
    paired: bool


def comparisons(results: Sequence[StudyResult], names: Sequence[str]) -> list[dict[str, Any]]:
    """Each pair of studies: why they do not compare, or one line for each latency at which either has a design."""
    rows = [[row for row in comparable(result.rows()) if row.latency is not None] for result in results]
    return [
        {"first": names[a], "second": names[b], "why_not": why_not(results[a], results[b], rows[a], rows[b]),
         "lines": _lines(rows[a], rows[b])}
        for a, b in combinations(range(len(results)), 2)
    ]  # fmt: skip


def why_not(a: StudyResult, b: StudyResult, rows_a: Sequence[ReportRow], rows_b: Sequence[ReportRow]) -> str:
    """Why their figures cannot be compared; empty where they can."""
    if not rows_a or not rows_b:
        return "one of them has no design with a score and a latency"
    first, second = rows_a[0], rows_b[0]
    fidelities = [result.study.ladder.rungs[max(0, row.rung)].fidelity for result, row in ((a, first), (b, second))]
    differing = {
        "other images": a.study.data_name != b.study.data_name,
        "another objective": a.study.objective != b.study.objective,
        "another training": fidelities[0] != fidelities[1],
        "another split": first.split != second.split,
        "another device": a.study.device != b.study.device,
    }
    return " and ".join(name for name, differs in differing.items() if differs)


def _lines(a: Sequence[ReportRow], b: Sequence[ReportRow]) -> list[dict[str, Any]]:
    limits = sorted({row.known_latency for row in (*a, *b) if row.on_front})
    noise = seed_noise([*a, *b])
    lines: list[dict[str, Any]] = []
    for limit in limits:
        first, second = _best(a, limit), _best(b, limit)
        if first is None or second is None:
            continue
        if lines and (lines[-1]["first"], lines[-1]["second"]) == (first.name, second.name):
            continue
        found = difference(first, second, noise)
        lines.append({"limit_ms": limit, "first": first.name, "second": second.name, **found._asdict()})
    return lines


def _best(rows: Sequence[ReportRow], limit: float) -> ReportRow | None:
    return max((row for row in rows if row.known_latency <= limit), key=lambda row: row.accuracy, default=None)


def difference(first: ReportRow, second: ReportRow, noise: SeedNoise | None) -> Difference:
    """Paired over the seeds that both have, where there are two or more; else by the noise pooled over all networks."""
    shared = sorted(first.accuracies.keys() & second.accuracies.keys())
    if first.id != second.id and len(shared) > 1:
        gaps = [first.accuracies[seed] - second.accuracies[seed] for seed in shared]
        return _with_interval(
            statistics.fmean(gaps), statistics.stdev(gaps) / math.sqrt(len(gaps)), len(gaps) - 1, paired=True
        )
    mean = first.accuracy - second.accuracy
    if noise is None:
        return Difference(mean, None, None, paired=False)
    error = noise.std * math.sqrt(1 / first.seeds + 1 / second.seeds)
    return _with_interval(mean, error, noise.degrees_of_freedom, paired=False)


def _with_interval(mean: float, error: float, freedom: int, paired: bool) -> Difference:
    from scipy.special import stdtrit  # scipy.stats takes half a second to import

    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return Difference(mean, mean - reach, mean + reach, paired)
