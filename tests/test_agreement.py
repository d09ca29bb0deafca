"""Kendall's tau over chosen pairs against scipy, intervals, and the residuals of families against known values."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from nasbench.auditing.agreement import (
    InOrder,
    advantage,
    agreement,
    family_residuals,
    in_order,
    kendall,
    resampled_pairs,
)  # fmt: skip
from nasbench.auditing.pairs import GROUPS, Ranked


@pytest.mark.parametrize("seed", range(5))
def test_over_all_pairs_it_is_scipys_tau_b(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 6, 20).astype(float), rng.integers(0, 9, 20).astype(float)  # with ties
    assert kendall(x, y) == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-12)


def test_a_bootstrap_sample_has_the_tau_of_the_drawn_networks() -> None:
    """Weights of pairs stand for networks drawn more than once, whose copies tie with themselves."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=9), rng.normal(size=9)
    counts = np.random.default_rng(0).multinomial(9, np.full(9, 1 / 9), size=3)
    for row, weights in zip(counts, resampled_pairs(9, 3, seed=0), strict=True):
        drawn = np.repeat(np.arange(9), row)
        first, second = np.triu_indices(9, 1)
        sx, sy = np.sign(x[first] - x[second]), np.sign(y[first] - y[second])
        ours = (weights * sx * sy).sum() / np.sqrt((weights * sx**2).sum() * (weights * sy**2).sum())
        assert ours == pytest.approx(scipy.stats.kendalltau(x[drawn], y[drawn]).statistic, abs=1e-12)


def test_within_families_is_pooled_over_their_pairs() -> None:
    """Two families, each ordered perfectly, with a bias between them: tau 1 within, less over all."""
    truth, scores = np.array([70.0, 75, 80, 71, 76, 81]), np.array([50.0, 52, 54, 10, 12, 14])
    groups = Ranked("aaabbb", np.array([1.0, 2, 4, 1, 2, 4]), truth).groups()
    assert kendall(scores, truth, groups["within"]) == 1
    assert kendall(scores, truth) == pytest.approx(scipy.stats.kendalltau(scores, truth).statistic)
    assert groups["within"].sum() == 6


def test_groups_of_pairs() -> None:
    """a1 and b1 cost alike and lie 1.5 points apart, a2 and b2 lie 0.7 apart; a2 costs 1.5 times what b1 does."""
    truth, macs = np.array([70.18, 71.68, 72.38, 73.08]), np.array([100.0, 100, 150, 151])
    groups = Ranked(["a", "b", "a", "b"], macs, truth).groups()
    assert set(groups) == set(GROUPS)
    assert groups["similar"].tolist() == [True, False, False, True, False, True]
    assert groups["decidable"].tolist() == [True, True, True, False, False, False]
    assert groups["decidable_similar"].tolist() == [True, False, False, False, False, False]


def test_pairs_in_order() -> None:
    scores, truth = np.array([1.0, 2, 2, 0]), np.array([1.0, 2, 3, 4])
    every = np.ones(6, bool)
    assert in_order(scores, truth, every) == InOrder(2, 6)  # a tie of the scores is not right
    assert in_order(scores, np.array([1.0, 1, 3, 4]), every) == InOrder(1, 5)  # one of the truth is no question


def test_intervals_hold_the_truth_and_repeat() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=40)
    found = agreement(truth + rng.normal(size=40), truth)
    assert found is not None
    assert found.low < 0.5 < found.high  # two normals that correlate by .71 have tau 2/pi arcsin .71 = .5
    assert 0.15 < found.high - found.low < 0.5
    assert found.pairs == 40 * 39 // 2
    rng = np.random.default_rng(2)
    truth = rng.normal(size=40)
    assert agreement(truth + rng.normal(size=40), truth) == found


def test_agreeing_wholly_is_known_for_sure() -> None:
    assert agreement(np.arange(8.0), np.arange(8.0) ** 3) == (1, 1, 1, 28)
    assert agreement(np.arange(8.0), -np.arange(8.0)) == (-1, -1, -1, 28)


@pytest.mark.parametrize(
    ("scores", "chosen"), [([1.0, 2], None), ([1.0, 1, 1], None), ([1.0, 2, 3], np.zeros(3, bool))]
)
def test_nothing_is_said_of_too_little(scores: list[float], chosen: np.ndarray | None) -> None:
    assert agreement(np.array(scores), np.arange(float(len(scores))), chosen) is None


def test_an_advantage_is_told_over_the_same_samples() -> None:
    truth = np.arange(30.0)
    other = np.random.default_rng(3).normal(size=30)
    found = advantage(truth, other, truth)
    assert found is not None
    assert found.tau == pytest.approx(1 - kendall(other, truth))
    assert found.low > 0
    even = advantage(other, other, truth)
    assert even is not None
    assert even[:3] == (0, 0, 0)


def test_a_familys_residual_is_taken_from_the_line_of_the_others() -> None:
    """The others lie 1 above and below a line of slope 2; the family lies 10 below it."""
    truth = np.array([1.0, 2, 3, 4, 2, 3])
    off = np.array([1.0, -1, -1, 1, -10, -10])
    found = family_residuals(truth, 2 * truth + off, ["x", "x", "y", "y", "z", "z"])
    deviation = np.sqrt(4 / 2)  # four residuals about a line, which takes two degrees of freedom
    assert found["z"] == pytest.approx((-10 / deviation, 2))


def test_a_family_beside_too_few_others_has_no_residual() -> None:
    assert family_residuals(np.array([1.0, 2, 3]), np.array([1.0, 2, 3]), "aab") == {}
