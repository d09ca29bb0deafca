"""A Gaussian process on the errors of the weighted sum, by the kinds of kernels that a network spends its time in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nasbench.latency.ranges import STRICT, Amount, Positive, Signed
from nasbench.likelihood import negative_log_likelihood

Times = Mapping[str, float]  # kind of kernel -> ms
JITTER = 1e-10
LEAST_SHARE = 0.01  # of the mean network's time: rarer kinds are not looked at


@dataclass(frozen=True)
class Residual:
    """A fitted process as numbers: log correction = sum of `alpha` x kernel(points, point), squared exponential."""

    __pydantic_config__ = STRICT

    kinds: list[str]
    points: list[list[Signed]]  # (n, kinds + 1): shares of the time, and the total's logarithm, in standard deviations
    mean: list[Signed]
    deviation: list[Positive]
    alpha: list[Signed]
    variance: Amount
    length: Positive

    def __post_init__(self) -> None:
        width = len(self.kinds) + 1
        if any(len(row) != width for row in (self.mean, self.deviation, *self.points)) or not self.points:
            raise ValueError(f"a process over {len(self.kinds)} kinds has points, each of {width} figures")
        if len(self.alpha) != len(self.points):
            raise ValueError(f"a process has one alpha a point: {len(self.alpha)} for {len(self.points)}")

    def predict(self, networks: Sequence[Times]) -> np.ndarray:
        """(n,) log corrections, from each network's times by kind."""
        given = (_coordinates(networks, self.kinds) - np.asarray(self.mean)) / np.asarray(self.deviation)
        distance = ((given[:, None] - np.asarray(self.points)[None]) ** 2).sum(axis=-1)
        return self.variance * np.exp(-0.5 * distance / self.length**2) @ np.asarray(self.alpha)


def fit_residual(networks: Sequence[Times], log_errors: np.ndarray) -> Residual:
    """Fitted by maximum likelihood to the log errors (n,), with noise."""
    shares = {k: sum(t.get(k, 0.0) / sum(t.values()) for t in networks) for k in {k for t in networks for k in t}}
    kinds = sorted(k for k, share in shares.items() if share / len(networks) >= LEAST_SHARE)
    points = _coordinates(networks, kinds)
    mean, deviation = points.mean(axis=0), np.maximum(points.std(axis=0), 1e-6)
    scaled = (points - mean) / deviation
    variance, length, alpha = _maximum_likelihood(scaled, np.asarray(log_errors, float))
    return Residual(kinds, scaled.tolist(), mean.tolist(), deviation.tolist(), alpha.tolist(), variance, length)


def _maximum_likelihood(points: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Variance and length of the process at points (n, d), and alpha (n,).

    As scikit-learn's regressor finds them, to the last digits, in a fraction of its time: a profile fits thirty.
    """
    from scipy.optimize import minimize

    size = float(np.var(y)) + 1e-9
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    start = np.log([0.5 * size, 3.0, 0.5 * size])
    bounds = np.log([(1e-3 * size, 10 * size), (1.0, 30.0), (1e-2 * size, 10 * size)])
    found = minimize(_objective, start, (squares, y), method="L-BFGS-B", jac=True, bounds=bounds)
    variance, length, noise = (float(value) for value in np.exp(found.x))
    covariance = variance * np.exp(-0.5 * squares / length**2) + (noise + JITTER) * np.eye(len(y))
    return variance, length, np.linalg.solve(covariance, y)


def _objective(at: np.ndarray, squares: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Negative log likelihood at the logarithms of variance, length and noise, and its gradient.

    `squares`: (n, n) squared distances.
    """
    variance, length, noise = np.exp(at)
    smooth = variance * np.exp(-0.5 * squares / length**2)
    found = negative_log_likelihood(smooth + (noise + JITTER) * np.eye(len(y)), y)
    if found is None:
        return np.inf, np.zeros(len(at))
    value, by_covariance = found
    bent = by_covariance * smooth
    return value, np.array([bent.sum(), (bent * squares).sum() / length**2, noise * np.trace(by_covariance)])


def _coordinates(networks: Sequence[Times], kinds: Sequence[str]) -> np.ndarray:
    """(n, kinds + 1): each kind's share of the time, and log of the total."""
    totals = np.array([max(sum(times.values()), 1e-9) for times in networks])
    shares = np.array([[times.get(kind, 0.0) for kind in kinds] for times in networks]) / totals[:, None]
    return np.column_stack([shares, np.log(totals)])
