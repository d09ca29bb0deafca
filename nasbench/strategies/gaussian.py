"""A Gaussian process from descriptions of designs to a loss, each column with a weight of its own.

The kernel is a squared exponential plus a linear one over weighted columns, with a level and noise. Its parameters are
those most probable under the data and broad priors, found along the exact gradient, so that ten trials and dozens of
columns are enough.

The surrogate of tables has a process of its own (`surrogate/process.py`, which says what differs), with fidelities,
replicates and one length for all features; strategies stand below it and know no tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

LEAST_SPREAD = 0.25  # of a column: a rare choice does not put its design far from all others
REACH = 0.25  # squared distance, weighted, of two designs that differ by a deviation in every column, before data
# Middle and deviation, before data, of the logarithms: of each column's weight, then of the standard deviations of the
# smooth part, the linear part and the noise, in deviations of the losses.
WEIGHT, SMOOTH, LINEAR, NOISE = (0.0, 1.0), (0.0, 0.7), (-1.0, 1.0), (-2.3, 1.0)
LEVEL = 1.0  # deviation of the level
JITTER = 1e-6
STEPS = 30  # of the search for parameters
REFITTED = 1.2  # parameters are found anew with so many times the trials
Stretch = Callable[[np.ndarray], np.ndarray]
FITTED_ON = 200  # the latest trials, at most; all enter the posterior


@dataclass(frozen=True)
class Regression:
    """The process after data; `predict` is in the unit of the losses."""

    shift: np.ndarray  # (d,) what is taken off each column
    scale: np.ndarray  # (d,) what each is then multiplied by
    parameters: np.ndarray  # (3,) logarithms: smooth, linear, noise
    points: np.ndarray  # (n, d) scaled
    factor: np.ndarray  # (n, n) lower Cholesky factor
    weights: np.ndarray  # (n,)
    centre: float
    spread: float

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, stretch: Stretch = np.asarray) -> Regression:
        """To losses y (n,), stretched, at descriptions x (n, d), in the order in which they became known.

        Parameters are found from the first of them alone, stretched by themselves, so that they are the same until
        there are `REFITTED` times as many and each proposal is quick.
        """
        few = _looked_at(len(y))
        start = max(0, few - FITTED_ON)
        shift, spreads = x[:few].mean(0), np.maximum(x[:few].std(0), LEAST_SPREAD)
        known, told = (x[start:few] - shift) / spreads, stretch(y[start:few])
        y = stretch(y)
        centre, spread = float(y.mean()), max(float(y.std()), 1e-9)
        told = (told - told.mean()) / max(float(told.std()), 1e-9)
        found = np.array(_most_probable(known.tobytes(), told.tobytes(), known.shape[1]))
        scale = np.exp(found[:-3] / 2) / spreads
        points, target = (x - shift) * scale, (y - centre) / spread
        noise = np.exp(2 * found[-1]) + JITTER
        covariance = _covariance(found[-3:], points, points) + noise * np.eye(len(y))
        factor = np.tril(cho_factor(covariance, lower=True)[0])
        return cls(shift, scale, found[-3:], points, factor, cho_solve((factor, True), target), centre, spread)

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m,), (m,) mean and standard deviation of the loss, without noise, at descriptions (m, d)."""
        at = (x - self.shift) * self.scale
        shared = _covariance(self.parameters, at, self.points)
        smooth, linear = np.exp(2 * self.parameters[:2])
        before = smooth + linear * (at * at).sum(1) + LEVEL**2
        told = solve_triangular(self.factor, shared.T, lower=True, check_finite=False)
        variance = np.maximum(before - (told**2).sum(0), JITTER)
        return self.centre + self.spread * (shared @ self.weights), self.spread * np.sqrt(variance)


def _covariance(parameters: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) of the process at scaled descriptions."""
    smooth, linear = np.exp(2 * parameters[:2])
    products = a @ b.T
    squares = np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * products, 0)
    return np.asarray(smooth * np.exp(-squares) + linear * products + LEVEL**2)


def _looked_at(n: int) -> int:
    """How many of the first trials tell the parameters, of `n`."""
    few = 8
    while round(few * REFITTED) <= n:
        few = round(few * REFITTED)
    return min(few, n)


@lru_cache(64)
def _most_probable(x: bytes, y: bytes, columns: int) -> tuple[float, ...]:
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
    """Minus the logarithm of data and parameters together, up to a constant, with its gradient."""

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
        factor, failed = dpotrf(covariance, lower=True, clean=False)
        if failed:
            return 1e10, np.zeros_like(at)
        told = dpotrs(factor, self.y, lower=True)[0]
        value = 0.5 * self.y @ told + np.log(np.diag(factor)).sum()
        inverse = np.tril(dpotri(factor, lower=True)[0])
        slope = 0.5 * (inverse + np.tril(inverse, -1).T - np.outer(told, told))  # by the covariance
        bent = slope * near
        # A column's squared differences times `bent`, summed: twice what its squares have above its products.
        apart = 2 * (bent.sum(1) @ (x * x) - (x * (bent @ x)).sum(0))
        by_weight = linear * (x * (slope @ x)).sum(0) - apart
        rest = [2 * bent.sum(), 2 * linear * (slope * products).sum(), 2 * noise * np.trace(slope)]
        away = (at - self.middle) / self.width
        return float(value + 0.5 * away @ away), np.concatenate([by_weight * weights, rest]) + away / self.width
