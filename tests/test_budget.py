import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasbench.costs.budget import (
    DEVICE_METRICS,
    FIELDS,
    UNITS,
    Budget,
    device_metrics,
    on_cost,
    parse_budgets,
    total_violation,
)
from nasbench.errors import UserError


@pytest.mark.parametrize(
    ("text", "metric", "limit"),
    [
        ("1GFLOP", "flops", 1e9),
        ("1gflop", "flops", 1e9),
        ("2 GFLOPs", "flops", 2e9),
        ("500MFLOP", "flops", 5e8),
        ("500_000 kflops", "flops", 5e8),
        ("1e9 FLOP", "flops", 1e9),
        ("1KFLOP", "flops", 1e3),
        (".5 G FLOPS", "flops", 5e8),
        ("1GMAC", "macs", 1e9),
        ("300MMACs", "macs", 3e8),
        ("300 M mult-adds", "macs", 3e8),
        ("5Mparams", "params", 5e6),
        ("5M params", "params", 5e6),
        ("5.6mparam", "params", 5.6e6),
        ("10ms", "latency_ms", 10),
        ("10 MS", "latency_ms", 10),
        ("1.5 s", "latency_ms", 1500),
        ("800us", "latency_ms", 0.8),
        ("800 µs", "latency_ms", 0.8),
        ("2MB", "weight_bytes", 2e6),
        ("2mb", "weight_bytes", 2e6),
        ("1.5MiB", "weight_bytes", 1.5 * 2**20),
        ("2MBpeak", "peak_activation_bytes", 2e6),
        ("2 MiB peak", "peak_activation_bytes", 2 * 2**20),
        ("4Mactivations", "activations", 4e6),
        ("64MBmem", "memory_bytes", 64e6),
        ("64 MB memory", "memory_bytes", 64e6),
        ("64MiBram", "memory_bytes", 64 * 2**20),
        ("1.5 gbmem", "memory_bytes", 1.5e9),
        ("900_000 bytes ram", "memory_bytes", 9e5),
        ("5mJ", "energy_j", 5e-3),
        ("5 mj", "energy_j", 5e-3),
        ("0.5J", "energy_j", 0.5),
        ("0.5 joules", "energy_j", 0.5),
        ("3 millijoules", "energy_j", 3e-3),
        ("800uJ", "energy_j", 8e-4),
        ("800 µJ", "energy_j", 8e-4),
        ("800 μJ", "energy_j", 8e-4),
    ],
)
def test_what_a_budget_means(text: str, metric: str, limit: float) -> None:
    budget = Budget.parse(text)
    assert budget.metric == metric
    assert budget.limit == pytest.approx(limit, rel=1e-12)
    assert str(budget) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1G", "budget '1G': ambiguous without a unit; write 1GFLOP, 1GMAC, 1GB or 1Gparams"),
        ("5m", "budget '5m': ambiguous without a unit; write 5MFLOP, 5MMAC, 5MB or 5Mparams"),
        ("1000", "budget '1000': ambiguous without a unit; write 1000FLOP, 1000MAC, 1000B or 1000params, or 1000ms"),
        ("2Mb", "budget '2Mb': 'Mb' may mean bits or bytes; write 2MB for bytes"),
        ("5MJ", "budget '5MJ': 'MJ' may mean milli- or megajoules; write 5mJ for millijoules"),
        ("5Mj", "budget '5Mj': 'Mj' may mean milli- or megajoules; write 5mJ for millijoules"),
        ("5 Mjoules", "write 5mJ for millijoules"),
        ("5kJ", "unknown unit 'kJ'; for example 1GFLOP"),
        ("5GJ", "unknown unit 'GJ'"),
        ("64mem", "unknown unit 'mem'"),
        ("5W", "unknown unit 'W'"),
        ("1GFLOP/s", "'GFLOP/s' is a rate"),
        ("3 parsecs", "unknown unit 'parsecs'; for example 1GFLOP"),
        ("1QFLOP", "unknown unit 'QFLOP'"),
        ("1,5ms", "1.5, not 1,5"),
        ("GFLOP", "a number with a unit"),
        ("", "a number with a unit"),
        ("0ms", "above zero"),
        ("-1GFLOP", "above zero"),
        ("nan ms", "above zero"),
        ("inf ms", "above zero"),
        ("1e999ms", "above zero"),
    ],
)
def test_a_bad_budget_is_one_line_with_the_remedy(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Budget.parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_budgets_as_programs_give_them() -> None:
    budget = Budget.parse("1GFLOP")
    assert parse_budgets("1GFLOP") == parse_budgets(budget) == parse_budgets([budget]) == (budget,)
    for number in (1e9, [1e9], None):
        with pytest.raises(UserError, match=r"budget (1000000000\.0|None): a budget is a number with a unit"):
            parse_budgets(number)  # type: ignore[arg-type]


def test_violation_is_the_relative_excess() -> None:
    budget = Budget.parse("1GFLOP")
    assert budget.violation({"flops": 1e9}) == 0.0
    assert budget.violation({"flops": 5e8, "macs": 9e9}) == 0.0
    assert budget.violation({"flops": 1.25e9}) == pytest.approx(0.25)
    both = parse_budgets(["1GFLOP", "10ms"])
    assert total_violation(both, {"flops": 2e9, "latency_ms": 15}) == pytest.approx(1.5)


def test_a_missing_or_nan_metric_is_an_error_not_a_pass() -> None:
    with pytest.raises(ValueError, match="needs the metric 'flops'; given: macs"):
        Budget.parse("1GFLOP").violation({"macs": 1.0})
    with pytest.raises(ValueError, match="not a number"):
        Budget.parse("1GFLOP").violation({"flops": float("nan")})


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_parses_and_shows_its_own_figures(unit: str) -> None:
    budget = Budget.parse(f"2 {unit}")
    assert budget.metric in FIELDS
    assert budget.show(budget.limit) == f"2{budget.unit}"
    assert Budget.parse(budget.show(budget.limit)).limit == budget.limit


def test_what_arithmetic_decides_and_what_a_device_must_tell() -> None:
    budgets = parse_budgets(["5mJ", "1GFLOP", "2MBpeak", "10ms", "8ms", "64MBmem"])
    assert device_metrics(budgets) == DEVICE_METRICS == ("latency_ms", "memory_bytes", "energy_j")
    assert device_metrics(budgets[:2]) == ("energy_j",)
    assert [str(b) for b in on_cost(budgets)] == ["1GFLOP", "2MBpeak"]
    assert not {b.metric for b in on_cost(budgets)} & set(DEVICE_METRICS)


numbers = st.floats(1e-3, 1e6).map(lambda number: float(f"{number:.6g}"))
units = st.sampled_from(sorted(UNITS))
amounts = st.floats(0, 1e15, allow_subnormal=False)  # libraries loaded by other tests may have set those to zero


@given(number=numbers, unit=units)
def test_a_budget_keeps_its_words_and_its_limit_is_met_by_itself(number: float, unit: str) -> None:
    budget = Budget.parse(f"{number!r} {unit}")
    assert Budget.parse(str(budget)) == budget
    assert budget.limit == pytest.approx(number * UNITS[unit][1], rel=1e-12)
    shown = Budget.parse(budget.show(budget.limit))
    assert shown.metric == budget.metric
    assert shown.limit == pytest.approx(budget.limit, rel=5e-3)  # three figures are shown
    assert budget.violation({budget.metric: budget.limit}) == 0


@given(number=numbers)
@pytest.mark.parametrize(
    ("small", "large", "ratio"),
    [
        ("ms", "s", 1e3),
        ("us", "ms", 1e3),
        ("mJ", "J", 1e3),
        ("uJ", "mJ", 1e3),
        ("MFLOP", "GFLOP", 1e3),
        ("kB", "MB", 1e3),
        ("KiB", "MiB", 1024),
        ("B peak", "MiB peak", 2**20),
        ("params", "Mparams", 1e6),
    ],
)
def test_units_of_one_metric_are_the_same_bound(small: str, large: str, ratio: float, number: float) -> None:
    first, second = Budget.parse(f"{number * ratio!r}{small}"), Budget.parse(f"{number!r}{large}")
    assert first.metric == second.metric
    assert first.limit == pytest.approx(second.limit, rel=1e-9)


@given(unit=units, limit=numbers, low=amounts, high=amounts)
def test_more_of_a_metric_never_violates_less(unit: str, limit: float, low: float, high: float) -> None:
    budget = Budget.parse(f"{limit!r} {unit}")
    less, more = (budget.violation({budget.metric: value}) for value in sorted((low, high)))
    assert 0 <= less <= more
    assert (more == 0) == (max(low, high) <= budget.limit)
