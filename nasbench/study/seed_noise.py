"""Seed noise: how far trainings of the same design lie apart that differ by nothing but their seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

OFTEN = 3  # trainings from which on a network says something of the noise between two others
ENOUGH = 6  # degrees of freedom that such networks must give; else all networks are asked


@dataclass(frozen=True)
class SeedNoise:
    """Standard deviation of accuracy over seeds, pooled over networks that were trained more than once.

    Two or three seeds of one network say little about its spread; pooled over several there are enough degrees of
    freedom, at the price of assuming that these scatter alike. `raced`: it is of trainings chosen by the scores
    before them, so that a lead had several occasions to look clear.
    """

    std: float
    degrees_of_freedom: int
    raced: bool = False


def pooled(groups: Iterable[Sequence[float]]) -> SeedNoise | None:
    """The pooled standard deviation within groups, each the accuracies of one network; None if no group has two."""
    squares, freedom = 0.0, 0
    for values in groups:
        mean = fmean(values)
        squares += sum((value - mean) ** 2 for value in values)
        freedom += len(values) - 1
    return SeedNoise(math.sqrt(squares / freedom), freedom) if freedom > 0 else None


def pooled_between(
    first: Sequence[float], second: Sequence[float], others: Iterable[Sequence[float]]
) -> SeedNoise | None:
    """The noise that a difference between two networks is held against: of these two and of `others` trained often.

    A finalist that no contest hangs on has two trainings, and a weak network may scatter more than strong ones do
    (8.5 points between two seeds of one at 45 %, where those at 55 to 60 % have deviations of 1 to 3): pooled over all,
    it alone decided that a lead between two others was not clear. Who is trained often is decided by means, which say
    nothing of how far seeds lie apart, so that leaving out the rest favours nobody (`benchmarks/race_errors.py`).
    """
    every = list(others)
    noise = pooled([first, second, *(group for group in every if len(group) >= OFTEN)])
    return noise if noise and noise.degrees_of_freedom >= ENOUGH else pooled([first, second, *every])
