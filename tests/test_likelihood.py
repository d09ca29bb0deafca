"""The likelihood of a Gaussian process against scipy's, and its derivative against differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from nasbench.likelihood import negative_log_likelihood

RNG = np.random.default_rng(0)
HALF, Y = RNG.normal(size=(5, 5)), RNG.normal(size=5)
COVARIANCE = HALF @ HALF.T + np.eye(5)


def of(covariance: np.ndarray) -> float:
    return -float(multivariate_normal(np.zeros(5), covariance).logpdf(Y)) - 2.5 * math.log(2 * math.pi)


def test_it_is_that_of_a_normal_distribution() -> None:
    found = negative_log_likelihood(COVARIANCE, Y)
    assert found is not None
    value, derivative = found
    assert value == pytest.approx(of(COVARIANCE))
    change = 1e-6 * (HALF + HALF.T)
    difference = (of(COVARIANCE + change) - of(COVARIANCE - change)) / 2
    assert (derivative * change).sum() == pytest.approx(difference, rel=1e-5)


def test_a_matrix_that_is_no_covariance_has_none() -> None:
    assert negative_log_likelihood(-np.eye(5), Y) is None
