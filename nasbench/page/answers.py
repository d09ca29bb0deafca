"""Which design for how many milliseconds, and how sure, as values of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nasbench.drawing.stages import stages_in_short
from nasbench.report.bands import Band
from nasbench.report.wording import beside_published, ms, over_faster, percent

# How sure an answer is: what the page's colours, signs and filters go by.
SURE, WITHIN_NOISE, UNKNOWN, ALONE = "sure", "within noise", "unknown", "alone"


def band_records(bands: Sequence[Band], after_long: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """One record a band: the design, the limits that it answers, how sure that is and why. `after_long`: by id of a
    design, what longer training said of it, or is expected to."""
    return [
        {
            "design": band.row.id,
            "name": band.row.name,
            "stages": stages_in_short(band.row.arch),
            "macs": band.row.cost["macs"],
            "params": band.row.cost["params"],
            "from_ms": band.row.latency,
            "until_ms": band.until,
            "accuracy": band.row.accuracy,
            "std": band.row.accuracy_std,
            "seeds": band.row.seeds,
            "split": band.row.split,
            "latency_kind": band.row.latency_kind,
            "latency_low": band.row.latency_low,
            "latency_high": band.row.latency_high,
            "verdict": verdict_of(band),
            "enough": _enough(band),
            "reasons": [over_faster(band), beside_published(band), *after_long.get(band.row.id, ())],
            "confidence": band.over_faster.confidence if band.over_faster else None,
        }
        for band in bands
    ]


def _enough(band: Band) -> dict[str, Any] | None:
    if band.enough is band.row:
        return None
    return {"design": band.enough.id, "name": band.enough.name, "ms": band.enough.latency}


def verdict_of(band: Band) -> str:
    """Of the step from the next faster design to this one."""
    if band.over_faster is None:
        return ALONE
    exceeds = band.over_faster.exceeds_noise
    if exceeds is None:
        return UNKNOWN
    return SURE if exceeds and band.enough is band.row else WITHIN_NOISE


def headline(bands: Sequence[Band]) -> str:
    """The answer in one sentence, before any limit is given."""
    if not bands:
        return "No design has both a score at the highest level and a latency yet."
    last, best = bands[-1], bands[-1].row
    if any(verdict_of(band) == UNKNOWN for band in bands):
        return (
            f"{best.name} is the most accurate ({percent(best)}, {ms(best)}), but each was trained with one seed, so "
            "nothing can be said about noise."
        )
    if last.enough is best:
        return f"{best.name} is the most accurate ({percent(best)}, {ms(best)}), by more than seed noise."
    enough = f"{last.enough.name} ({percent(last.enough)}, {ms(last.enough)})"
    return f"Take {enough}: {best.name}, the most accurate, is not ahead of it by more than seed noise."
