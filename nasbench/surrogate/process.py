"""A Gaussian process over feature vectors whose targets are means of several noisy trainings.

Unlike in scikit-learn's regressor, the noise is estimated from replicates, the variance of a mean of n trainings is the
n-th part of it, and each design has an offset that its features do not explain (the nugget), shared by its trainings.
Hyperparameters are maximum a posteriori estimates under broad priors, so that thirty rows are enough.

The strategy `model` has a process of its own (`strategies/gaussian.py`), with the same form of kernel. There each
design is one trial with one noise, and each column has a length scale, fitted by gradient; here are replicates, a
nugget, trends and gains, and one length scale over features weighted by trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular

from nasbench.surrogate.observations import Means

LEAST_SPREAD = 0.25  # of a feature: a rare choice does not put its design far from all others
FARTHEST = 4.0  # deviations from the mean
WEIGHED_FROM, TREES = 40, 200  # rows from which on features are weighted, and the trees that do so
FITTED_ON = 350  # designs that hyperparameters are estimated from, at most; all enter the posterior
AT_ONCE = 4096  # designs predicted in one batch, to bound memory
JITTER = 1e-8


@dataclass(frozen=True)
class Scaler:
    """Standardises features and weights them; squared weights of varying features add up to 1, so that distances
    between designs are of the order of 1."""

    mean: np.ndarray
    spread: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray | None = None) -> Scaler:
        """Equal weights for x (n, d); with targets y (n,) of enough rows, half of the weight is shared out by the
        features' importance in trees, which reduces the held-out error on the shipped table's 208 designs by 5 %."""
        varying = int((x != x[0]).any(0).sum())
        shares = np.full(x.shape[1], 1 / max(1, varying))  # also of constant features: other designs may differ in them
        if y is not None and len(y) >= WEIGHED_FROM:
            shares = (shares + _importances(x, y)) / 2
        return cls(x.mean(0), np.maximum(x.std(0), LEAST_SPREAD), np.sqrt(shares))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip((x - self.mean) / self.spread, -FARTHEST, FARTHEST) * self.weights)


def _importances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(d,) impurity importances of the features, with sum 1, or all 0 where no tree has a split.

    Equal to the last digit to those of scikit-learn's ExtraTreesRegressor, in half the time: it clones and validates
    each tree, and a fit with cross-validation has nine forests.
    """
    from sklearn import config_context  # slow to load
    from sklearn.tree import ExtraTreeRegressor

    draws, found = np.random.RandomState(0), []
    x = np.ascontiguousarray(x, np.float32)
    with config_context(skip_parameter_validation=True):
        for _ in range(TREES):
            seed = draws.randint(np.iinfo(np.int32).max)
            tree = ExtraTreeRegressor(min_samples_leaf=3, max_features=0.5, random_state=seed)
            tree.fit(x, y, check_input=False)
            if tree.tree_.node_count > 1:
                found.append(tree.tree_.compute_feature_importances())
    mean = np.mean(found, axis=0) if found else np.zeros(x.shape[1])
    return np.asarray(mean / max(mean.sum(), 1e-300))


class Parameters(NamedTuple):
    """Natural logarithms of the kernel's length scale, and of standard deviations in the unit of the targets.

    smooth: of the squared exponential; linear: of the linear function, per unit of scaled feature; nugget: of the
    offset of a design that features do not explain; noise: of one training about its design's mean.
    """

    length: float
    smooth: float
    linear: float
    nugget: float
    noise: float

    def deviation(self, name: str) -> float:
        return float(np.exp(getattr(self, name)))


@dataclass(frozen=True)
class ParameterPrior:
    """Independent normal priors of the parameters, which are logarithms: means and standard deviations."""

    middle: Parameters
    width: Parameters

    @classmethod
    def about(cls, spread: float, noise: float = 0.025) -> ParameterPrior:
        """For targets of standard deviation `spread`, with seed noise of 1 to 6 points."""
        smooth, nugget = np.log(0.7 * max(spread, 1e-3)), np.log(0.25 * max(spread, 1e-3))
        middle = Parameters(np.log(1.2), smooth, smooth, nugget, np.log(noise))
        return cls(middle, Parameters(0.7, 0.7, 1.0, 0.7, 0.6))

    def penalty(self, at: np.ndarray) -> float:
        return float(0.5 * (((at - np.array(self.middle)) / np.array(self.width)) ** 2).sum())


@dataclass(frozen=True)
class Trend:
    """Linear trend: `values` (n, t) of t known functions, whose factors have priors of mean 0 and `deviations` (t,)."""

    values: np.ndarray
    deviations: np.ndarray

    @classmethod
    def level(cls, n: int, deviation: float) -> Trend:
        return cls(np.ones((n, 1)), np.array([deviation]))

    @classmethod
    def line(cls, x: np.ndarray, deviations: tuple[float, float]) -> Trend:
        """A level and a slope over `x` (n,)."""
        return cls(np.column_stack([np.ones(len(x)), x]), np.array(deviations))

    def covariance(self, other: Trend) -> np.ndarray:
        return np.asarray((self.values * self.deviations**2) @ other.values.T)


