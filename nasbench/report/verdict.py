"""The verdict on a search, in words: does a searched design beat the best published network at no more latency?"""

from __future__ import annotations

from collections.abc import Sequence

from nasbench.report.noise import (
    AccuracyGap,
    accuracy_gap,
    challengers,
    comparable,
    latency_pair,
    needed_factor,
    noise_between,
)
from nasbench.report.rows import ReportRow
from nasbench.study.seed_noise import SeedNoise
from nasbench.study.trials import Kind


def verdict(rows: Sequence[ReportRow]) -> list[str]:
    """One line or two, with figures. `rows`: all rows of a study."""
    fixed, faster = challengers(rows)
    if fixed is None:
        return [_without_fixed_point(rows)]
    lines = [f"Best published network within the budget: {_describe(fixed)}."]
    if not faster:
        return [*lines, _without_challenger(fixed, rows)]
    compared = comparable(rows)
    noise = noise_between(faster[0], fixed, compared)
    gap = accuracy_gap(faster[0], fixed, noise)
    pair = latency_pair(faster[0], fixed)
    assert pair is not None  # challengers() kept only rows with a common latency
    lines.append(
        f"Best of {len(faster)} searched design{'s' * (len(faster) > 1)} at equal or lower latency: "
        f"{_describe(faster[0])}, "
        f"{_points(gap.mean)} at "
        f"{pair[0] / pair[1] - 1:+.0%} latency ({pair[2]})."
    )
    published = sum(row.kind == Kind.FIXED_POINT for row in compared)
    return [*lines, _judgement(gap, noise, len(faster), published)]


def _points(value: float) -> str:
    return f"{100 * value:+.2f} points"


def _describe(row: ReportRow) -> str:
    spread = f" ± {100 * row.accuracy_std:.2f}" if row.accuracy_std is not None else ""
    seeds = f"{row.seeds} seed{'s' if row.seeds != 1 else ''}"
    latency = "" if row.latency is None else f", {row.latency:.2f} ms {row.latency_kind}"
    return f"{row.name} ({100 * row.accuracy:.2f}{spread} {row.words.unit} {row.split}, {seeds}{latency})"


def _judgement(gap: AccuracyGap, noise: SeedNoise | None, searched: int, fixed: int) -> str:
    """Whether the best of `searched` designs beats the best of `fixed` networks, and whether by more than seed noise.

    The bound allows for the one that leads having been picked as the best of its kind.
    """
    ahead = gap.mean > 0
    candidates, kind = (searched, "searched designs") if ahead else (fixed, "published networks")
    factor = None if noise is None else needed_factor(candidates, noise)
    exceeds = gap.standard_error is not None and factor is not None and abs(gap.mean) > factor * gap.standard_error
    standing = ("beats" if exceeds else "is ahead of") if ahead else "does not beat"
    outcome = f"It {standing} the published network."
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
