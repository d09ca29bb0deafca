"""Scaling laws: error = E + sum of A_j * (x_j / x0_j)^-alpha_j, fitted robustly to log residuals.

With one variable this is E + A * C^-alpha; with parameters and samples it is the two-variable form of arXiv:2203.15556,
whose fit (a Huber loss on log residuals from many starts) this follows too. Variables are divided by their geometric
mean, so that A_j is the share of error above E at the middle of the data and hardly depends on alpha_j.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nasbench.errors import UserError

ALPHA_RANGE = (0.01, 4.0)  # bounds of an exponent; published ones lie between 0.05 and 1
STARTS = tuple((alpha, floor) for alpha in (0.1, 0.3, 0.7, 1.5) for floor in (0.0, 0.5, 0.9))  # floor / least error
HUBER = 1.345  # in standard deviations: 95 % as efficient as least squares where residuals are normal
FIRST_DELTA = 0.02  # of the first pass, in ln(error)
MIN_SIGMA = 1e-4  # in ln(error)
MIN_SCALES = 3
NO_FLOOR = 1e-3  # E below this share of the smallest error is set to 0


@dataclass(frozen=True)
class PowerLaw:
    """`floor` is E; `amplitudes` A_j hold at `reference` x0_j; `exponents` alpha_j. Every array is (k,)."""

    variables: tuple[str, ...]
    floor: float
    amplitudes: np.ndarray
    exponents: np.ndarray
    reference: np.ndarray

    def predict(self, x: np.ndarray | float | Sequence[float]) -> np.ndarray:
        """Error at `x`, (n, k) or (n,) for one variable -> (n,)."""
        table = np.asarray(x, float).reshape(-1, len(self.variables))
        return self.floor + (self.amplitudes * (table / self.reference) ** -self.exponents).sum(1)

    @property
    def vector(self) -> np.ndarray:
        """(1 + 2k,): E, ln A_j, alpha_j."""
        return np.concatenate([[self.floor], np.log(self.amplitudes), self.exponents])

    @property
    def coefficients(self) -> np.ndarray:
        """(k,) A_j of x_j^-alpha_j, without the reference."""
        return self.amplitudes * self.reference**self.exponents

    def formula(self) -> str:
        terms = [
            f"{a:.3g} * ({name} / {x:.3g})^-{alpha:.3g}"
            for name, a, x, alpha in zip(self.variables, self.amplitudes, self.reference, self.exponents)
        ]
        return " + ".join([f"{self.floor:.4g}", *terms])


@dataclass(frozen=True)
class Data:
    """What a law is fitted to: `x` (n, k) and errors `y` (n,), all above zero.

    A scale is one distinct row of `x`; trainings that differ by their seed only share one.
    """

    variables: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, variables: Sequence[str], x: object, y: object) -> Data:
        """Checked and as float64 arrays."""
        names = tuple(variables)
        table, errors = np.asarray(x, float).reshape(-1, len(names)), np.asarray(y, float).ravel()
        if len(table) != len(errors) or not len(errors):
            raise UserError(f"{len(table)} places and {len(errors)} errors: a law needs one error for each; check both")
        bad = ~(np.isfinite(table).all(1) & (table > 0).all(1) & np.isfinite(errors) & (errors > 0))
        if bad.any():
            where = int(np.flatnonzero(bad)[0])
            raise UserError(
                f"point {where}: {dict(zip(names, table[where]))}, error {errors[where]}: a law needs finite values "
                "above zero; leave it out"
            )
        return cls(names, table, errors)

    @cached_property
    def reference(self) -> np.ndarray:
        return np.exp(np.log(self.x).mean(0))

    @cached_property
    def group(self) -> np.ndarray:
        """(n,) index of the scale of each point."""
        return np.unique(self.x, axis=0, return_inverse=True)[1].ravel()

    @property
    def scales(self) -> int:
        return int(self.group.max()) + 1

    @property
    def parameters(self) -> int:
        return 1 + 2 * len(self.variables)

    @property
    def inflation(self) -> float:
        """Factor from the residuals' standard deviation to that of the noise: parameters take up degrees of freedom."""
        return float(np.sqrt(len(self.y) / max(1, len(self.y) - self.parameters)))

    def with_errors(self, y: np.ndarray) -> Data:
        return Data(self.variables, self.x, y)

    def where(self, kept: np.ndarray) -> Data:
        return Data(self.variables, self.x[kept], self.y[kept])

    def check_scales(self) -> None:
        """Raise UserError where there are too few scales for the parameters of the law."""
        for name, column in zip(self.variables, self.x.T):
            distinct = len(np.unique(column))
            if distinct < MIN_SCALES:
                raise UserError(
                    f"{distinct} different values of {name}: a law needs at least {MIN_SCALES}; train more of them "
                    "with `nasbench scale train`"
                )
        if self.scales < self.parameters:
            raise UserError(
                f"{self.scales} places for the {self.parameters} parameters of a law in {' and '.join(self.variables)}:"
                " train more combinations of them"
            )


