"""IsoFLOP curves and the compute-optimal split, from a law in parameters and samples.

Training costs 3 x multiply-adds x samples, and the multiply-adds of one family grow with its parameters as a power,
which is fitted to the family's own networks: compute = 3 * k * N^kappa * D. On a line of equal compute the law
E + A N^-alpha + B D^-beta then has one minimum, in closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nasbench.errors import UserError
from nasbench.scaling.intervals import LawFit, quantiles
from nasbench.scaling.laws import PowerLaw
from nasbench.scaling.points import FORWARD_AND_BACKWARD, JOINT, Point

MAX_END_RATIO = 1e3  # an interval whose ends differ by this factor or more is shown as open
MAX_SHOWN_LOSS = 10.0  # the upper end of a loss's interval is shown as "anything" from here on


@dataclass(frozen=True)
class CostModel:
    """Compute of a training: one forward pass of an image takes factor * parameters^power multiply-adds."""

    factor: float
    power: float

    @classmethod
    def of(cls, points: Sequence[Point]) -> CostModel:
        """Fitted to trainings of one family; UserError where all are of one size."""
        params = np.log([point.params for point in points])
        macs = np.log([point.compute / point.samples for point in points])
        if np.ptp(params) == 0:
            raise UserError("all trainings have the same size: a split of compute needs several; train more sizes")
        power, offset = np.polyfit(params, macs, 1)
        return cls(float(np.exp(offset)) / FORWARD_AND_BACKWARD, float(power))

    def compute(self, params: np.ndarray | float, samples: np.ndarray | float) -> np.ndarray | float:
        """Multiply-adds of a training."""
        return FORWARD_AND_BACKWARD * self.factor * params**self.power * samples

    def samples(self, params: np.ndarray | float, compute: np.ndarray | float) -> np.ndarray | float:
        """How many images `compute` pays for."""
        return compute / (FORWARD_AND_BACKWARD * self.factor * params**self.power)


@dataclass(frozen=True)
class ComputeSplit:
    """The parameters and samples of least error for `compute` (multiply-adds), that error, and 90 % intervals."""

    compute: float
    params: float
    samples: float
    error: float
    params_interval: tuple[float, float]
    samples_interval: tuple[float, float]
    error_interval: tuple[float, float]

    def row(self, loss: str = "error") -> dict[str, str]:
        low, high = self.error_interval
        return {
            "compute TMAC": f"{self.compute / 1e12:.3g}",
            "params M": f"{self.params / 1e6:.3g}",
            "90 %": _shown(self.params_interval, lambda value: f"{value / 1e6:.2g}"),
            "images": f"{self.samples:,.0f}",
            "90 % ": _shown(self.samples_interval, lambda value: f"{value:,.0f}"),
            f"{loss} (predicted)": f"{self.error:.3f}",
            "90 %  ": f"{low:.3f} to {high:.3f}" if high < MAX_SHOWN_LOSS else f"{low:.3f} to anything",
        }


def _shown(interval: tuple[float, float], text: Callable[[float], str]) -> str:
    low, high = interval
    return f"{text(low)} to {text(high)}" if high < MAX_END_RATIO * low else "open"


def best_params(law: PowerLaw, cost: CostModel, compute: float) -> float:
    """The parameters that minimise a law in (params, samples) at equal compute."""
    if law.variables != JOINT:
        raise ValueError(f"a split needs a law in {JOINT}, not {law.variables}")
    (a, b), (alpha, beta) = law.coefficients, law.exponents
    images = compute / (FORWARD_AND_BACKWARD * cost.factor)  # that a network with one parameter could train on
    return float((alpha * a * images**beta / (cost.power * beta * b)) ** (1 / (alpha + cost.power * beta)))


def split(fit: LawFit, cost: CostModel, compute: float) -> ComputeSplit:
    """The compute-optimal split of `compute`, with intervals from the law's bootstrap draws."""
    params = best_params(fit.law, cost, compute)
    samples = float(cost.samples(params, compute))
    draws = np.array([best_params(law, cost, compute) for law in fit.laws])
    images = np.asarray(cost.samples(draws, compute))
    low, high = fit.band((params, samples))
    return ComputeSplit(
        compute, params, samples, float(fit.law.predict((params, samples))[0]),
        quantiles(draws), quantiles(images), (float(low[0]), float(high[0])),
    )  # fmt: skip


def growth(fit: LawFit, cost: CostModel) -> tuple[float, tuple[float, float]]:
    """The exponent a of the compute-optimal params ~ compute^a, with its 90 % interval."""

    def power(law: PowerLaw) -> float:
        alpha, beta = law.exponents
        return float(beta / (alpha + cost.power * beta))

    return power(fit.law), quantiles(np.array([power(law) for law in fit.laws]))


def isoflop(fit: LawFit, cost: CostModel, compute: float, params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Error along a line of equal compute: (n,) error, (n,) samples."""
    samples = np.asarray(cost.samples(params, compute))
    return fit.law.predict(np.stack([params, samples], axis=1)), samples


def budgets(points: Sequence[Point], count: int = 4) -> np.ndarray:
    """(count,) amounts of compute that span those of the trainings."""
    spent = [point.compute for point in points]
    return np.geomspace(min(spent) * 1.5, max(spent), count)
