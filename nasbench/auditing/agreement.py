"""How far two rankings agree: Kendall's tau over chosen pairs, with bootstrap intervals over what is ranked.

A choice of pairs is a mask over `pair_indices(n)`. Over all pairs the figure is tau-b, as scipy has it; over others it
is the same ratio taken of those pairs alone: concordant minus discordant ones, over the geometric mean of how many
each ranking leaves untied.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

DRAWS = 2000
LEVEL = 0.9  # of all intervals
LEAST = 3  # things ranked, below which there is nothing to say


class Agreement(NamedTuple):
    """Kendall's tau with the ends of its interval, and how many pairs it was taken over."""

    tau: float
    low: float
    high: float
    pairs: int


class InOrder(NamedTuple):
    """How many of the chosen pairs a ranking puts as the truth does."""

    right: int
    pairs: int

    @property
    def share(self) -> float:
        return self.right / self.pairs if self.pairs else float("nan")


def pair_indices(n: int) -> tuple[np.ndarray, np.ndarray]:
    """(p,), (p,) the first and second of each of the n (n - 1) / 2 pairs."""
    first, second = np.triu_indices(n, 1)
    return first, second


def signs(values: np.ndarray) -> np.ndarray:
    """(p,) of each pair: 1 where the first is larger, -1 where the second is, 0 where they tie."""
    first, second = pair_indices(len(values))
    return np.sign(values[first] - values[second])


def _taus(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(b,) tau of the pairs' signs under each row of `weights` (b, p); NaN where a ranking ties all of them."""
    both, untied_x, untied_y = weights @ (x * y), weights @ (x * x), weights @ (y * y)
    with np.errstate(invalid="ignore", divide="ignore"):
        return both / np.sqrt(untied_x * untied_y)


def kendall(scores: np.ndarray, truth: np.ndarray, chosen: np.ndarray | None = None) -> float:
    """Kendall's tau of two rankings over the chosen pairs (all by default); NaN where there are none."""
    x, y = signs(np.asarray(scores, float)), signs(np.asarray(truth, float))
    weights = np.ones((1, len(x))) if chosen is None else chosen[None].astype(float)
    return float(_taus(x, y, weights)[0])


@lru_cache(maxsize=8)
def resampled_pairs(n: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """(draws, p) how often each pair stands in a sample of n with replacement; a thing makes no pair with its copy."""
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    first, second = pair_indices(n)
    return (counts[:, first] * counts[:, second]).astype(float)


def agreement(
    scores: np.ndarray, truth: np.ndarray, chosen: np.ndarray | None = None, draws: int = DRAWS, seed: int = 0
) -> Agreement | None:
    """`kendall` with its bootstrap interval; None where there is too little to rank."""
    n = len(scores)
    if n < LEAST:
        return None
    chosen = np.ones(n * (n - 1) // 2, bool) if chosen is None else chosen
    value = kendall(scores, truth, chosen)
    if not np.isfinite(value):
        return None
    weights = resampled_pairs(n, draws, seed) * chosen
    found = _taus(signs(np.asarray(scores, float)), signs(np.asarray(truth, float)), weights)
    low, high = _interval(found)
    return Agreement(value, low, high, int(chosen.sum()))


def advantage(scores: np.ndarray, others: np.ndarray, truth: np.ndarray) -> Agreement | None:
    """By how much `scores` agree better with `truth` than `others` do, over the same samples."""
    if len(scores) < LEAST:
        return None
    value = kendall(scores, truth) - kendall(others, truth)
    if not np.isfinite(value):
        return None
    weights, y = resampled_pairs(len(scores)), signs(truth)
    low, high = _interval(_taus(signs(scores), y, weights) - _taus(signs(others), y, weights))
    return Agreement(value, low, high, weights.shape[1])


def _interval(found: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def in_order(scores: np.ndarray, truth: np.ndarray, chosen: np.ndarray) -> InOrder:
    """Of the chosen pairs that the truth tells apart, how many `scores` put the same way round; a tie is not right."""
    x, y = signs(np.asarray(scores, float)), signs(np.asarray(truth, float))
    chosen = chosen & (y != 0)
    return InOrder(int((x * y > 0)[chosen].sum()), int(chosen.sum()))


class Residual(NamedTuple):
    """How far a family's scores lie from the line through the others, in standard deviations about that line."""

    mean: float
    members: int


def residuals(truth: np.ndarray, scores: np.ndarray, left_out: np.ndarray | None = None) -> np.ndarray:
    """(n,) scores minus the straight line over `truth` that fits those not `left_out` (a mask) best, in standard
    deviations of these about it."""
    kept = np.ones(len(scores), bool) if left_out is None else ~left_out
    slope, level = np.polyfit(truth[kept], scores[kept], 1)
    off = scores - (level + slope * truth)
    return np.asarray(off / np.sqrt((off[kept] ** 2).sum() / max(1, kept.sum() - 2)))


def family_residuals(truth: np.ndarray, scores: np.ndarray, families: Sequence[str]) -> dict[str, Residual]:
    """Family -> its mean residual from the line that the other families make; nothing where these are too few."""
    names, found = np.asarray(list(families)), {}
    for family in dict.fromkeys(families):
        members = names == family
        if len(np.unique(truth[~members])) >= LEAST:
            mean = residuals(truth, scores, members)[members].mean()
            found[family] = Residual(float(mean), int(members.sum()))
    return found