def smooth_covariance(at: Parameters, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) covariance of the smooth and the linear part, at scaled features (n, d) and (m, d)."""
    products = a @ b.T
    squares = np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * products, 0)
    smooth = np.exp(2 * at.smooth - squares / (2 * np.exp(2 * at.length)))
    return np.asarray(smooth + np.exp(2 * at.linear) * products)


def _total_covariance(
    at: Parameters, x: np.ndarray, count: np.ndarray, trend: Trend, gain: np.ndarray | float = 1.0
) -> np.ndarray:
    """(n, n) covariance of the targets; `gain` (n,) multiplies the process at each design."""
    process = smooth_covariance(at, x, x) + np.exp(2 * at.nugget) * np.eye(len(x))
    own = np.diag(np.exp(2 * at.noise) / count + JITTER)
    return np.asarray(process * np.multiply.outer(gain, gain) + trend.covariance(trend) + own)


def _negative_log_posterior(
    vector: np.ndarray, x: np.ndarray, data: Means, trend: Trend, prior: ParameterPrior
) -> float:
    """Of parameters given as a `vector`, up to a constant."""
    at = Parameters(*vector)
    try:
        factor, _ = cho_factor(_total_covariance(at, x, data.count, trend), lower=True)
    except (LinAlgError, ValueError):
        return 1e10
    replicates = data.freedom * at.noise + 0.5 * data.scatter * np.exp(-2 * at.noise)
    return float(_negative_log_likelihood(factor, data.y) + replicates + prior.penalty(vector))


def _negative_log_likelihood(factor: np.ndarray, y: np.ndarray) -> float:
    """Of a normal distribution, up to a constant; `factor` is the Cholesky factor of its covariance."""
    return float(0.5 * y @ cho_solve((factor, True), y) + np.log(np.diag(factor)).sum())


def map_estimate(x: np.ndarray, data: Means, trend: Trend, prior: ParameterPrior) -> Parameters:
    """The parameters at scaled features (n, d), from at most `FITTED_ON` designs, evenly spaced."""
    from scipy.optimize import minimize  # slow to load, and not needed where parameters are given

    chosen = np.unique(np.linspace(0, len(data) - 1, min(len(data), FITTED_ON)).astype(int))
    few = Trend(trend.values[chosen], trend.deviations)
    arguments = (x[chosen], data.taken(chosen), few, prior)
    found = minimize(_negative_log_posterior, prior.middle, arguments, method="L-BFGS-B", options={"maxiter": 40})
    return Parameters(*found.x)


@dataclass(frozen=True)
class Process:
    """A fitted process, with the `trend` and the `gain` at its own points."""

    scaler: Scaler
    parameters: Parameters
    data: Means
    trend: Trend
    points: np.ndarray  # (n, d) scaled
    factor: np.ndarray  # (n, n) lower Cholesky factor of the targets' covariance
    weights: np.ndarray  # (n,) inverse covariance times targets
    gain: np.ndarray  # (n,)

    @classmethod
    def fit(
        cls,
        data: Means,
        trend: Trend,
        parameters: Parameters | ParameterPrior,
        scaler: Scaler,
        gain: np.ndarray | None = None,
    ) -> Process:
        """To the targets of `data`, with these parameters, or with their MAP estimate under a prior."""
        gain = np.ones(len(data)) if gain is None else gain
        points = scaler(data.x)
        if isinstance(parameters, ParameterPrior):
            parameters = map_estimate(points, data, trend, parameters)
        factor, _ = cho_factor(_total_covariance(parameters, points, data.count, trend, gain), lower=True)
        factor = np.tril(factor)
        return cls(scaler, parameters, data, trend, points, factor, cho_solve((factor, True), data.y), gain)

    def predict(self, x: np.ndarray, trend: Trend, gain: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(m,), (m,) mean and variance of the mean over a design's trainings, at features (m, d)."""
        gain = np.ones(len(x)) if gain is None else gain
        parts = [slice(start, start + AT_ONCE) for start in range(0, max(1, len(x)), AT_ONCE)]
        found = [self._predict(x[part], Trend(trend.values[part], trend.deviations), gain[part]) for part in parts]
        means, variances = zip(*found)
        return np.concatenate(means), np.concatenate(variances)

    def _predict(self, x: np.ndarray, trend: Trend, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at, places = self.parameters, self.scaler(x)
        nugget = np.exp(2 * at.nugget)
        cross = smooth_covariance(at, places, self.points)
        for row, column in enumerate(self._own(x)):
            if column is not None:
                cross[row, column] += nugget
        cross = cross * np.multiply.outer(gain, self.gain) + trend.covariance(self.trend)
        prior = gain**2 * (np.exp(2 * at.smooth) + np.exp(2 * at.linear) * (places**2).sum(1) + nugget)
        prior = prior + ((trend.values * trend.deviations) ** 2).sum(1)
        explained = solve_triangular(self.factor, cross.T, lower=True)
        return cross @ self.weights, np.maximum(prior - (explained**2).sum(0), JITTER)

    def _own(self, x: np.ndarray) -> list[int | None]:
        """Which of the points each row of features is, if any."""
        return [self._places.get(row.tobytes()) for row in np.ascontiguousarray(x)]

    @cached_property
    def _places(self) -> dict[bytes, int]:
        return {row.tobytes(): index for index, row in enumerate(self.data.x)}

    @property
    def log_evidence(self) -> float:
        """Log marginal likelihood of the targets, up to a constant that depends on their number alone."""
        return -_negative_log_likelihood(self.factor, self.data.y)

    def factors(self) -> np.ndarray:
        """(t,) posterior means of the trend's factors."""
        return np.asarray(self.trend.deviations**2 * (self.trend.values.T @ self.weights))
