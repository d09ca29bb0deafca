"""A score of all that a short training shows."""

from __future__ import annotations

import numpy as np
import pytest

from nasbench.auditing.agreement import kendall
from nasbench.errors import UserError
from nasbench.surrogate.denoising import DenoisedScore, held_out_scores


def signals(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy and loss with noise of their own about the truth."""
    rng = np.random.default_rng(0)
    long = rng.uniform(0.3, 0.6, n)
    noise = 0.05 * rng.normal(size=(n, 3))
    return np.column_stack([long, 2 - 2 * long, 2.2 - long]) + noise * [1, 1, 0.2], long


def test_three_noisy_signals_rank_better_than_one() -> None:
    seen, long = signals()
    scores = held_out_scores(seen, long, np.repeat(["a", "b", "c"], 20))
    assert kendall(scores, long) > kendall(seen[:, 0], long) + 0.05


def test_a_signal_that_tells_nothing_gets_no_weight() -> None:
    seen, long = signals()
    seen[:, 1] = np.random.default_rng(1).normal(size=len(long))
    weights = np.abs(DenoisedScore.fit(seen, long).weights)
    assert weights[1] < 0.2 * weights[2]


def test_a_signal_that_never_changes_does_no_harm() -> None:
    seen, long = signals()
    seen[:, 2] = 1.5
    assert np.isfinite(DenoisedScore.fit(seen, long)(seen)).all()


def test_too_few_pairs_are_one_clear_line() -> None:
    seen, long = signals(7)
    with pytest.raises(UserError, match="7 trainings with 7 long ones: give 8 pairs or more"):
        DenoisedScore.fit(seen, long)
