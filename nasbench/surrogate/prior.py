"""A surrogate as a search's prior: y = a + b m(x) + a process on what is left, believed as far as trials agree with it.

Two explanations of the trials are held against each other, each at several sizes of its process: warm, in which the
surrogate's mean m tells accuracy up to a straight line, and cold, which knows features alone. What a candidate is
expected to reach is the average of both by how probable they make the trials. So b shrinks to 0 where the surrogate
misleads, as on other images, and what is left is the cold search.
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

TRUST = 0.8  # that the surrogate helps, before any trial
SLOPE = 0.4  # deviation of b about 1, before trials
LEVEL = 0.2  # deviation of a, in accuracy
# The warm process is as large at a design as the surrogate is unsure of it, so many times, and by how much another task
# may differ, in accuracy.
SIZES = ((0.7, 0.0), (1.4, 0.0), (1.0, 0.03), (1.0, 0.1))
SPREADS = (0.04, 0.08, 0.16)  # of accuracy over a space, as the cold process may find it
LUCK = 0.4  # share up to which a search does not go by a surrogate: one that knows nothing has .3 after 6 to 12 designs
FEW = 3  # designs below which nothing is said of how they agree
LATEST = 500  # trials that are looked at, so that a long search stays quick


class Agreement(NamedTuple):
    """How far the trials bear the surrogate out. `weight`: how probable it is that it helps, from 0 to 1; `slope`: b,
    that weight counted; `correlation` of its mean with the trials' accuracy, NaN below three designs. `share`: the
    slope in standard deviations, of accuracy for one of the surrogate's mean. A surrogate that knows nothing expects
    the same of all designs, which says little against a slope of 1; on other images, where accuracies lie closer
    together, the slope is small though the order is right. The share tells these two apart."""

    designs: int
    correlation: float
    slope: float
    weight: float
    share: float

    @property
    def trust(self) -> float:
        """From 0 to 1, how far a search should go by the surrogate rather than by its trials alone."""
        return min(1.0, max(0.0, (self.share - LUCK) / (TRUST - LUCK)))

    def __str__(self) -> str:
        if self.designs < FEW:
            return f"{self.designs} designs so far: too few to tell whether the table's prior helps"
        return (
            f"correlation {self.correlation:.2f} with {self.designs} designs observed; the prior counts with weight "
            f"{self.weight:.2f}, slope {self.slope:.2f}"
        )


class Posterior(NamedTuple):
    """(n,) of the candidates: accuracy expected over trainings, and our uncertainty of it."""

    mean: np.ndarray
    std: np.ndarray
    agreement: Agreement


@dataclass(frozen=True)
class _Explanation:
    """One way to explain the trials: a process, and the logarithm of how probable they are by it.

    Warm where `widths` is there: the process is about what the surrogate's mean leaves, and at a design so many times
    as large as the surrogate is unsure of it, and by so much more. Else it is about accuracy around `centre`.
    """

    log_weight: float
    process: Process
    centre: float
    widths: tuple[float, float] | None = None

    @property
    def slope(self) -> float | None:
        """b; None where the surrogate has no part in it."""
        return None if self.widths is None else 1 + float(self.process.factors()[1])

    def moments(self, x: np.ndarray, told: Prediction) -> tuple[np.ndarray, np.ndarray]:
        """(n,), (n,) mean and variance of candidates; `told` by the surrogate alone."""
        if self.widths is None:
            mean, variance = self.process.predict(x, Trend.level(len(x), LEVEL))
            return self.centre + mean, variance
        trend = Trend.line(told.mean - self.centre, (LEVEL, SLOPE))
        mean, variance = self.process.predict(x, trend, np.hypot(self.widths[0] * told.std, self.widths[1]))
        return told.mean + mean, variance


@dataclass(frozen=True)
class Corrected:
    """A surrogate corrected by a search's trials: explanations of these, by how probable each is."""

    surrogate: Surrogate
    fidelity: Fidelity
    explanations: tuple[_Explanation, ...]
    agreement: Agreement

    def of(self, candidates: Sequence[Architecture]) -> Posterior:
        """What candidates should reach; they may be among the trials."""
        told = self.surrogate.predict(candidates, self.fidelity)
        if not self.explanations or not len(candidates):
            return Posterior(told.mean, told.std, self.agreement)
        x = features(candidates, self.fidelity)
        means, variances = map(np.array, zip(*(one.moments(x, told) for one in self.explanations)))
        weights = _weights(self.explanations)
        mean = weights @ means
        variance = weights @ (variances + means**2) - mean**2
        return Posterior(np.clip(mean, 0, 1), np.sqrt(np.maximum(variance, 0)), self.agreement)


