"""How sure a law is: bootstrap over seeds and sizes, profile likelihood of the exponent, and plain warnings.

Each bootstrap draw puts new noise on the fitted law and fits again. The noise has two levels, as the data have: seeds
scatter about their scale's mean, and scales scatter about the law by more than their seeds explain (lack of fit). Its
size is uncertain too, and drawn from what the degrees of freedom allow, which makes the intervals those of Student's t
where residuals are normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from nasbench.scaling.laws import ALPHA_RANGE, MIN_SIGMA, Data, Fit, PowerLaw, fit_law, law_of
from nasbench.scaling.likelihood import LEVEL, likelihood_interval

DRAWS = 300
TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2  # the ends of an interval, as quantiles
RANGE_NEEDED = 4.0  # largest over smallest value of a variable
FALL_NEEDED = 3.0  # fall of the error over the range, in standard errors of the two ends' means
WIDE = 4.0  # upper over lower end of an exponent's interval from which on it is not identified
NEAR_BOUND = 1.15
SPARE_SCALES = 2
POOL = 1000  # normal residuals that stand in for those of a law that passes through its points
ASSUMED_NOISE = 0.01  # in ln(error), where nothing tells
LACK_OF_FIT = 0.05  # level of the F test from which on scales are taken to scatter by more than their seeds


@dataclass(frozen=True)
class Noise:
    """In ln(error): `seed` within a scale, `scale` between scales beyond that, and the degrees of freedom of both."""

    seed: float
    scale: float
    freedom: int


@dataclass(frozen=True)
class LawFit:
    """A law with its bootstrap draws (b, 1 + 2k) and what is wrong with it. `warnings` is empty where all is well."""

    fit: Fit
    noise: Noise
    draws: np.ndarray
    profile: tuple[tuple[float, float], ...]  # an interval for each exponent, from the profile likelihood
    warnings: tuple[str, ...] = ()
    name: str = ""
    unidentified: tuple[str, ...] = field(default=())  # variables whose exponent the data do not identify

    @property
    def law(self) -> PowerLaw:
        return self.fit.law

    @property
    def data(self) -> Data:
        return self.fit.data

    @property
    def identified(self) -> bool:
        return not self.unidentified

    @cached_property
    def laws(self) -> list[PowerLaw]:
        return [law_of(draw, self.data) for draw in self.draws]

    def interval(self, parameter: str) -> tuple[float, float]:
        """Bootstrap interval of "E", or of "A" or "alpha" (of a variable with "alpha:samples")."""
        return quantiles(self.values(parameter))

    def values(self, parameter: str) -> np.ndarray:
        """(b,) the bootstrap's values of a parameter."""
        kind, _, variable = parameter.partition(":")
        index = self.law.variables.index(variable) if variable else 0
        k = len(self.law.variables)
        return {
            "E": self.draws[:, 0],
            "A": np.exp(self.draws[:, 1 + index]),
            "alpha": self.draws[:, 1 + k + index],
        }[kind]

    def curve_draws(self, x: np.ndarray | float | Sequence[float]) -> np.ndarray:
        """(b, n) the law's error at `x` under each draw."""
        return np.stack([law.predict(x) for law in self.laws])

    def band(self, x: np.ndarray | float | Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Where the law itself lies at `x`: low (n,), high (n,)."""
        low, high = np.quantile(self.curve_draws(x), TAILS, axis=0)
        return low, high

    def outcomes(self, x: np.ndarray | float | Sequence[float], seeds: int, rng: np.random.Generator) -> np.ndarray:
        """(b, n) what the mean error of `seeds` trainings at `x` may turn out to be: the law and the noise about it."""
        curves = self.curve_draws(x)
        return curves * np.exp(noise_draws(self.noise, curves.shape, seeds, rng))

    def outcome_interval(self, x: np.ndarray | float | Sequence[float], seeds: int) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.quantile(self.outcomes(x, seeds, np.random.default_rng(0)), TAILS, axis=0)
        return low, high


def quantiles(values: np.ndarray) -> tuple[float, float]:
    """The ends of the 90 % interval that the draws `values` (b,) give."""
    low, high = np.quantile(values, TAILS)
    return float(low), float(high)


def analyse(data: Data, draws: int = DRAWS, seed: int = 0, name: str = "", least_noise: float = MIN_SIGMA) -> LawFit:
    """Fit a law to `data` and say how sure it is. The same seed gives the same intervals.

    `least_noise`, in ln(error), is what is known of the noise otherwise, such as the rounding of quoted figures.
    """
    fit = fit_law(data)
    noise = measured_noise(fit)
    noise = replace(noise, seed=max(noise.seed, ASSUMED_NOISE if untested(data) else least_noise))
    found = bootstrap(fit, noise, draws, np.random.default_rng(seed))
    profile = tuple(likelihood_interval(fit, index, noise.seed) for index in range(len(data.variables)))
    unidentified, warnings = judge(fit, noise, found, profile)
    return LawFit(fit, noise, found, profile, tuple(warnings), name, tuple(unidentified))


def untested(data: Data) -> bool:
    """Whether nothing is left over to judge the noise by: no seeds, and no more scales than parameters."""
    return len(data.y) <= data.parameters


def measured_noise(fit: Fit) -> Noise:
    """Seed noise from the scatter within scales; more between scales where an F test finds a lack of fit."""
    from scipy.special import fdtrc  # scipy.stats has it by name, and takes half a second to import

    data, residuals = fit.data, fit.residuals
    counts = np.bincount(data.group)
    means = np.bincount(data.group, residuals) / counts
    within, between = len(residuals) - data.scales, data.scales - data.parameters
    freedom = max(1, len(residuals) - data.parameters)
    pooled = Noise(max(MIN_SIGMA, float(np.sqrt((residuals**2).sum() / freedom))), 0.0, freedom)
    if within < 1 or between < 1:
        return pooled
    seed = max(MIN_SIGMA, float(np.sqrt(((residuals - means[data.group]) ** 2).sum() / within)))
    spread = float((counts * means**2).sum() / between)  # expected: seed^2 + count * scale^2
    if fdtrc(between, within, spread / seed**2) > LACK_OF_FIT:
        return pooled
    scale = float(np.sqrt((spread - seed**2) / counts.mean()))
    return Noise(seed, scale, between)


def noise_draws(noise: Noise, shape: tuple[int, int], seeds: int, rng: np.random.Generator) -> np.ndarray:
    """(b, n) ln noise of the mean of `seeds` trainings at n places."""
    size = np.sqrt(noise.freedom / rng.chisquare(noise.freedom, (shape[0], 1)))
    return size * rng.standard_normal(shape) * np.sqrt(noise.scale**2 + noise.seed**2 / seeds)


def bootstrap(fit: Fit, noise: Noise, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, 1 + 2k) laws fitted to the fitted law with new noise on it."""
    data = fit.data
    counts = np.bincount(data.group)
    means = np.bincount(data.group, fit.residuals) / counts
    seeds = fit.residuals - means[data.group]
    if data.scales < len(data.y):
        shrunk = counts / np.maximum(1, counts - 1)
        pool = (seeds * np.sqrt(shrunk[data.group]))[counts[data.group] > 1]
    else:
        pool = fit.residuals * np.sqrt(len(data.y) / max(1, len(data.y) - data.parameters))
    spread = float(np.sqrt((pool**2).mean()))
    pool = pool * (noise.seed / spread) if spread > MIN_SIGMA else rng.normal(0, noise.seed, POOL)
    fitted, starts = fit.law.predict(data.x), [fit.law.vector]
    if data.scales < data.parameters + SPARE_SCALES:  # several minima are likely
        starts += _other_starts(fit)
    found = []
    for _ in range(draws):
        size = np.sqrt(noise.freedom / rng.chisquare(noise.freedom))
        shift = rng.normal(0, noise.scale, data.scales)[data.group] if noise.scale else 0.0
        y = fitted * np.exp(size * (rng.choice(pool, len(fitted)) + shift))
        found.append(fit_law(data.with_errors(y), starts, fit.delta).law.vector)
    return np.stack(found)


def _other_starts(fit: Fit) -> list[np.ndarray]:
    """One start with a small floor and one with a large, since both kinds of law may suit other noise better."""
    k, low = len(fit.data.variables), fit.data.y.min()
    middle = float(np.exp(np.log(fit.data.y).mean()))
    return [
        np.concatenate([[share * low], np.full(k, np.log((middle - share * low) / k)), np.full(k, alpha)])
        for share, alpha in ((0.1, 0.15), (0.85, 1.0))
    ]


def judge(
    fit: Fit, noise: Noise, draws: np.ndarray, profile: Sequence[tuple[float, float]]
) -> tuple[list[str], list[str]]:
    """Variables whose exponent is not identified, and what is to be said, most serious first."""
    data, k = fit.data, len(fit.data.variables)
    unidentified, warnings = [], []
    for index, name in enumerate(data.variables):
        reasons = _doubts(fit, noise, draws[:, 1 + k + index], profile[index], index)
        if reasons:
            unidentified.append(name)
            warnings.append(f"the exponent of {name} is not identified: {'; '.join(reasons)}")
    low, high = quantiles(draws[:, 0])
    if low < 0.02 * data.y.min():
        warnings.append(
            f"E cannot be told from 0 (90 % interval {low:.3g} to {high:.3g}): larger scales would tell it apart"
        )
    if data.scales == data.parameters:
        assumed = f"; noise is assumed to be {ASSUMED_NOISE:.0%} of the error" if untested(data) else ""
        warnings.append(
            f"{data.scales} scales for {data.parameters} parameters: the law passes through them and nothing tests it"
            + assumed
        )
    if noise.scale > 2 * noise.seed:
        warnings.append(
            f"scales lie {noise.scale:.1%} off the law, seeds {noise.seed:.1%} apart: the law is not the whole truth"
        )
    return unidentified, warnings


def _doubts(fit: Fit, noise: Noise, alphas: np.ndarray, profile: tuple[float, float], index: int) -> list[str]:
    data, reasons = fit.data, []
    column = data.x[:, index]
    spread = column.max() / column.min()
    if spread < RANGE_NEEDED:
        reasons.append(f"{data.variables[index]} spans a factor of {spread:.2g} only")
    fall, error = _fall(data, column, noise)
    if fall < FALL_NEEDED * error:
        reasons.append(f"the error falls by {fall:.1%} over the range, seeds and scales scatter by {error:.1%}")
    if untested(data):
        reasons.append(f"{len(data.y)} trainings for {data.parameters} parameters leave nothing to test it by")
    low, high = quantiles(alphas)
    if high / max(low, ALPHA_RANGE[0]) > WIDE:
        reasons.append(f"its 90 % interval is {low:.2g} to {high:.2g}")
    if profile[0] <= ALPHA_RANGE[0] * NEAR_BOUND or profile[1] >= ALPHA_RANGE[1] / NEAR_BOUND:
        reasons.append("the likelihood does not bound it: E and the exponent can stand in for each other")
    return reasons


def _fall(data: Data, column: np.ndarray, noise: Noise) -> tuple[float, float]:
    """By how much ln(error) falls from the smallest to the largest value, and its standard error."""
    first, last = column == column.min(), column == column.max()
    fall = float(np.log(data.y[first]).mean() - np.log(data.y[last]).mean())
    variances = [noise.seed**2 / mask.sum() + noise.scale**2 / len(set(data.group[mask])) for mask in (first, last)]
    return fall, float(np.sqrt(sum(variances)))
