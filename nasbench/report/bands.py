"""Which design of the front to take under a latency limit, and how sure that choice is.

The limits from one design's latency to that of the next slower one are its band. The choice is sure as far as it leads
the faster designs and the published networks by more than seed noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

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

MOST_MORE = 20  # further final trainings: races twice as long have 6 to 7 % false winners (benchmarks/race_errors.py)


@dataclass(frozen=True)
class Lead:
    """By how much `row` is ahead of `rival` (`gap`, a share of 1), and how sure.

    A gap above `needed` exceeds noise; `confidence` is how often equal networks lead by less (both None where no noise
    is known). Both are corrected for `row` having been picked as the best of `candidates`.
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
    """The latency limits, from that of `row` up to `until` (None: any), under which `row` is the most accurate design.

    `enough`: the fastest design of the front that `row` does not lead by more than noise; `row` itself where it leads
    every faster one. `over_faster`: its lead over the next faster one. `published`: the lead between it and the most
    accurate published network within some limit of the band, else the fastest one; the one ahead is the lead's `row`.
    None where none was scored at the same level.
    """

    row: ReportRow
    until: float | None
    over_faster: Lead | None
    published: Lead | None
    enough: ReportRow


def latency_bands(rows: Sequence[ReportRow]) -> list[Band]:
    """One band a design of the front, fastest first. Designs that await a training at the top level make none."""
    alike = [row for row in comparable(rows) if row.latency is not None]
    front = sorted((row for row in alike if row.on_front and not row.lacks), key=attrgetter("known_latency"))
    limits = [*(after.known_latency for _, after in pairwise(front)), None]
    return [_band(row, until, front[:place], alike) for place, (row, until) in enumerate(zip(front, limits))]


def _band(row: ReportRow, until: float | None, faster: list[ReportRow], alike: list[ReportRow]) -> Band:
    within = [each for each in alike if each.known_latency <= row.known_latency]
    leads = [lead(row, each, len(within) - 1, alike) for each in faster]
    enough = next((each.rival for each in leads if each.exceeds_noise is False), row)
    return Band(row, until, leads[-1] if leads else None, _with_published(row, until, alike), enough)


def _with_published(row: ReportRow, until: float | None, alike: list[ReportRow]) -> Lead | None:
    """The lead between `row` and the best published network that fits a limit below `until`, else the fastest one."""
    every = [each for each in alike if each.kind == Kind.FIXED_POINT and each.id != row.id]
    fitting = [each for each in every if until is None or each.known_latency < until]
    best = max(fitting, key=lambda each: each.accuracy, default=None) or min(
        every, key=attrgetter("known_latency"), default=None
    )
    if best is None:
        return None
    if best.accuracy > row.accuracy:
        return lead(best, row, max(1, len(fitting)), alike)
    slowest = max(row.known_latency, best.known_latency)
    return lead(row, best, sum(each.kind == row.kind and each.known_latency <= slowest for each in alike), alike)


def lead(row: ReportRow, rival: ReportRow, candidates: int, alike: Sequence[ReportRow]) -> Lead:
    """The lead of `row` over `rival`, both of `alike`; negative where it is behind."""
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
    """How many further trainings of the best searched design and the best published network should decide whether the
    present lead exceeds noise; 0 where it is decided, or where that takes more than `MOST_MORE`."""
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
    """A line for a running search once a searched design leads the best published network by more than seed noise at no
    more latency; empty before.

    Each look is a test at 5 %, so that stopping at the first positive one is wrong more often than that.
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
