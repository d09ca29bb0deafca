"""How sure a design of the front is, in words: against the next faster one, and against a published network."""

from __future__ import annotations

from collections.abc import Sequence

from nasbench.report.bands import Band, Lead
from nasbench.report.rows import LongTraining, ReportRow
from nasbench.study.trials import Kind


def over_faster(band: Band) -> str:
    """Against the next faster design of the front."""
    found = band.over_faster
    if found is None:
        return "It is the fastest design of the front: nothing faster was trained as long and is as accurate."
    rival = f"the faster {found.rival.name} ({ms(found.rival)})"
    if found.exceeds_noise is None:
        return f"{points(found.gap)} over {rival}; trained with one seed each, so nothing can be said about noise."
    told = f"{points(found.gap)} over {rival}; {_needed(found)}"
    if found.exceeds_noise and band.enough is band.row:
        return f"{told}: it is more accurate."
    if found.exceeds_noise:
        return f"{told}; but {band.enough.name} ({ms(band.enough)}) is not told apart from it."
    if band.enough.id == found.rival.id:
        return f"{told}: the faster one is as good a choice."
    return f"{told}: as good a choice is {band.enough.name} ({ms(band.enough)})."


def beside_published(band: Band) -> str:
    """Against the best published network that fits the same limits, else the fastest one."""
    found = band.published
    own = "It is itself a published network. " if band.row.kind == Kind.FIXED_POINT else ""
    if found is None:
        return own + f"No {'other ' if own else ''}published network was scored alike."
    ahead = found.row is band.row
    other = found.rival if ahead else found.row
    network = f"{other.name}, {_place(other, band.until)} ({ms(other)}{_times(other, band.row)})"
    told = f"{points(found.gap)} over {network}" if ahead else f"{network}, is {100 * found.gap:.1f} points ahead"
    if found.exceeds_noise is None:
        return f"{own}{told}; nothing is known of noise."
    return f"{own}{told}; {_needed(found)}: {'more than' if found.exceeds_noise else 'no more than'} noise."


def after_long_training(rows: Sequence[ReportRow]) -> dict[str, str]:
    """By id of each searched design of the front, what a table expects of it after long training, beside the published
    network of which it expects most; the best design first. Empty where no table was asked."""
    told = [(row.expected_long, row) for row in rows if row.expected_long is not None]
    told.sort(key=lambda each: each[0].at_least, reverse=True)
    best = next((each for each in told if each[1].kind == Kind.FIXED_POINT), None)
    if best is None:
        return {}
    published = f"{_plus_minus(best[0])} % of {best[1].name}, the best of the published networks then ({ms(best[1])})"
    return {
        row.id: f"After {own.times} times the training the table expects {_plus_minus(own)} % of {row.name} "
        f"({ms(row)}) and {published}."
        for own, row in told
        if row.kind == Kind.SEARCHED and row.on_front
    }


def _plus_minus(expected: LongTraining) -> str:
    """Mean and standard deviation in percent."""
    return f"{100 * expected.mean:.1f} ± {100 * expected.std:.1f}"


def _place(published: ReportRow, until: float | None) -> str:
    """What a published network is among those that fit the limits of a band."""
    if until is None:
        return "the best published network"
    if published.latency is not None and published.latency < until:
        return f"the best published network under {three_digits(until)} ms"
    return "the fastest published network"


def _times(other: ReportRow, row: ReportRow) -> str:
    """`, 2.0 times as long` where the other is slower by as much as that shows."""
    if other.latency is None or row.latency is None or other.latency < 1.05 * row.latency:
        return ""
    return f", {other.latency / row.latency:.1f} times as long"


def _needed(lead: Lead) -> str:
    """What it takes to be more than noise; for one candidate that is a rule of two standard errors and no test."""
    assert lead.needed is not None
    assert lead.confidence is not None
    needed = f"a lead of {100 * lead.needed:.1f} would be more than seed noise"
    if lead.candidates == 1:
        return needed
    share = f"{100 * lead.confidence:.0f}" if lead.confidence < 0.995 else "over 99"
    return f"{needed}, and luck alone gives less than this one in {share} % of cases"


def points(value: float) -> str:
    return f"{100 * value:+.1f} points"


def percent(row: ReportRow) -> str:
    spread = "" if row.accuracy_std is None else f" ± {100 * row.accuracy_std:.1f}"
    return f"{100 * row.accuracy:.1f}{spread} {row.words.unit}"


def ms(row: ReportRow) -> str:
    return "no latency" if row.latency is None else f"{three_digits(row.latency)} ms {row.latency_kind}"


def three_digits(value: float) -> str:
    """13.0, 6.64, 1240: as many digits for every figure."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"