@dataclass(frozen=True)
class Fit:
    """The best law, its residuals ln(observed / fitted) (n,), and the robust loss that was minimised."""

    law: PowerLaw
    data: Data
    residuals: np.ndarray
    delta: float
    loss: float

    @property
    def sigma(self) -> float:
        """Robust standard deviation of the noise, from the residuals."""
        return max(MIN_SIGMA, _mad(self.residuals) * self.data.inflation)


def fit_law(data: Data, starts: Sequence[np.ndarray] | None = None, delta: float | None = None) -> Fit:
    """The law that minimises the Huber loss of log residuals, the best of the local minima from several starts.

    `delta` is the residual from which on the loss is linear; by default HUBER standard deviations of the residuals of a
    first fit. `starts` are vectors like `PowerLaw.vector`.
    """
    data.check_scales()
    starts = list(starts) if starts is not None else [start_vector(data, *start) for start in STARTS]
    if delta is None:
        first = _best(data, starts, FIRST_DELTA)
        delta = HUBER * max(MIN_SIGMA, _mad(_residuals(first, data)) * data.inflation)
        starts = [first, *starts]
    vector = _best(data, starts, delta)
    residuals = -_residuals(vector, data)
    return Fit(law_of(vector, data), data, residuals, delta, float(_huber(residuals, delta).sum()))


def law_of(vector: np.ndarray, data: Data) -> PowerLaw:
    """The law with these parameters, as `PowerLaw.vector` holds them, and the variables and reference of `data`."""
    k = len(data.variables)
    return PowerLaw(data.variables, float(vector[0]), np.exp(vector[1 : 1 + k]), vector[1 + k :].copy(), data.reference)


def _mad(values: np.ndarray) -> float:
    """Median absolute deviation from zero, as a standard deviation."""
    return float(1.4826 * np.median(np.abs(values)))


def _huber(residuals: np.ndarray, delta: float) -> np.ndarray:
    size = np.abs(residuals)
    return np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))


def start_vector(data: Data, alpha: float, floor: float) -> np.ndarray:
    """(1 + 2k,) a law to start a fit from: all exponents `alpha`, E a share `floor` < 1 of the least error.

    At the reference it has the geometric mean of the errors.
    """
    k, lowest = len(data.variables), data.y.min()
    middle = float(np.exp(np.log(data.y).mean()))
    amplitude = (middle - floor * lowest) / k
    return np.concatenate([[floor * lowest], np.full(k, np.log(amplitude)), np.full(k, alpha)])


def _bounds(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of a law's vector."""
    k, high = len(data.variables), data.y.max()
    low_a, high_a = np.log(1e-7 * high), np.log(10 * high)
    lower = np.concatenate([[0.0], np.full(k, low_a), np.full(k, ALPHA_RANGE[0])])
    return lower, np.concatenate([[high], np.full(k, high_a), np.full(k, ALPHA_RANGE[1])])


def _best(data: Data, starts: Sequence[np.ndarray], delta: float) -> np.ndarray:
    """The vector with the least loss among local minima from `starts`."""
    from scipy.optimize import least_squares

    lower, upper = _bounds(data)
    z, target = np.log(data.x / data.reference), np.log(data.y)
    found = []
    for start in starts:
        result = least_squares(
            log_residuals, np.clip(start, lower + 1e-9, upper - 1e-9), jacobian, (lower, upper),
            loss="huber", f_scale=delta, args=(z, target),
            x_scale=np.maximum(0.05, upper - lower) / 10, max_nfev=80, xtol=1e-7, ftol=1e-9, gtol=1e-9,
        )  # fmt: skip
        found.append((result.cost, result.x))
    best = min(found, key=lambda pair: pair[0])[1]
    if best[0] < NO_FLOOR * data.y.min():  # the solver never reaches its bound of 0
        best[0] = 0.0
    return best


def _residuals(vector: np.ndarray, data: Data) -> np.ndarray:
    """(n,) ln(fitted / observed)."""
    return log_residuals(vector, np.log(data.x / data.reference), np.log(data.y))


def log_residuals(vector: np.ndarray, z: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(n,) ln(fitted) - `target` at z = ln(x / reference) (n, k), of the law with this `PowerLaw.vector`."""
    k = z.shape[1]
    return np.log(vector[0] + np.exp(vector[1 : 1 + k] - vector[1 + k :] * z).sum(1)) - target


def jacobian(vector: np.ndarray, z: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(n, 1 + 2k) derivatives of `log_residuals`."""
    k = z.shape[1]
    terms = np.exp(vector[1 : 1 + k] - vector[1 + k :] * z)  # (n, k)
    fitted = vector[0] + terms.sum(1)
    return np.concatenate([np.ones((len(z), 1)), terms, -z * terms], axis=1) / fitted[:, None]
