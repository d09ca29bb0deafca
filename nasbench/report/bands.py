"""Which design for how many milliseconds, and how sure: the front read as an answer.

From one design of the front to the next slower one lies a band of latency limits that the first is the answer to. Two
questions decide how sure that is: whether it leads the faster designs, and the published networks, by more than the
luck of their seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from nasbench.report.noise import (
    accuracy_gap,
    challengers,
    comparable,
    confidence_of_lead,
    needed_factor,
    noise_between,
)
from nasbench.report.rows import ReportRow
from nasbench.study.trials import Kind

MOST_MORE = 20  # further final trainings: races twice as long let luck win in 6 to 7 % (benchmarks/race_errors.py)


@dataclass(frozen=True)
class Lead:
    """By how much `row` is ahead of `rival`, as a share of 1, and how sure.

    `needed` is the lead from which on it counts as more than noise; `confidence` how often equal networks would lead
    by less (both None where no noise is known). Corrected for `row` having been picked as the best of `candidates`.
    """

    row: ReportRow
    rival: ReportRow
    gap: float
    candidates: int
    needed: float | None = None
    confidence: float | None = None

    @property
    def exceeds_noise(self) -> bool | None:
        return None if self.needed is None else self.gap > self.needed


@dataclass(frozen=True)
class Band:
    """The limits from `row`'s latency up to `until` (None: any) that `row` is the answer to.

    `enough` is the fastest design of the front that `row` does not lead by more than noise: `row` itself where it leads
    every faster one. `over_faster`: its lead over the next faster one. `published`: between it and a published network,
    the most accurate that some limit of the band allows, else the fastest one; whichever is ahead is the lead's `row`.
    None: none was scored alike.
    """

    row: ReportRow
    until: float | None
    over_faster: Lead | None
    published: Lead | None
    enough: ReportRow


def latency_bands(rows: Sequence[ReportRow]) -> list[Band]:
    """One band a design of the front, fastest first. Designs that await a training at the top level make none."""
    alike = [row for row in comparable(rows) if row.latency is not None]
    front = sorted((row for row in alike if row.on_front and not row.lacks), key=_latency)
    limits = [*(_latency(after) for _, after in pairwise(front)), None]
    return [_band(row, until, front[:place], alike) for place, (row, until) in enumerate(zip(front, limits))]


def _latency(row: ReportRow) -> float:
    assert row.latency is not None  # only such rows are compared
    return row.latency


def _band(row: ReportRow, until: float | None, faster: list[ReportRow], alike: list[ReportRow]) -> Band:
    within = [each for each in alike if _latency(each) <= _latency(row)]
    leads = [lead(row, each, len(within) - 1, alike) for each in faster]
    enough = next((each.rival for each in leads if each.exceeds_noise is False), row)
    return Band(row, until, leads[-1] if leads else None, _with_published(row, until, alike), enough)


def _with_published(row: ReportRow, until: float | None, alike: list[ReportRow]) -> Lead | None:
    """The lead between `row` and the best published network that fits a limit below `until`, else the fastest one."""
    every = [each for each in alike if each.kind == Kind.FIXED_POINT and each.id != row.id]
    fitting = [each for each in every if until is None or _latency(each) < until]
    best = max(fitting, key=lambda each: each.accuracy, default=None) or min(every, key=_latency, default=None)
    if best is None:
        return None
    if best.accuracy > row.accuracy:
        return lead(best, row, max(1, len(fitting)), alike)
    slowest = max(_latency(row), _latency(best))
    return lead(row, best, sum(each.kind == row.kind and _latency(each) <= slowest for each in alike), alike)


def lead(row: ReportRow, rival: ReportRow, candidates: int, alike: Sequence[ReportRow]) -> Lead:
    """What is known of `row` being ahead of `rival`, both of `alike`; behind where the gap is negative."""
    noise = noise_between(row, rival, alike)
    gap, candidates = accuracy_gap(row, rival, noise), max(1, candidates)
    if gap.standard_error is None or noise is None or gap.standard_error == 0:
        return Lead(row, rival, gap.mean, candidates)
    return Lead(
        row,
        rival,
        gap.mean,
        candidates,
        needed_factor(candidates, noise) * gap.standard_error,
        confidence_of_lead(gap.mean / gap.standard_error, candidates, noise),
    )


def more_finals(rows: Sequence[ReportRow]) -> int:
    """How many further trainings of the best searched design and the best published network should tell whether the
    first, which leads, leads by more than noise; 0 where that is told, or would take too many."""
    fixed, faster = challengers(rows)
    if fixed is None or not faster:
        return 0
    alike, best = comparable(rows), faster[0]
    found, noise = lead(best, fixed, len(faster), alike), noise_between(best, fixed, alike)
    if found.exceeds_noise is not False or noise is None or not noise.raced or found.gap <= 0:
        return 0
    each = math.ceil(2 * (needed_factor(len(faster), noise) * noise.std / found.gap) ** 2)
    more = sum(max(1, each - row.seeds) for row in (best, fixed))
    return more if more <= MOST_MORE else 0


def good_enough(rows: Sequence[ReportRow]) -> str:
    """That the verdict is decided, while a search still runs: a searched design that is no slower than the best
    published network leads it by more than seed noise, so that stopping now costs no answer. Empty before that.

    Each look is a test at 5 %; whoever stops at the first of many that says so is wrong more often than that.
    """
    fixed, faster = challengers(rows)
    if fixed is None or not faster:
        return ""
    found = lead(faster[0], fixed, len(faster), comparable(rows))
    if not found.exceeds_noise or found.needed is None:
        return ""
    return (
        f"good enough now: {found.row.name} leads {fixed.name} by {100 * found.gap:.1f} points at no more latency, "
        f"more than seed noise ({100 * found.needed:.1f})"
    )