@dataclass(frozen=True)
class Prior:
    """What a surrogate tells of designs at the fidelity of a search's trials, long training by default."""

    surrogate: Surrogate
    fidelity: Fidelity | None = None

    @property
    def _fidelity(self) -> Fidelity:
        return self.fidelity or self.surrogate.long

    def posterior(
        self, seen: Sequence[Architecture], accuracies: Sequence[float], candidates: Sequence[Architecture]
    ) -> Posterior:
        """From the trials so far, which may repeat a design; candidates may be among them. UserError: no accuracy."""
        return self.corrected(seen, accuracies).of(candidates)

    def corrected(self, seen: Sequence[Architecture], accuracies: Sequence[float]) -> Corrected:
        """The same before any candidate is named: what takes time is done once for all of them."""
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

    def _warm(self, data: Means, known: Prediction) -> list[_Explanation]:
        """y - m as a straight line over m with a process on what is left."""
        middle = float(known.mean.mean())
        left, trend = data.minus(known.mean), Trend.line(known.mean - middle, (LEVEL, SLOPE))
        parameters, scaler, found = self._parameters(1.0), self._process.scaler, []
        for times, more in SIZES:
            process = Process.fit(left, trend, parameters, scaler, np.hypot(times * known.std, more))
            weight = process.log_evidence + np.log(TRUST / len(SIZES))
            found.append(_Explanation(weight, process, middle, (times, more)))
        return found

    def _cold(self, data: Means) -> list[_Explanation]:
        """y as a process of its own."""
        centre = float(data.y.mean())
        left, found = data.minus(np.full(len(data), centre)), []
        for spread in SPREADS:
            trend = Trend.level(len(data), LEVEL)
            process = Process.fit(left, trend, self._parameters(spread), self._process.scaler)
            weight = process.log_evidence + np.log((1 - TRUST) / len(SPREADS))
            found.append(_Explanation(weight, process, centre))
        return found

    def _parameters(self, spread: float) -> Parameters:
        """Of a process that scatters by `spread`, shared out as the surrogate's own kernel is, with its noise."""
        own = self._process.parameters
        size = np.hypot(np.hypot(own.deviation("smooth"), own.deviation("linear")), own.deviation("nugget"))
        shift, noise = float(np.log(spread / size)), max(self.surrogate.noise(self._fidelity), 1e-3)
        return Parameters(own.length, own.smooth + shift, own.linear + shift, own.nugget + shift, float(np.log(noise)))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < FEW or min(a.std(), b.std()) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _weights(found: Sequence[_Explanation]) -> np.ndarray:
    """(n,) how probable each explanation is."""
    logs = np.array([one.log_weight for one in found])
    weights = np.exp(logs - logs.max())
    return np.asarray(weights / weights.sum())


def _agreement(found: Sequence[_Explanation], told: np.ndarray, accuracies: np.ndarray) -> Agreement:
    weighted = list(zip(_weights(found), (one.slope for one in found)))
    slope = float(sum(weight * (slope or 0.0) for weight, slope in weighted))
    warm = float(sum(weight for weight, slope in weighted if slope is not None))
    few = len(told) < FEW or accuracies.std() == 0
    share = slope if few else slope * float(told.std() / accuracies.std())
    return Agreement(len(told), _correlation(told, accuracies), slope, warm, share)
