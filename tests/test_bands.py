"""Which design for how many milliseconds, and how sure: clear steps told from noise, in figures and in words."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from report_toys import row

from nasbench.page import answers
from nasbench.page.answers import headline
from nasbench.report.bands import latency_bands
from nasbench.report.rows import ReportRow
from nasbench.report.wording import three_digits
from nasbench.study.trials import Kind

band_records = partial(answers.band_records, after_long={})  # nothing was trained longer


def steps(*accuracies: tuple[float, ...], **changes: Any) -> list[ReportRow]:
    """A front of designs that take 5, 6, 7 ms..."""
    return [row(f"d{i}", accuracies=each, latency=5.0 + i, on_front=True) for i, each in enumerate(accuracies)]


def test_a_clear_step_is_told_from_one_within_noise() -> None:
    bands = latency_bands(steps((0.50, 0.51, 0.52), (0.52, 0.53, 0.51), (0.70, 0.71, 0.72)))
    records = band_records(bands)
    assert [record["verdict"] for record in records] == ["alone", "within noise", "sure"]
    assert [(record["from_ms"], record["until_ms"]) for record in records] == [(5.0, 6.0), (6.0, 7.0), (7.0, None)]
    assert records[1]["enough"]["name"] == "d0"
    assert records[0]["stages"].startswith("conv_bias 24 · 1 irmb 24 · 2 irmb 32 · ")
    assert records[2]["enough"] is None
    assert headline(bands) == "d2 is the most accurate (71.0 ± 1.0 %, 7.00 ms measured), by more than seed noise."
    assert "the faster one is as good a choice" in records[1]["reasons"][0]


def test_where_nothing_slower_leads_the_fastest_is_taken() -> None:
    bands = latency_bands(steps((0.50, 0.54), (0.51, 0.55), (0.52, 0.56)))
    assert headline(bands).startswith("Take d0 (52.0 ± 2.8 %, 5.00 ms measured)")
    assert band_records(bands)[2]["enough"]["design"] == bands[0].row.id


def test_small_steps_may_add_up_to_more_than_noise() -> None:
    """Each within noise of the one before; the last one leads the first."""
    bands = latency_bands(steps((0.50, 0.52, 0.54), (0.53, 0.55, 0.57), (0.56, 0.58, 0.60)))
    assert [record["verdict"] for record in band_records(bands)] == ["alone", "within noise", "within noise"]
    assert bands[2].enough is bands[1].row
    assert headline(bands) == (
        "Take d1 (55.0 ± 2.0 %, 6.00 ms measured): d2, the most accurate, is not ahead of it by more than seed noise."
    )


def test_one_seed_says_nothing_of_noise() -> None:
    bands = latency_bands(steps((0.50,), (0.60,)))
    assert band_records(bands)[1]["verdict"] == "unknown"
    assert "nothing can be said about noise" in headline(bands)
    assert headline([]) == "No design has both a score at the highest level and a latency yet."


def test_confidence_and_needed_lead_are_one_test() -> None:
    """At the lead from which on a difference counts, equal designs would lead by less in 95 % of cases."""
    rows = steps((0.50, 0.51, 0.52), (0.52, 0.53, 0.54), (0.55, 0.56, 0.57), (0.56, 0.57, 0.58))
    for band in latency_bands(rows)[1:]:
        lead = band.over_faster
        assert lead is not None
        assert lead.confidence is not None
        assert lead.needed is not None
        if lead.candidates > 1:  # a single one must lead by two standard errors, a little more than the test asks for
            assert (lead.confidence > 0.95) == (lead.gap > lead.needed)


def test_beside_it_is_the_best_published_network_that_a_limit_of_its_band_allows() -> None:
    rows = steps((0.60, 0.61), (0.65, 0.66))
    slow = row("slow", Kind.FIXED_POINT, (0.55, 0.56), 20.0)
    fast = row("fast", Kind.FIXED_POINT, (0.50, 0.51), 5.5)
    reasons = [record["reasons"][1] for record in band_records(latency_bands([*rows, slow, fast]))]
    assert "+10.0 points over fast, the best published network under 6.00 ms (5.50 ms measured, 1.1 times" in reasons[0]
    assert "+10.0 points over slow, the best published network (20.0 ms measured, 3.3 times as long)" in reasons[1]
    assert "No published network was scored alike." in band_records(latency_bands(rows))[0]["reasons"][1]


def test_where_every_published_network_is_too_slow_it_is_held_against_the_fastest() -> None:
    rows = steps((0.40, 0.41), (0.65, 0.66))
    slow = [row("slow", Kind.FIXED_POINT, (0.45, 0.46), 9.0), row("slower", Kind.FIXED_POINT, (0.60, 0.61), 20.0)]
    reasons = [record["reasons"][1] for record in band_records(latency_bands([*rows, *slow]))]
    assert (
        "slow, the fastest published network (9.00 ms measured, 1.8 times as long), is 5.0 points ahead" in reasons[0]
    )
    assert "+5.0 points over slower, the best published network (20.0 ms" in reasons[1]


def test_a_network_of_nearly_the_same_latency_is_not_called_as_many_times_as_slow() -> None:
    near = row("near", Kind.FIXED_POINT, (0.50, 0.51), 5.1)
    told = band_records(latency_bands([*steps((0.60, 0.61), (0.65, 0.66)), near]))[0]["reasons"][1]
    assert "over near, the best published network under 6.00 ms (5.10 ms measured);" in told


def test_designs_that_await_a_training_make_no_band() -> None:
    rows = steps((0.60, 0.61), (0.65, 0.66))
    waiting = row("w", accuracies=(0.9,), latency=4.0, on_front=True, lacks="final training", split="validation")
    assert len(latency_bands([*rows, waiting])) == 2


@pytest.mark.parametrize(("value", "text"), [(13.0, "13.0"), (6.6416, "6.64"), (0.05, "0.0500"), (1234.5, "1234")])
def test_digits(value: float, text: str) -> None:
    assert three_digits(value) == text
