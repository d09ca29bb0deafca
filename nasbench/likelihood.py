"""The likelihood of a Gaussian process's hyperparameters, with its gradient."""

from __future__ import annotations

import numpy as np


def negative_log_likelihood(covariance: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Of targets y (n,) with mean 0, up to a constant, and its derivative (n, n) by the covariance (n, n).

    None where the covariance is not positive definite. Its lower triangle alone is read.
    """
    from scipy.linalg.lapack import dpotrf, dpotri, dpotrs  # slow to load

    factor, failed = dpotrf(covariance, lower=True, clean=False)
    if failed:
        return None
    weights = dpotrs(factor, y, lower=True)[0]
    inverse = np.tril(dpotri(factor, lower=True)[0])
    derivative = 0.5 * (inverse + np.tril(inverse, -1).T - np.outer(weights, weights))
    return float(0.5 * y @ weights + np.log(np.diag(factor)).sum()), derivative
