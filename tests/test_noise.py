"""What seed noise allows to say: the pooled noise, differences, and the verdict on the best of several designs."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from report_toys import row

from nasbench.report.noise import accuracy_gap, challengers, choice_factor, seed_noise
from nasbench.report.verdict import verdict
from nasbench.study.trials import Kind


def test_seed_noise_is_the_pooled_standard_deviation() -> None:
    groups = [(0.80, 0.81, 0.83), (0.70, 0.74), (0.9,)]
    squares = sum(statistics.variance(group) * (len(group) - 1) for group in groups if len(group) > 1)
    noise = seed_noise([row(accuracies=group) for group in groups])
    assert noise is not None
    assert noise.degrees_of_freedom == 3
    assert noise.std == pytest.approx(math.sqrt(squares / 3))
    assert seed_noise([row(), row()]) is None


def test_pooled_noise_finds_the_noise_that_was_put_in() -> None:
    rng = np.random.default_rng(3)
    rows = [row(accuracies=0.8 + rng.normal(0, 0.007, 3)) for _ in range(400)]
    noise = seed_noise(rows)
    assert noise is not None
    assert noise.std == pytest.approx(0.007, rel=0.05)


def test_a_difference_of_nothing_rarely_exceeds_noise() -> None:
    """With equal networks, two standard errors are passed in about 5 % of comparisons."""
    rng, passed = np.random.default_rng(5), 0
    for _ in range(400):
        rows = [row(accuracies=0.8 + rng.normal(0, 0.007, 3)) for _ in range(8)]
        gap = accuracy_gap(rows[0], rows[1], seed_noise(rows))
        passed += gap.standard_error is not None and abs(gap.mean) > 2 * gap.standard_error
    assert 0.02 < passed / 400 < 0.11


def test_a_difference_compares_like_with_like() -> None:
    with pytest.raises(ValueError, match="were not measured alike; compare rows of one split and one rung"):
        accuracy_gap(row(), row(split="validation"), None)


def test_challengers_are_no_slower_than_the_best_fixed_point() -> None:
    best, weak = row("emo_2m", Kind.FIXED_POINT, (0.82,), 6.0), row("emo_1m", Kind.FIXED_POINT, (0.79,), 4.0)
    slow, equal, fast = row("s", accuracies=(0.9,), latency=6.01), row("e", latency=6.0), row("f", latency=2.0)
    lower_rung = row("l", accuracies=(0.95,), latency=1.0, rung=1)
    assert challengers([best, weak, slow, equal, fast, lower_rung]) == (best, [equal, fast])
    assert challengers([slow]) == (None, [])


def test_measured_and_predicted_latency_are_never_compared() -> None:
    fixed = row("emo_2m", Kind.FIXED_POINT, (0.8,), 6.0, latency_predicted=4.0)
    guess = row("g", accuracies=(0.9,), latency=None, latency_predicted=5.0)  # below 6.0 measured, above 4.0 predicted
    assert challengers([fixed, guess]) == (fixed, [])


NOISE = (
    "Seed noise is 1.00 points (pooled, 4 degrees of freedom), so two standard errors are 1.63 points: "
    "the difference is {} than seed noise."
)


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.05, "It beats the published network. " + NOISE.format("more")),
        (0.01, "It is ahead of the published network. " + NOISE.format("not more")),
        (-0.02, "It does not beat the published network. " + NOISE.format("more")),
    ],
)
def test_the_verdict_states_figures(gain: float, words: str) -> None:
    fixed = row("emo_2m", Kind.FIXED_POINT, (0.79, 0.80, 0.81), 6.0)
    searched = row("found", accuracies=[0.80 + gain + step for step in (-0.01, 0, 0.01)], latency=4.5)
    lines = verdict([fixed, searched])
    assert (
        lines[0] == "Best published network within the budget: emo_2m (80.00 ± 1.00 % test, 3 seeds, 6.00 ms measured)."
    )
    assert lines[1].startswith("Best of 1 searched design at equal or lower latency: found (")
    assert f"{100 * gain:+.2f} points at -25% latency (measured)" in lines[1]
    assert lines[2] == words


def test_the_verdict_on_equal_networks() -> None:
    fixed = row("emo_2m", Kind.FIXED_POINT, (0.79, 0.80, 0.81), 6.0)
    lines = verdict([fixed, row("twin", accuracies=(0.79, 0.80, 0.81), latency=6.0)])
    assert "+0.00 points at +0% latency (measured)" in lines[1]
    assert lines[2] == "It does not beat the published network. " + NOISE.format("not more")


def test_a_design_that_is_better_but_slower_does_not_win() -> None:
    fixed = row("emo_2m", Kind.FIXED_POINT, (0.79, 0.80, 0.81), 6.0)
    slower = row("slower", accuracies=(0.89, 0.90, 0.91), latency=6.1)
    assert verdict([fixed, slower])[1:] == [
        "No searched design was as fast or faster: nothing beats it at equal or lower latency."
    ]
    weaker = row("weaker", accuracies=(0.69, 0.70, 0.71), latency=5.0)
    lines = verdict([fixed, slower, weaker])
    assert lines[1].startswith("Best of 1 searched design at equal or lower latency: weaker (")
    assert lines[2].startswith("It does not beat the published network. ")


def test_the_verdict_without_grounds() -> None:
    assert verdict([]) == ["No training is complete yet, so there is no front."]
    assert verdict([row()]) == ["No published network fits the budget, so the front has nothing to be compared with."]
    alone = row("emo_2m", Kind.FIXED_POINT, latency=1.0)
    assert "nothing beats it at equal or lower latency" in verdict([alone, row(latency=5.0)])[1]
    single = verdict([row("emo_2m", Kind.FIXED_POINT), row(accuracies=(0.9,))])
    assert single[2].endswith("Each was trained with one seed, so nothing can be said about noise.")


def verdicts_on_equal_networks(searched: int, published: int, seeds: int = 3, draws: int = 1000) -> list[str]:
    """The last line of `draws` verdicts on networks that differ in nothing but the luck of their seeds."""
    rng, lines = np.random.default_rng(17), []
    for values in 0.8 + rng.normal(0, 0.007, (draws, searched + published, seeds)):
        rows = [row(f"s{i}", accuracies=each) for i, each in enumerate(values[:searched])]
        rows += [row(f"p{i}", Kind.FIXED_POINT, each) for i, each in enumerate(values[searched:])]
        lines.append(verdict(rows)[-1])
    return lines


@pytest.mark.parametrize(("searched", "published"), [(4, 1), (10, 1), (4, 3), (1, 8)])
def test_the_best_of_several_equal_networks_rarely_counts_as_better(searched: int, published: int) -> None:
    """Whichever leads was picked as the best of its kind; that alone counts as a difference in 5 % of draws at most."""
    lines = verdicts_on_equal_networks(searched, published)
    ahead = [line for line in lines if not line.startswith("It does not beat")]
    won = [line for line in ahead if "the difference is more than" in line]
    lost = [line for line in lines if line not in ahead and "the difference is more than" in line]
    assert len(won) / len(lines) < 0.06
    assert len(lost) / len(lines) < 0.06
    assert max(len(won), len(lost)) > 4  # and is not ruled out; the best of several is hard to beat
    if searched > 1:
        assert [line for line in ahead if line.startswith("It beats")] == won
        assert all(f"corrected for having picked the best of {searched} searched designs" in line for line in ahead)


def test_noise_known_from_few_seeds_asks_for_more() -> None:
    """Of two networks with two seeds each the noise is known from two degrees of freedom, and two standard errors
    would be passed in 9 % of draws."""
    lines = verdicts_on_equal_networks(1, 1, seeds=2)
    won = [line for line in lines if line.startswith("It beats") and "is more than" in line]
    assert 0.03 < len(won) / len(lines) < 0.07


def test_without_any_second_seed_the_best_of_several_is_ahead_at_most() -> None:
    rows = [row("emo_2m", Kind.FIXED_POINT), row("a", accuracies=(0.9,)), row("b", accuracies=(0.85,))]
    assert verdict(rows)[-1] == (
        "It is ahead of the published network. Each was trained with one seed, so nothing can be said about noise."
    )


@pytest.mark.parametrize(("designs", "freedom", "factor"), [(4, 20, 2.304), (9, 20, 2.596), (2, 10, 2.151)])
def test_the_correction_is_dunnetts(designs: int, freedom: int, factor: float) -> None:
    """One-sided 5 % points, recomputed here as quantiles of simulated t statistics with a common control."""
    rng = np.random.default_rng(2)
    control, others = rng.normal(size=(400_000, 1)), rng.normal(size=(400_000, designs))
    spread = np.sqrt(2 * rng.chisquare(freedom, 400_000) / freedom)
    simulated = float(np.quantile((others - control).max(1) / spread, 0.95))
    assert choice_factor(designs, freedom) == pytest.approx(simulated, abs=0.02)
    assert choice_factor(designs, freedom) == pytest.approx(factor, abs=0.02)
