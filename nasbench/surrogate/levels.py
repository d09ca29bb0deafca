"""Recursive co-kriging (arXiv:1210.0686): accuracy at each fidelity is a linear function of that at the one below, plus
a Gaussian process of the residual.

A level is one fidelity, the cheapest first; the first is a Gaussian process over a design's features. The prior mean of
a slope is 1, so that a level of few rows stays close to the one below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.study.fidelity import Fidelity
from nasbench.surrogate.features import features
from nasbench.surrogate.observations import Means, Trainings
from nasbench.surrogate.process import ParameterPrior, Parameters, Process, Scaler, Trend

SLOPE = 0.5  # prior standard deviation of a level's slope about 1
LEAST_SPREAD = 0.02  # of accuracies: those of a few designs may be equal by chance


@dataclass(frozen=True)
class Level:
    """The model of accuracy at one fidelity. `centre` is the mean of the process's targets: accuracies, or their
    differences from the level below, whose mean is `below_centre`."""

    fidelity: Fidelity
    process: Process
    centre: float
    below: Level | None = None
    below_centre: float = 0.0
    widening: float = 1.0  # of the standard deviation, from cross-validation

    @property
    def noise(self) -> float:
        """Standard deviation of one training about its design's mean."""
        return self.process.parameters.deviation("noise")

    @property
    def designs(self) -> int:
        return len(self.process.data)

    @property
    def slope(self) -> float:
        """By how much accuracy here rises with that at the level below; 1 of the lowest."""
        return 1.0 if self.below is None else 1 + float(self.process.factors()[1])

    def moments(self, archs: Sequence[Architecture], x: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(n,), (n,) mean and variance, without `widening`; `x` (n, d): the features at this fidelity, where known."""
        x = features(archs, self.fidelity) if x is None else x
        if self.below is None:
            mean, variance = self.process.predict(x, Trend.level(len(x), self.process.trend.deviations[0]))
            return self.centre + mean, variance
        alike = self.below.fidelity.recipe == self.fidelity.recipe
        below, uncertainty = self.below.moments(archs, x if alike else None)
        level, slope = self.process.trend.deviations
        trend = Trend.line(below - self.below_centre, (level, slope))
        left, variance = self.process.predict(x, trend)
        return below + self.centre + left, variance + self.slope**2 * uncertainty


def fit_levels(trainings: Sequence[Trainings], parameters: Sequence[Parameters] | None = None) -> tuple[Level, ...]:
    """A level for each fidelity, in order; given `parameters` (one set a level) are used instead of estimated ones."""
    levels: list[Level] = []
    for index, rows in enumerate(trainings):
        known = parameters[index] if parameters else None
        levels.append(_over(levels[-1], rows, known) if levels else _first(rows, known))
    return tuple(levels)


def _first(rows: Trainings, known: Parameters | None) -> Level:
    data = Means.of(features(rows.architectures, rows.fidelity), rows.accuracies)
    centre, spread = float(data.y.mean()), max(float(data.y.std()), LEAST_SPREAD)
    trend = Trend.level(len(data), spread)
    process = Process.fit(
        data.minus(np.full(len(data), centre)), trend, known or ParameterPrior.about(spread), Scaler.of(data.x, data.y)
    )
    return Level(rows.fidelity, process, centre)


def _over(below: Level, rows: Trainings, known: Parameters | None) -> Level:
    """A level above another, with the length scale of that one: few rows cannot tell it."""
    x = features(rows.architectures, rows.fidelity)
    data = Means.of(x, rows.accuracies)
    expected = Means.of(x, below.moments(rows.architectures)[0]).y  # in the order of `data`
    centre, below_centre = float((data.y - expected).mean()), float(expected.mean())
    spread = max(float(data.y.std()), LEAST_SPREAD)
    prior, length = ParameterPrior.about(spread / 2), below.process.parameters.length
    prior = ParameterPrior(prior.middle._replace(length=length), prior.width._replace(length=0.1))
    trend = Trend.line(expected - below_centre, (spread, SLOPE))
    process = Process.fit(data.minus(expected + centre), trend, known or prior, below.process.scaler)
    return Level(rows.fidelity, process, centre, below, below_centre)


def widened(levels: Sequence[Level], factors: Sequence[float]) -> tuple[Level, ...]:
    """The levels with their standard deviations multiplied by `factors`."""
    made: list[Level] = []
    for level, factor in zip(levels, factors):
        made.append(replace(level, widening=factor, below=made[-1] if made else None))
    return tuple(made)
