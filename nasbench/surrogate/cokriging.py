"""The surrogate: accuracy of any design, from few noisy trainings at several fidelities (multi-fidelity regression)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.study.fidelity import Fidelity
from nasbench.surrogate.crossvalidation import widening
from nasbench.surrogate.levels import Level, fit_levels, widened
from nasbench.surrogate.observations import by_fidelity, training_of

LEAST = 4  # designs at a fidelity, for a fit


class Prediction(NamedTuple):
    """(n,) arrays: each design's expected accuracy over trainings, in [0, 1], and the standard deviation of that."""

    mean: np.ndarray
    std: np.ndarray


@dataclass(frozen=True)
class Surrogate:
    """Fitted to trainings of designs; `levels` by fidelity, the shortest training first."""

    levels: tuple[Level, ...]
    long: Fidelity

    def predict(self, archs: Sequence[Architecture], fidelity: Fidelity | None = None) -> Prediction:
        """Each design's mean accuracy over trainings at this fidelity, long training by default.

        Between two fidelities that have rows it lies between their predictions; outside of them it is the nearer one's.
        """
        parts = self._weights(fidelity or self.long)
        moments = [(weight, level, *level.moments(archs)) for level, weight in parts]
        mean = sum((weight * mean for weight, _, mean, _ in moments), np.zeros(len(archs)))
        deviations = (weight * level.widening * np.sqrt(variance) for weight, level, _, variance in moments)
        return Prediction(np.clip(mean, 0, 1), sum(deviations, np.zeros(len(archs))))

    def after(
        self,
        archs: Sequence[Architecture],
        fidelity: Fidelity,
        known: Prediction,
        target: Fidelity | None = None,
    ) -> Prediction:
        """Each design's mean accuracy at `target`, long training by default, where that at a cheaper `fidelity` is
        `known` better than `predict` has it: by a search's own trials. What they differ by counts as much as the slopes
        of the levels between say."""
        told, wanted, slope = self.predict(archs, fidelity), self.predict(archs, target), self._slope(fidelity, target)
        left = np.maximum(wanted.std**2 - (slope * told.std) ** 2, 0)  # the variance that `fidelity` says nothing of
        mean = wanted.mean + slope * (known.mean - told.mean)
        return Prediction(np.clip(mean, 0, 1), np.sqrt(left + (slope * known.std) ** 2))

    def _slope(self, fidelity: Fidelity, target: Fidelity | None) -> float:
        """By how much accuracy at `target` is expected to rise with that at `fidelity`."""
        shortest = training_of(fidelity).samples

        def up_to(longest: int) -> float:
            return math.prod(level.slope for level in self.levels if shortest < level.fidelity.samples <= longest)

        return sum(weight * up_to(level.fidelity.samples) for level, weight in self._weights(target or self.long))

    def noise(self, fidelity: Fidelity | None = None) -> float:
        """Standard deviation of one training about its design's mean."""
        return sum(weight * level.noise for level, weight in self._weights(fidelity or self.long))

    def _weights(self, fidelity: Fidelity) -> list[tuple[Level, float]]:
        """The levels that a fidelity is predicted from, with their weights."""
        wanted = training_of(fidelity)
        exact = [level for level in self.levels if level.fidelity == wanted]
        if exact:
            return [(exact[0], 1.0)]
        own = [level for level in self.levels if level.fidelity.recipe == wanted.recipe] or list(self.levels)
        shorter = [level for level in own if level.fidelity.samples <= wanted.samples]
        longer = [level for level in own if level.fidelity.samples > wanted.samples]
        if not (shorter and longer):
            return [(shorter[-1] if shorter else longer[0], 1.0)]
        low, high = shorter[-1], longer[0]
        place, ends = np.log(wanted.samples), np.log([low.fidelity.samples, high.fidelity.samples])
        share = float((place - ends[0]) / (ends[1] - ends[0]))
        return [(low, 1 - share), (high, share)]


def fit(
    architectures: Sequence[Architecture],
    fidelities: Sequence[Fidelity],
    accuracies: Sequence[float],
    long: Fidelity | None = None,
    calibrate: bool = True,
) -> Surrogate:
    """The surrogate of these trainings; rows may repeat a design, at one fidelity (replicates) or at several.

    `long` is the fidelity that counts, by default the longest among the rows. UserError where the rows do not fit each
    other, or no fidelity has four designs.
    """
    trainings = by_fidelity(architectures, fidelities, accuracies)
    levels = fit_levels(trainings)
    most = max((level.designs for level in levels), default=0)
    if most < LEAST:
        raise UserError(f"{most} designs at a fidelity: a surrogate needs {LEAST} at least; train more of them")
    if calibrate:
        levels = widened(levels, widening(levels, trainings))
    return Surrogate(levels, long or max(fidelities, key=lambda one: one.samples))
