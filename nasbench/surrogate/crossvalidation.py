"""Cross-validation of the surrogate: how it predicts held-out designs, and the factor that widens its deviations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nasbench.surrogate.features import features
from nasbench.surrogate.levels import Level, fit_levels
from nasbench.surrogate.observations import Means, Trainings

FOLDS = 8
COVERAGE, DEVIATIONS = 0.9, 1.645  # of a two-sided interval of a normal distribution
WIDENINGS = np.geomspace(0.4, 4, 121)
OWN_NOISE = 0.5  # share of the noise variance that held-out means are taken to have: noise and nugget are confounded
LEAST = 20  # designs of a level, for a factor of its own


class HeldOut(NamedTuple):
    """(n,) arrays of held-out designs at one level: mean and number of trainings, predicted mean and variance."""

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
    data = Means.of(x, rows.accuracies)  # rows of a design have equal predictions, which the means keep
    return HeldOut(data.y, data.count, Means.of(x, mean).y, Means.of(x, variance).y)


def together(parts: Sequence[HeldOut]) -> HeldOut:
    """The designs of all parts."""
    return HeldOut(*(np.concatenate(each) for each in zip(*parts)))


def widening(levels: Sequence[Level], trainings: Sequence[Trainings]) -> list[float]:
    """For each level the factor on its standard deviation with which 90 % intervals contain 90 % of held-out means.

    A level of too few designs has the factor of the one below.
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
    """The factor with which the coverage is nearest to `COVERAGE`; the median where there are several."""
    off = np.abs([coverage(errors, noise, factor) - COVERAGE for factor in WIDENINGS])
    return float(np.median(WIDENINGS[off <= off.min() + 1e-9]))


def coverage(errors: HeldOut, noise: float, factor: float = 1.0) -> float:
    """The share of held-out means within their 90 % intervals, which include the means' own noise."""
    deviation = np.sqrt(factor**2 * errors.variance + noise**2 / errors.trainings)
    return float((np.abs(errors.truth - errors.mean) <= DEVIATIONS * deviation).mean())
