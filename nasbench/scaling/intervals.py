"""Confidence intervals of a law: a bootstrap, the profile likelihood of the exponents, and warnings in words.

Each bootstrap draw adds new noise to the fitted law and fits again. The noise has two levels: seeds scatter about the
mean of their scale, and scales scatter about the law by more than their seeds explain (lack of fit). Its size is
uncertain too: each draw scales it by sqrt(f / chi-squared with f degrees of freedom), which makes the intervals those
of Student's t where residuals are normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from nasbench.scaling.laws import ALPHA_RANGE, MIN_SIGMA, Data, Fit, PowerLaw, fit_law, law_of, start_vector
from nasbench.scaling.likelihood import LEVEL, likelihood_interval

DRAWS = 300
TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2  # the ends of an interval, as quantiles
# An exponent counts as identified only where
RANGE_NEEDED = 4.0  # - its variable spans at least this factor,
FALL_NEEDED = 3.0  # - the error falls over that range by this many standard errors of the two ends' means,
MAX_ALPHA_RATIO = 4.0  # - its interval's upper end is at most this multiple of the lower,
NEAR_BOUND = 1.15  # - and the likelihood interval's ends stay this factor away from ALPHA_RANGE.
SPARE_SCALES = 2  # with fewer scales beyond the parameters, bootstrap fits begin from more than one start
POOL = 1000  # normal residuals drawn where the law passes through its points and has none of its own
ASSUMED_NOISE = 0.01  # in ln(error), where no degrees of freedom are left to estimate it
LACK_OF_FIT = 0.05  # level of the F test for scales that scatter by more than their seeds explain


@dataclass(frozen=True)
class Noise:
    """Standard deviations in ln(error): `seed` within a scale, and `scale` between scales beyond that.

    freedom: degrees of freedom of the estimate.
    """

    seed: float
    scale: float
    freedom: int


@dataclass(frozen=True)
class LawFit:
    """A law with its bootstrap draws (b, 1 + 2k), vectors like `PowerLaw.vector`, and warnings in words."""

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
        """The 90 % interval of the law at `x`, without the noise of trainings: low (n,), high (n,)."""
        low, high = np.quantile(self.curve_draws(x), TAILS, axis=0)
        return low, high

    def outcomes(self, x: np.ndarray | float | Sequence[float], seeds: int, rng: np.random.Generator) -> np.ndarray:
        """(b, n) draws of the mean error of `seeds` trainings at `x`: the law with the noise about it."""
        curves = self.curve_draws(x)
        return curves * np.exp(noise_draws(self.noise, curves.shape, seeds, rng))

    def outcome_interval(self, x: np.ndarray | float | Sequence[float], seeds: int) -> tuple[np.ndarray, np.ndarray]:
        """The 90 % interval of the mean error of `seeds` trainings at `x`: low (n,), high (n,)."""
        low, high = np.quantile(self.outcomes(x, seeds, np.random.default_rng(0)), TAILS, axis=0)
        return low, high


def quantiles(values: np.ndarray) -> tuple[float, float]:
    """The 90 % interval of the draws `values` (b,)."""
    low, high = np.quantile(values, TAILS)
    return float(low), float(high)


def analyse(data: Data, draws: int = DRAWS, seed: int = 0, name: str = "", least_noise: float = MIN_SIGMA) -> LawFit:
    """Fit a law to `data` with its intervals and warnings. The same seed gives the same intervals.

    least_noise: a lower bound of the noise in ln(error), such as the rounding of quoted figures.
    """
    fit = fit_law(data)
    noise = measured_noise(fit)
    noise = replace(noise, seed=max(noise.seed, ASSUMED_NOISE if untested(data) else least_noise))
    found = bootstrap(fit, noise, draws, np.random.default_rng(seed))
    profile = tuple(likelihood_interval(fit, index, noise.seed) for index in range(len(data.variables)))
    unidentified, warnings = judge(fit, noise, found, profile)
    return LawFit(fit, noise, found, profile, tuple(warnings), name, tuple(unidentified))


def untested(data: Data) -> bool:
    """Whether there are no degrees of freedom to estimate noise from: no more trainings than parameters."""
    return len(data.y) <= data.parameters


def measured_noise(fit: Fit) -> Noise:
    """Seed noise from the scatter within scales, and noise between scales where an F test finds a lack of fit."""
    from scipy.special import fdtrc  # scipy.stats.f.sf would take half a second to import

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
    """(b, n) noise in ln(error) of the mean of `seeds` trainings at n places."""
    size = np.sqrt(noise.freedom / rng.chisquare(noise.freedom, (shape[0], 1)))
    return size * rng.standard_normal(shape) * np.sqrt(noise.scale**2 + noise.seed**2 / seeds)


def bootstrap(fit: Fit, noise: Noise, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, 1 + 2k) vectors of laws fitted to the fitted law with new noise on it."""
    data, pool = fit.data, _residual_pool(fit, noise, rng)
    fitted, starts = fit.law.predict(data.x), [fit.law.vector]
    if data.scales < data.parameters + SPARE_SCALES:  # several minima are likely: one start with a small E, one large
        starts += [start_vector(data, alpha=0.15, floor=0.1), start_vector(data, alpha=1.0, floor=0.85)]
    found = []
    for _ in range(draws):
        size = np.sqrt(noise.freedom / rng.chisquare(noise.freedom))
        shift = rng.normal(0, noise.scale, data.scales)[data.group] if noise.scale else 0.0
        y = fitted * np.exp(size * (rng.choice(pool, len(fitted)) + shift))
        found.append(fit_law(data.with_errors(y), starts, fit.delta).law.vector)
    return np.stack(found)


def _residual_pool(fit: Fit, noise: Noise, rng: np.random.Generator) -> np.ndarray:
    """(m,) residuals to resample as seed noise, scaled to its standard deviation.

    Deviations from the mean of their scale where scales have several seeds, else residuals of the law; normal numbers
    where these are all about 0.
    """
    data = fit.data
    counts = np.bincount(data.group)
    if data.scales < len(data.y):
        means = np.bincount(data.group, fit.residuals) / counts
        correction = counts / np.maximum(1, counts - 1)  # Bessel's
        pool = ((fit.residuals - means[data.group]) * np.sqrt(correction[data.group]))[counts[data.group] > 1]
    else:
        pool = fit.residuals * data.inflation
    spread = float(np.sqrt((pool**2).mean()))
    return pool * (noise.seed / spread) if spread > MIN_SIGMA else rng.normal(0, noise.seed, POOL)


def judge(
    fit: Fit, noise: Noise, draws: np.ndarray, profile: Sequence[tuple[float, float]]
) -> tuple[list[str], list[str]]:
    """Variables whose exponent is not identified, and warnings in words, most serious first."""
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
    """Why the exponent of variable `index` is not identified; empty where it is. alphas (b,): its bootstrap draws."""
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
    if high / max(low, ALPHA_RANGE[0]) > MAX_ALPHA_RATIO:
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
