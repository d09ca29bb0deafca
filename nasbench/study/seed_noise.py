"""Seed noise: the standard deviation of trainings that differ in their seed alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

OFTEN = 3  # trainings of a network, from which on it enters the noise between two others
ENOUGH = 6  # degrees of freedom that these must give; else all networks enter


@dataclass(frozen=True)
class SeedNoise:
    """Standard deviation of accuracy over seeds, pooled over networks that were trained more than once.

    Pooling gives enough degrees of freedom from two or three seeds of each network, and assumes equal variances.
    `raced`: the number of trainings depended on their scores (sequential testing), which raises false positives.
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
    """The noise that a difference between two networks is tested against: of these two and of `others` trained often.

    A weak network may scatter more than strong ones (8.5 points between two seeds of one at 45 %, where those at 55 to
    60 % have standard deviations of 1 to 3) and would inflate the noise between two others. Which networks are trained
    often depends on means, not on scatter, so that leaving out the rest is unbiased (`benchmarks/race_errors.py`).
    """
    every = list(others)
    noise = pooled([first, second, *(group for group in every if len(group) >= OFTEN)])
    return noise if noise and noise.degrees_of_freedom >= ENOUGH else pooled([first, second, *every])
