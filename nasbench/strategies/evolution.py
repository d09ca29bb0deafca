"""Steady-state multi-objective evolution: parents by Pareto rank and crowding, one child at a time, none twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from nasbench.arch.architecture import Architecture
from nasbench.strategies.context import Context, Proposals, Speed
from nasbench.strategies.relatives import CHILDREN_TRIED, best_members, first_accepted, geometric_changes
from nasbench.strategies.surrogate import MIN_TRIALS, guessed_errors, most_promising
from nasbench.values import Value


class EvolutionSettings(Value, strict=True):
    """How many trials are random, and how parents are selected and children made."""

    initial: int = Field(6, ge=0, le=10**6)  # random trials before the first child
    population: int = Field(20, ge=2, le=10**6)  # the best trials, of which parents are drawn
    tournament: int = Field(3, ge=1, le=1000)  # trials drawn for a parent, of which the best becomes it
    crossover: float = Field(0.8, ge=0, le=1)  # share of the children that have two parents
    explore: float = Field(0.1, ge=0, le=1)  # share of the later trials that are random
    children: int = Field(24, ge=1, le=1000)  # made for one proposal, where a surrogate chooses among them
    climb: float = Field(0.5, ge=0, le=1)  # share of those proposals that are steps of hill climbing


def propose(context: Context, n: int, settings: EvolutionSettings) -> list[Architecture]:
    """Up to `n` new architectures within the budgets; fewer when the space has no more.

    The first `initial` trials and a share `explore` of the later ones are random. The others are children of two (with
    probability `crossover`) or one of the best `population` trials, each the best of `tournament` drawn from them.
    Where `speed` gives the second loss without training, several children are made and the one proposed that adds most
    to the front by a surrogate of the first loss; or, for a share `climb`, the most accurate by the surrogate among
    small changes of the most accurate parent that are no slower than it.
    """
    parents = best_members(context.space, [one for one in context.finished if one.parent], settings.population)
    breeding = _Breeding(context, settings, tuple(parents), Proposals(context))
    return breeding.proposals.fill(n, breeding.next)


@dataclass(frozen=True)
class _Breeding:
    """One call of `propose`: children of `parents`, which are ordered best first."""

    context: Context
    settings: EvolutionSettings
    parents: tuple[Architecture, ...]
    proposals: Proposals

    def next(self) -> Architecture | None:
        """A child of the parents; None for a random draw in its place."""
        rng, speed = self.context.rng, self.context.speed
        tried = len(self.context.candidates) + len(self.proposals.found)
        if tried < self.settings.initial or len(self.parents) < 2 or rng.random() < self.settings.explore:
            return None
        if speed is None or len(self.context.finished) < MIN_TRIALS:
            return self._child()
        if rng.random() < self.settings.climb:
            return self._hill_climbing_step(speed)
        made = [self._child() for _ in range(self.settings.children)]
        offspring = [child for child in made if child is not None]
        return most_promising(self.context.space, offspring, self.context.finished, speed) if offspring else None

    def _child(self) -> Architecture | None:
        """A new child within the budgets; None where every one that was tried is known or too expensive."""
        return first_accepted(self.proposals, self._made)

    def _made(self) -> Architecture:
        rng, space = self.context.rng, self.context.space
        child = self._tournament_winner()
        changes = geometric_changes(rng)
        if rng.random() < self.settings.crossover:
            child = space.crossover(child, self._tournament_winner(), rng)
        return space.mutate(child, rng, changes)

    def _tournament_winner(self) -> Architecture:
        """The parents are in order: the winner is the first of those drawn."""
        drawn = self.context.rng.integers(len(self.parents), size=self.settings.tournament)
        return self.parents[int(drawn.min())]

    def _hill_climbing_step(self, speed: Speed) -> Architecture | None:
        """The most accurate, as predicted, of small changes of the best that are no slower; None without any."""
        rng, best, finished = self.context.rng, self._most_accurate(), self.context.finished
        steps: dict[str, Architecture] = {}
        for _ in range(CHILDREN_TRIED):
            if len(steps) == self.settings.children:
                break
            child = self.context.space.mutate(best, rng, geometric_changes(rng))
            if self.proposals.accepts(child) and speed(child) <= speed(best):
                steps[child.id] = child
        designs = list(steps.values())
        return designs[int(np.argmin(guessed_errors(self.context.space, designs, finished)))] if designs else None

    def _most_accurate(self) -> Architecture:
        ids = {arch.id for arch in self.parents}
        among = [one for one in self.context.finished if one.architecture.id in ids]
        return min(among, key=lambda one: one.losses or ()).architecture
