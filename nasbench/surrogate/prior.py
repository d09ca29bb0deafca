"""A surrogate as a search's prior, by Bayesian model averaging: y = a + b m(x) + a Gaussian process of the residual.

Two kinds of models of the trials are averaged by their posterior probability, each at several sizes of its process:
warm, in which accuracy is a line over the surrogate's mean m, and cold, which has features alone. Where the surrogate
misleads, as it may on other images, the cold ones prevail and b shrinks to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.study.fidelity import Fidelity
from nasbench.surrogate.cokriging import Prediction, Surrogate
from nasbench.surrogate.features import features
from nasbench.surrogate.observations import Means, by_fidelity
from nasbench.surrogate.process import Parameters, Process, Trend

TRUST = 0.8  # prior probability of the warm models
SLOPE = 0.4  # prior standard deviation of b about 1
LEVEL = 0.2  # prior standard deviation of a, in accuracy
# Standard deviations of the warm processes at a design: a multiple of the surrogate's own there, and a constant, in
# accuracy, by which another task may differ.
SIZES = ((0.7, 0.0), (1.4, 0.0), (1.0, 0.03), (1.0, 0.1))
SPREADS = (0.04, 0.08, 0.16)  # standard deviations of the cold processes, in accuracy
CHANCE = 0.4  # share up to which the trust is 0: an uninformative surrogate has 0.3 after 6 to 12 designs
FEW = 3  # designs, below which there is no correlation
LATEST = 500  # trials taken into account, to bound the time


class Agreement(NamedTuple):
    """How far the trials agree with the surrogate. `weight`: posterior probability of the warm models; `slope`: the
    mean of b, 0 in cold models; `correlation` of its mean with the trials' accuracy, NaN below three designs; `share`:
    the slope in standard deviations of accuracy per standard deviation of the surrogate's mean.

    The share, unlike the slope, is small for an uninformative surrogate, whose predictions hardly differ, and not small
    for a right order on other images, where accuracies lie closer together."""

    designs: int
    correlation: float
    slope: float
    weight: float
    share: float

    @property
    def trust(self) -> float:
        """From 0 to 1: how far a search should rely on the surrogate."""
        return min(1.0, max(0.0, (self.share - CHANCE) / (TRUST - CHANCE)))

    def __str__(self) -> str:
        if self.designs < FEW:
            return f"{self.designs} designs so far: too few to tell whether the table's prior helps"
        return (
            f"correlation {self.correlation:.2f} with {self.designs} designs observed; the prior counts with weight "
            f"{self.weight:.2f}, slope {self.slope:.2f}"
        )


class Posterior(NamedTuple):
    """(n,) of the candidates: expected accuracy over trainings, and its standard deviation."""

    mean: np.ndarray
    std: np.ndarray
    agreement: Agreement


@dataclass(frozen=True)
class _Model:
    """A model of the trials, with its log posterior probability up to a constant.

    Warm with `widths`, an entry of `SIZES`: a process of the residual of the surrogate's mean; else cold: a process of
    accuracy minus `centre`.
    """

    log_weight: float
    process: Process
    centre: float
    widths: tuple[float, float] | None = None

    @property
    def slope(self) -> float | None:
        """b; None of a cold model."""
        return None if self.widths is None else 1 + float(self.process.factors()[1])

    def moments(self, x: np.ndarray, told: Prediction) -> tuple[np.ndarray, np.ndarray]:
        """(n,), (n,) mean and variance of candidates with features x (n, d), of which the surrogate predicts `told`."""
        if self.widths is None:
            mean, variance = self.process.predict(x, Trend.level(len(x), LEVEL))
            return self.centre + mean, variance
        trend = Trend.line(told.mean - self.centre, (LEVEL, SLOPE))
        mean, variance = self.process.predict(x, trend, np.hypot(self.widths[0] * told.std, self.widths[1]))
        return told.mean + mean, variance


@dataclass(frozen=True)
class Corrected:
    """A surrogate corrected by a search's trials: a mixture of models of these."""

    surrogate: Surrogate
    fidelity: Fidelity
    models: tuple[_Model, ...]
    agreement: Agreement

    def of(self, candidates: Sequence[Architecture]) -> Posterior:
        """Expected accuracies of candidates, which may be among the trials."""
        told = self.surrogate.predict(candidates, self.fidelity)
        if not self.models or not len(candidates):
            return Posterior(told.mean, told.std, self.agreement)
        x = features(candidates, self.fidelity)
        means, variances = map(np.array, zip(*(one.moments(x, told) for one in self.models)))
        weights = _weights(self.models)
        mean = weights @ means
        variance = weights @ (variances + means**2) - mean**2
        return Posterior(np.clip(mean, 0, 1), np.sqrt(np.maximum(variance, 0)), self.agreement)


