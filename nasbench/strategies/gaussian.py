"""A Gaussian process from descriptions of designs to a loss, with automatic relevance determination.

The kernel is a squared exponential plus a linear one over weighted columns, a constant and noise. Hyperparameters are
maximum a posteriori estimates under broad priors, found with the exact gradient, so that ten trials and dozens of
columns are enough.

The surrogate of tables has a process of its own (`surrogate/process.py`, which says what differs); strategies lie below
it and know no tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from nasbench.likelihood import negative_log_likelihood

LEAST_SPREAD = 0.25  # of a column: a rare choice does not put its design far from all others
REACH = 0.25  # prior mean of the weighted squared distance of designs that differ by a deviation in every column
# Prior mean and standard deviation of the logarithms of each column's weight, and of the standard deviations of the
# smooth part, the linear part and the noise, in standard deviations of the losses.
WEIGHT, SMOOTH, LINEAR, NOISE = (0.0, 1.0), (0.0, 0.7), (-1.0, 1.0), (-2.3, 1.0)
LEVEL = 1.0  # prior standard deviation of the constant
JITTER = 1e-6
STEPS = 30  # of the optimiser, at most
REFITTED = 1.2  # parameters are estimated again with so many times the trials
Stretch = Callable[[np.ndarray], np.ndarray]
FITTED_ON = 200  # the latest trials, at most; all enter the posterior


@dataclass(frozen=True)
class Regression:
    """A fitted process; `predict` is in the unit of the losses."""

    shift: np.ndarray  # (d,) subtracted from each column
    scale: np.ndarray  # (d,) factor of each column after that
    parameters: np.ndarray  # (3,) logarithms: smooth, linear, noise
    points: np.ndarray  # (n, d) scaled
    factor: np.ndarray  # (n, n) lower Cholesky factor
    weights: np.ndarray  # (n,) inverse covariance times targets
    centre: float
    spread: float

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, stretch: Stretch = np.asarray) -> Regression:
        """To `stretch(y)` of losses y (n,) at descriptions x (n, d), in the order in which they became known.

        Hyperparameters are estimated from the first of them, transformed by themselves, so that they stay the same, and
        are cached, until there are `REFITTED` times as many.
        """
        few = _estimated_from(len(y))
        start = max(0, few - FITTED_ON)
        shift, spreads = x[:few].mean(0), np.maximum(x[:few].std(0), LEAST_SPREAD)
        early, early_target = (x[start:few] - shift) / spreads, stretch(y[start:few])
        early_target = (early_target - early_target.mean()) / max(float(early_target.std()), 1e-9)
        found = np.array(_map_estimate(early.tobytes(), early_target.tobytes(), early.shape[1]))
        y = stretch(y)
        centre, spread = float(y.mean()), max(float(y.std()), 1e-9)
        scale = np.exp(found[:-3] / 2) / spreads
        points, target = (x - shift) * scale, (y - centre) / spread
        noise = np.exp(2 * found[-1]) + JITTER
        covariance = _covariance(found[-3:], points, points) + noise * np.eye(len(y))
        factor = np.tril(cho_factor(covariance, lower=True)[0])
        return cls(shift, scale, found[-3:], points, factor, cho_solve((factor, True), target), centre, spread)

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m,), (m,) mean and standard deviation of the loss, without noise, at descriptions (m, d)."""
        at = (x - self.shift) * self.scale
        cross = _covariance(self.parameters, at, self.points)
        smooth, linear = np.exp(2 * self.parameters[:2])
        prior = smooth + linear * (at * at).sum(1) + LEVEL**2
        explained = solve_triangular(self.factor, cross.T, lower=True, check_finite=False)
        variance = np.maximum(prior - (explained**2).sum(0), JITTER)
        return self.centre + self.spread * (cross @ self.weights), self.spread * np.sqrt(variance)


def _covariance(parameters: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) of the process at scaled descriptions."""
    smooth, linear = np.exp(2 * parameters[:2])
    products = a @ b.T
    squares = np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * products, 0)
    return np.asarray(smooth * np.exp(-squares) + linear * products + LEVEL**2)


def _estimated_from(n: int) -> int:
    """How many of `n` trials, the first ones, hyperparameters are estimated from."""
    few = 8
    while round(few * REFITTED) <= n:
        few = round(few * REFITTED)
    return min(few, n)


@lru_cache(64)
def _map_estimate(x: bytes, y: bytes, columns: int) -> tuple[float, ...]:
    """(columns + 3,) logarithms of the parameters at x (n, columns) and y (n,), both scaled."""
    from scipy.optimize import minimize  # slow to load

    places, target = np.frombuffer(x).reshape(-1, columns), np.frombuffer(y)
    middle = np.array([WEIGHT[0] + np.log(REACH / columns)] * columns + [SMOOTH[0], LINEAR[0], NOISE[0]])
    width = np.array([WEIGHT[1]] * columns + [SMOOTH[1], LINEAR[1], NOISE[1]])
    posterior = _Posterior(places, target, middle, width)
    found = minimize(posterior, middle, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return tuple(found.x.tolist())


@dataclass(frozen=True)
class _Posterior:
    """Negative log posterior of the hyperparameters, up to a constant, and its gradient."""

    x: np.ndarray
    y: np.ndarray
    middle: np.ndarray
    width: np.ndarray

    def __call__(self, at: np.ndarray) -> tuple[float, np.ndarray]:
        n, x, weights = len(self.y), self.x, np.exp(at[:-3])
        smooth, linear, noise = np.exp(2 * at[-3:])
        products = (x * weights) @ x.T
        near = smooth * np.exp(2 * products - np.add.outer(np.diag(products), np.diag(products)))
        covariance = near + linear * products + LEVEL**2
        covariance.flat[:: n + 1] += noise + JITTER
        found = negative_log_likelihood(covariance, self.y)
        if found is None:
            return 1e10, np.zeros_like(at)
        value, slope = found
        bent = slope * near
        # Sum over pairs of a column's squared differences times `bent`, expanded into squares and products.
        apart = 2 * (bent.sum(1) @ (x * x) - (x * (bent @ x)).sum(0))
        by_weight = linear * (x * (slope @ x)).sum(0) - apart
        rest = [2 * bent.sum(), 2 * linear * (slope * products).sum(), 2 * noise * np.trace(slope)]
        away = (at - self.middle) / self.width
        return float(value + 0.5 * away @ away), np.concatenate([by_weight * weights, rest]) + away / self.width
