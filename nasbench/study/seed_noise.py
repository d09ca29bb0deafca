"""Seed noise: how far trainings of the same design lie apart that differ by nothing but their seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class SeedNoise:
    """Standard deviation of accuracy over seeds, pooled over all networks that were trained more than once.

    Two or three seeds of one network say little about its spread; pooled over the finalists there are enough degrees
    of freedom, at the price of assuming that they all scatter alike. `raced`: it is of trainings chosen by the scores
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
