"""How much a score's prediction loses by each lever: permutation importance on designs that the forest never saw.

Breiman (2001), section 10, with two changes: the designs left out are those of a bootstrap, so that the spread over
bootstraps says how sure the figure is; and a lever exchanges values only where they take effect (`levers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nasbench.errors import UserError
from nasbench.importance.levers import Lever, Move

DRAWS = 40  # bootstraps: the 90 % interval cuts off two of them at either end
EXCHANGES = 5  # of each lever in each bootstrap
TREES = 32
LEAST = 16  # designs: of fewer, about five are left out of a bootstrap, and no figure means anything
INTERVAL = (5, 95)  # per cent


class Importance(NamedTuple):
    """A lever's share of the score's variance that is lost to prediction without it: median and 90 % interval."""

    name: str
    share: float
    low: float
    high: float
    designs: int


@dataclass(frozen=True)
class Importances:
    """Of one score over `designs`. `explained`: the share of variance of designs left out that the forest predicts,
    with its interval; where that is not above zero, the levers' figures mean nothing."""

    score: str
    designs: int
    explained: tuple[float, float, float]
    levers: tuple[Importance, ...]

    @property
    def means_something(self) -> bool:
        return self.explained[1] > 0

    @property
    def told(self) -> str:
        """How much there is to share out, and whether there is anything."""
        share, low, high = (100 * value for value in self.explained)
        told = f"{self.designs:,} designs; of those left out {share:.0f} % of the variance is predicted"
        lack = "" if self.means_something else ": too little to say what matters"
        return f"{told} [{low:.0f}, {high:.0f}]{lack}"

    def tells_apart(self, each: Importance) -> bool:
        """Whether a lever of these matters, by more than chance."""
        return self.means_something and each.low > 0


def importances(
    code: np.ndarray, values: np.ndarray, levers: Sequence[Lever], score: str, draws: int | None = None
) -> Importances:
    """Of a score's `values` (n,) over designs coded as (n, features); the most important lever first.

    `draws`: bootstraps, by default `DRAWS`.
    """
    draws = DRAWS if draws is None else draws
    if len(values) < LEAST:
        raise UserError(f"{score}: {len(values)} designs of the space have it; it takes {LEAST} to say what matters")
    if np.ptp(values) == 0:
        raise UserError(f"{score}: it is the same for all {len(values)} designs, so no field can matter")
    rng = np.random.default_rng(0)
    every = [_one_draw(code, values, levers, rng) for _ in range(draws)]
    explained = _interval(np.array([before for before, _ in every]))
    lost = np.array([drops for _, drops in every]).reshape(draws, len(levers))
    found = [Importance(lever.name, *_interval(column), lever.designs) for lever, column in zip(levers, lost.T)]
    return Importances(score, len(values), explained, tuple(sorted(found, key=lambda each: -each.share)))


def _interval(draws: np.ndarray) -> tuple[float, float, float]:
    low, high = np.percentile(draws, INTERVAL)
    return float(np.median(draws)), float(low), float(high)


def _one_draw(
    code: np.ndarray, values: np.ndarray, levers: Sequence[Lever], rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """Of one bootstrap: the variance of the designs left out that is explained, and what each lever takes of it."""
    from sklearn.ensemble import RandomForestRegressor

    inside, outside = _split(len(values), rng)
    forest = RandomForestRegressor(
        TREES, min_samples_leaf=2, max_features=0.5, random_state=int(rng.integers(2**31))
    ).fit(code[inside], values[inside])
    left, truth, variance = code[outside], values[outside], values.var()
    changed = [_exchanged(left, lever, outside, rng) for lever in levers for _ in range(EXCHANGES)]
    predicted = forest.predict(np.vstack([left, *changed])).reshape(-1, len(outside))
    errors = ((predicted - truth) ** 2).mean(1) / variance
    return float(1 - errors[0]), (errors[1:] - errors[0]).reshape(len(levers), EXCHANGES).mean(1)


def _split(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A bootstrap of `count` designs, and those that are not in it; at least two."""
    while True:
        inside = rng.integers(count, size=count)
        outside = np.setdiff1d(np.arange(count), inside)
        if len(outside) > 1:  # of sixteen designs, fewer are left out once in 10^9 draws
            return inside, outside


def _exchanged(left: np.ndarray, lever: Lever, outside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The designs left out with the lever's values exchanged among them."""
    changed = left.copy()
    for move in lever.moves:
        places = _places(move, outside)
        changed[np.ix_(places, move.columns)] = left[np.ix_(rng.permutation(places), move.columns)]
    return changed


def _places(move: Move, outside: np.ndarray) -> np.ndarray:
    return np.flatnonzero(move.among[outside])
