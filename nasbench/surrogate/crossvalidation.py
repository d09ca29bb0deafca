"""Cross-validation of the surrogate: how it predicts held-out designs, and the factor that widens its deviations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nasbench.surrogate.features import features
from nasbench.surrogate.levels import Level, fit_levels
from nasbench.surrogate.observations import Means, Trainings

FOLDS = 8
COVERAGE, DEVIATIONS = 0.9, 1.645  # of a normal distribution, two-sided
WIDENINGS = np.geomspace(0.4, 4, 121)
OWN_NOISE = 0.5  # of held-out means' variance that is taken as their own: noise and nugget are hard to tell apart
LEAST = 20  # designs, below which a level's errors don't tell how wide they are


class HeldOut(NamedTuple):
    """Designs at one level that a fit had not seen: the mean of each one's trainings, and what was predicted of it."""

    truth: np.ndarray
    trainings: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def folds_of(trainings: Sequence[Trainings], folds: int = FOLDS, seed: int = 0) -> list[np.ndarray]:
    """For each fidelity the fold of each row; all trainings of a design are in one fold."""
    known: dict[bytes, int] = {}
    keys = [
        [known.setdefault(row.tobytes(), len(known)) for row in features(rows.architectures, trainings[0].fidelity)]
        for rows in trainings
    ]
    fold = np.random.default_rng(seed).permutation(len(known)) % folds
    return [fold[row] for row in keys]


def held_out(
    trainings: Sequence[Trainings], levels: Sequence[Level], fold: Sequence[np.ndarray]
) -> list[list[HeldOut]]:
    """For each level, fold by fold, its designs as predicted without them; parameters stay as they were fitted."""
    found: list[list[HeldOut]] = [[] for _ in trainings]
    parameters = [level.process.parameters for level in levels]
    for left_out in range(max(int(each.max(initial=0)) for each in fold) + 1):
        seen = [rows.taken(each != left_out) for rows, each in zip(trainings, fold)]
        kept = [index for index, rows in enumerate(seen) if rows.architectures]
        fitted = fit_levels([seen[index] for index in kept], [parameters[index] for index in kept])
        for index, level in zip(kept, fitted):
            rows = trainings[index].taken(fold[index] == left_out)
            if rows.architectures:
                found[index].append(_predicted(level, rows))
    return found


def _predicted(level: Level, rows: Trainings) -> HeldOut:
    x, (mean, variance) = features(rows.architectures, rows.fidelity), level.moments(rows.architectures)
    data = Means.of(x, rows.accuracies)  # a design's predictions are equal, and stay what they are
    return HeldOut(data.y, data.count, Means.of(x, mean).y, Means.of(x, variance).y)


def together(parts: Sequence[HeldOut]) -> HeldOut:
    """Several as one."""
    return HeldOut(*(np.concatenate(each) for each in zip(*parts)))


def widening(levels: Sequence[Level], trainings: Sequence[Trainings]) -> list[float]:
    """For each level what its standard deviation must be multiplied by for its 90 % intervals to hold 90 %.

    A level of too few designs takes the one below it.
    """
    factors: list[float] = []
    for level, parts in zip(levels, held_out(trainings, levels, folds_of(trainings))):
        own = together(parts) if parts else None
        if own is None or len(own.truth) < LEAST:
            factors.append(factors[-1] if factors else 1.0)
        else:
            factors.append(_widening(own, level.noise * OWN_NOISE**0.5))
    return factors


def _widening(errors: HeldOut, noise: float) -> float:
    """The factor at which the share inside is nearest to what it should be; of several the middle one."""
    off = np.abs([coverage(errors, noise, factor) - COVERAGE for factor in WIDENINGS])
    return float(np.median(WIDENINGS[off <= off.min() + 1e-9]))


def coverage(errors: HeldOut, noise: float, factor: float = 1.0) -> float:
    """The share of held-out means that lie in their 90 % interval, their own noise counted."""
    deviation = np.sqrt(factor**2 * errors.variance + noise**2 / errors.trainings)
    return float((np.abs(errors.truth - errors.mean) <= DEVIATIONS * deviation).mean())
