"""Drawing from a space under budgets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_spaces import DEFAULT, SMALL
from tiny_spaces import spaces

from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.space import RejectionCounter
from nasbench.space.steering import readable


@pytest.mark.parametrize(
    "budgets", [["600MFLOP"], ["30MFLOP"], ["0.5Mparams"], ["30MFLOP", "0.5Mparams"], ["1GMAC", "5Mparams", "4MBpeak"]]
)
def test_draws_meet_budgets(budgets):
    from nasbench.costs.analytic import cost

    limits, rng, counter = [Budget.parse(text) for text in budgets], np.random.default_rng(0), RejectionCounter()
    found = [DEFAULT.sample(rng, limits, counter=counter) for _ in range(2)]
    assert len({arch.id for arch in found}) == 2
    for arch in found:
        assert DEFAULT.contains(arch)
        assert all(limit.violation(cost(arch).to_dict()) == 0 for limit in limits)


@given(
    spaces(most=60), st.integers(0, 2**32), st.integers(0, 9), st.sampled_from([("macs", "MAC"), ("params", "params")])
)
def test_every_draw_from_any_space_meets_a_budget_that_some_member_meets(space, seed, rank, measure):
    metric, unit = measure
    known = {arch.id: getattr(cost(arch), metric) for arch in space}
    limit = sorted(known.values())[min(rank, len(known) - 1)]
    assert known[space.sample(seed, [Budget.parse(f"{limit}{unit}")]).id] <= limit


def test_budgets_on_a_device_use_the_predictor():
    def predict(arch):
        depth = float(sum(stage.depth for stage in arch.stages))
        return {"latency_ms": depth, "memory_bytes": 1e6 * depth, "energy_j": depth / 1e3}

    for text, metric, limit in (("9ms", "latency_ms", 9), ("9MBmem", "memory_bytes", 9e6), ("9mJ", "energy_j", 9e-3)):
        budget = [Budget.parse(text)]
        found = [DEFAULT.sample(seed, budget, predict=predict) for seed in range(5)]
        assert max(predict(arch)[metric] for arch in found) <= limit
        with pytest.raises(ValueError, match=f"a budget on {metric} needs a predictor"):
            DEFAULT.sample(0, budget)


def test_a_predictor_that_does_not_know_the_metric_is_an_error_not_a_pass():
    with pytest.raises(ValueError, match="a budget on energy_j needs a predictor"):
        DEFAULT.sample(0, [Budget.parse("9mJ")], predict=lambda arch: {"latency_ms": 1.0})


def test_the_counter_says_which_rule_rejects_most():
    counter = RejectionCounter()
    assert str(counter) == "nothing drawn yet"
    for seed in range(5):
        DEFAULT.sample(seed, [Budget.parse("600MFLOP"), Budget.parse("50Mparams")], counter=counter)
    assert counter.accepted == 5
    rule, number = counter.most
    assert rule == "budget 600MFLOP"
    assert counter.drawn - 5 <= number + counter.rejected["budget 50Mparams"]
    assert str(counter) == f"5 of {counter.drawn} random draws fit; budget 600MFLOP rejects most ({number})"


def test_a_budget_that_nobody_meets():
    with pytest.raises(UserError) as caught:
        SMALL.sample(0, [Budget.parse("1KFLOP")])
    head, tail = "budget 1KFLOP: no design of space 'small' met it; the smallest of ", "MFLOP; raise the budget"
    assert str(caught.value).startswith(head)
    assert str(caught.value).endswith(tail)


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("1KFLOP", 8.4e6, "8.4MFLOP"),
        ("1GFLOP", 2e9, "2GFLOP"),
        ("1MiB", 3 * 2**20, "3MiB"),
        ("1MB", 3e9, "3GB"),
        ("1ms", 0.25, "250us"),
        ("10ms", 1200, "1.2s"),
        ("1KBpeak", 12_000, "12KB peak"),
        ("1KBmem", 12.5e6, "12.5MB memory"),
        ("8MiBram", 2**29, "512MiB memory"),
        ("5mJ", 2.5e-4, "250uJ"),
        ("5uJ", 1.5, "1.5J"),
    ],
)
def test_values_are_shown_in_the_unit_that_suits_them(text, value, shown):
    assert readable(Budget.parse(text), value) == shown


def test_budgets_that_nobody_meets_together():
    def predict(arch):
        return {"latency_ms": 4e6 / cost(arch).macs}  # the smaller, the slower

    text = (
        r"budgets 3MFLOP and 1ms: no design of space 'small' met all; the nearest of \d+ tried needs .*MFLOP and .*ms; "
    )
    with pytest.raises(UserError, match=text + "raise one of them"):
        SMALL.sample(0, [Budget.parse("3MFLOP"), Budget.parse("1ms")], predict=predict)


def test_draws_under_mobile_budgets_are_not_rare():
    rng = np.random.default_rng(0)
    macs = np.array([cost(DEFAULT.draw(rng)).macs for _ in range(250)])
    assert np.mean(macs < 1e9) > 0.35  # 0.39 before MobileViTv2, MobileOne and RepVGG came in, 0.5 now
    assert np.mean(macs < 5e8) > 0.12  # 0.13 and 0.2