@dataclass(frozen=True)
class Prior:
    """A surrogate as prior for trials at `fidelity`, by default its long training."""

    surrogate: Surrogate
    fidelity: Fidelity | None = None

    @property
    def _fidelity(self) -> Fidelity:
        return self.fidelity or self.surrogate.long

    def posterior(
        self, seen: Sequence[Architecture], accuracies: Sequence[float], candidates: Sequence[Architecture]
    ) -> Posterior:
        """Given trials, which may repeat a design. UserError for an accuracy outside [0, 1]."""
        return self.corrected(seen, accuracies).of(candidates)

    def corrected(self, seen: Sequence[Architecture], accuracies: Sequence[float]) -> Corrected:
        """The models of these trials, to predict any number of candidates with."""
        fidelity, seen, accuracies = self._fidelity, seen[-LATEST:], accuracies[-LATEST:]
        by_fidelity(seen, [fidelity] * len(seen), accuracies)
        if not len(seen):
            return Corrected(self.surrogate, fidelity, (), Agreement(0, float("nan"), TRUST, TRUST, TRUST))
        x = features(seen, fidelity)
        data, told = Means.of(x, np.asarray(accuracies, float)), self.surrogate.predict(seen, fidelity)
        known = Prediction(Means.of(x, told.mean).y, Means.of(x, told.std).y)  # in the order of `data`
        found = (*self._warm(data, known), *self._cold(data))
        agreement = _agreement(found, known.mean, data.y)
        return Corrected(self.surrogate, fidelity, found, agreement)

    @property
    def _process(self) -> Process:
        return self.surrogate.levels[-1].process

    def _warm(self, data: Means, known: Prediction) -> list[_Model]:
        """Models of y - m: a line over m and a process of the residual."""
        middle = float(known.mean.mean())
        left, trend = data.minus(known.mean), Trend.line(known.mean - middle, (LEVEL, SLOPE))
        parameters, scaler, found = self._parameters(1.0), self._process.scaler, []
        for times, more in SIZES:
            process = Process.fit(left, trend, parameters, scaler, np.hypot(times * known.std, more))
            weight = process.log_evidence + np.log(TRUST / len(SIZES))
            found.append(_Model(weight, process, middle, (times, more)))
        return found

    def _cold(self, data: Means) -> list[_Model]:
        """Models of y by features alone."""
        centre = float(data.y.mean())
        left, found = data.minus(np.full(len(data), centre)), []
        for spread in SPREADS:
            trend = Trend.level(len(data), LEVEL)
            process = Process.fit(left, trend, self._parameters(spread), self._process.scaler)
            weight = process.log_evidence + np.log((1 - TRUST) / len(SPREADS))
            found.append(_Model(weight, process, centre))
        return found

    def _parameters(self, spread: float) -> Parameters:
        """Of a process of standard deviation `spread`, otherwise like the surrogate's, with its noise."""
        own = self._process.parameters
        size = np.hypot(np.hypot(own.deviation("smooth"), own.deviation("linear")), own.deviation("nugget"))
        shift, noise = float(np.log(spread / size)), max(self.surrogate.noise(self._fidelity), 1e-3)
        return Parameters(own.length, own.smooth + shift, own.linear + shift, own.nugget + shift, float(np.log(noise)))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < FEW or min(a.std(), b.std()) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _weights(found: Sequence[_Model]) -> np.ndarray:
    """(n,) posterior probability of each model."""
    logs = np.array([one.log_weight for one in found])
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


def _agreement(found: Sequence[_Model], told: np.ndarray, accuracies: np.ndarray) -> Agreement:
    weighted = list(zip(_weights(found), (one.slope for one in found)))
    slope = float(sum(weight * (slope or 0.0) for weight, slope in weighted))
    warm = float(sum(weight for weight, slope in weighted if slope is not None))
    few = len(told) < FEW or accuracies.std() == 0
    share = slope if few else slope * float(told.std() / accuracies.std())
    return Agreement(len(told), _correlation(told, accuracies), slope, warm, share)
