"""Regularised evolution, also called aging evolution (Real et al. 2019, arXiv:1802.01548, Algorithm 1).

The population is the latest trials: a design leaves it by age alone, so that one with a lucky training is not a parent
for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from pydantic import Field

from nasbench.arch.architecture import Architecture
from nasbench.pareto import best_first
from nasbench.strategies.context import Candidate, Context, Proposals
from nasbench.strategies.relatives import first_accepted
from nasbench.values import Value


class RegularisedSettings(Value, strict=True):
    """The paper's two figures (100 and 25 there, for 20,000 trainings), a fifth of them for searches of some dozens."""

    population: int = Field(20, ge=2, le=10**6)  # the latest finished trials; the first ones are random
    tournament: int = Field(5, ge=1, le=1000)  # drawn from it, of which the best becomes the parent


def propose(context: Context, n: int, settings: RegularisedSettings) -> list[Architecture]:
    """Up to `n` new architectures within the budgets; fewer when the space has no more.

    Each is the best of a tournament with one field changed. With two losses the best is the first by Pareto rank, and
    within a rank the least crowded of the tournament.
    """
    population, proposals = _population(context, settings.population), Proposals(context)

    def child() -> Architecture:
        drawn = [population[i] for i in context.rng.integers(len(population), size=settings.tournament)]
        best = best_first([one.losses for one in drawn if one.losses is not None])[0]
        return context.space.mutate(drawn[int(best)].architecture, context.rng, 1)

    def step() -> Architecture | None:
        tried = len(context.candidates) + len(proposals.found)
        return None if tried < settings.population or not population else first_accepted(proposals, child)

    return proposals.fill(n, step)


def _population(context: Context, count: int) -> Sequence[Candidate]:
    """Of the latest `count` finished trials inside the space, those that may be parents."""
    members = (one for one in reversed(context.finished) if context.space.contains(one.architecture))
    return [one for one in islice(members, count) if one.parent]
