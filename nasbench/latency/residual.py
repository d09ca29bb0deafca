"""A Gaussian process on the log errors of the weighted sum, over a network's shares of time by kind of kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nasbench.latency.ranges import STRICT, Amount, Positive, Signed
from nasbench.likelihood import negative_log_likelihood

Times = Mapping[str, float]  # kind of kernel -> ms
JITTER = 1e-10
MIN_SHARE = 0.01  # of the time, in the mean over networks; kinds below it are no coordinates


@dataclass(frozen=True)
class Residual:
    """A fitted process as numbers: the log correction at x is sum_i alpha_i k(points_i, x), squared exponential k."""

    __pydantic_config__ = STRICT

    kinds: list[str]
    points: list[list[Signed]]  # (n, kinds + 1): shares of the time and log of the total, standardised
    mean: list[Signed]  # (kinds + 1,), before standardising
    deviation: list[Positive]  # (kinds + 1,)
    alpha: list[Signed]  # (n,): (covariance + noise)^-1 times the log errors
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
    """A process fitted by maximum likelihood to the log errors (n,), with observation noise."""
    shares = {k: sum(t.get(k, 0.0) / sum(t.values()) for t in networks) for k in {k for t in networks for k in t}}
    kinds = sorted(k for k, share in shares.items() if share / len(networks) >= MIN_SHARE)
    points = _coordinates(networks, kinds)
    mean, deviation = points.mean(axis=0), np.maximum(points.std(axis=0), 1e-6)
    scaled = (points - mean) / deviation
    variance, length, alpha = _maximum_likelihood(scaled, np.asarray(log_errors, float))
    return Residual(kinds, scaled.tolist(), mean.tolist(), deviation.tolist(), alpha.tolist(), variance, length)


def _maximum_likelihood(points: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Variance and length of the process at points (n, d), and alpha (n,).

    The same as scikit-learn's GaussianProcessRegressor to the last digits, and faster: a profile fits thirty of them.
    """
    from scipy.optimize import minimize

    scale = float(np.var(y)) + 1e-9
    squares = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    start = np.log([0.5 * scale, 3.0, 0.5 * scale])
    bounds = np.log([(1e-3 * scale, 10 * scale), (1.0, 30.0), (1e-2 * scale, 10 * scale)])
    found = minimize(_objective, start, (squares, y), method="L-BFGS-B", jac=True, bounds=bounds)
    variance, length, noise = (float(value) for value in np.exp(found.x))
    covariance = variance * np.exp(-0.5 * squares / length**2) + (noise + JITTER) * np.eye(len(y))
    return variance, length, np.linalg.solve(covariance, y)


def _objective(logs: np.ndarray, squares: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Negative log likelihood at the logarithms of variance, length and noise, and its gradient.

    `squares`: (n, n) squared distances.
    """
    variance, length, noise = np.exp(logs)
    smooth = variance * np.exp(-0.5 * squares / length**2)
    found = negative_log_likelihood(smooth + (noise + JITTER) * np.eye(len(y)), y)
    if found is None:
        return np.inf, np.zeros(len(logs))
    value, by_covariance = found  # by_covariance (n, n): derivative by each entry of the covariance
    by_smooth = by_covariance * smooth
    return value, np.array([by_smooth.sum(), (by_smooth * squares).sum() / length**2, noise * np.trace(by_covariance)])


def _coordinates(networks: Sequence[Times], kinds: Sequence[str]) -> np.ndarray:
    """(n, kinds + 1): each kind's share of the time, and log of the total."""
    totals = np.array([max(sum(times.values()), 1e-9) for times in networks])
    shares = np.array([[times.get(kind, 0.0) for kind in kinds] for times in networks]) / totals[:, None]
    return np.column_stack([shares, np.log(totals)])
