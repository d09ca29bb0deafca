"""NSGA-II (Deb et al. 2002): generations of children, parents by Pareto rank and crowding in binary tournaments.

A generation is `population` consecutive trials. Its parents are the best of all trials that ended before it began,
which needs no state; in the paper they are the best of the last parents and children, which differs only where a front
is larger than the population.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from nasbench.arch.architecture import Architecture
from nasbench.strategies.context import Context, Proposals
from nasbench.strategies.relatives import best_members, first_accepted
from nasbench.values import Value


class Nsga2Settings(Value, strict=True):
    """The size of a generation, and how a child is made."""

    population: int = Field(16, ge=2, le=10**6)  # trials of a generation; the first one is random
    crossover: float = Field(0.9, ge=0, le=1)  # share of the children that have two parents; the paper's figure
    mutation: float = Field(0.8, ge=0, le=1)  # share of the children that have one field changed


def propose(context: Context, n: int, settings: Nsga2Settings) -> list[Architecture]:
    """Up to `n` new architectures within the budgets; fewer when the space has no more."""
    proposals = Proposals(context)
    return proposals.fill(n, _Breeding(context, settings, proposals).next)


@dataclass
class _Breeding:
    """One call of `propose`. The parents stay the same throughout a generation."""

    context: Context
    settings: Nsga2Settings
    proposals: Proposals
    generation: int = 0
    parents: tuple[Architecture, ...] = ()  # best first

    def next(self) -> Architecture | None:
        """A new child; None for a random draw in its place."""
        generation = (len(self.context.candidates) + len(self.proposals.found)) // self.settings.population
        if generation != self.generation:
            self.generation, self.parents = generation, tuple(self._parents_of(generation))
        return first_accepted(self.proposals, self._child) if len(self.parents) > 1 else None

    def _parents_of(self, generation: int) -> list[Architecture]:
        before = self.context.candidates[: generation * self.settings.population]
        able = [one for one in before if one.losses is not None and one.parent]
        return best_members(self.context.space, able, self.settings.population)

    def _child(self) -> Architecture:
        rng, space = self.context.rng, self.context.space
        child = self._winner()
        if rng.random() < self.settings.crossover:
            child = space.crossover(child, self._winner(), rng)
        return space.mutate(child, rng, 1) if rng.random() < self.settings.mutation else child

    def _winner(self) -> Architecture:
        """Of two drawn parents the better: they are in order."""
        return self.parents[int(self.context.rng.integers(len(self.parents), size=2).min())]
