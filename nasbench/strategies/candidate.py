"""What strategies read, and what they share: a trial's losses, the space's moves, drawing what is new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import Budget, on_cost
from nasbench.errors import UserError
from nasbench.space.limits import Limits, Predict, RejectionCounter

DRAWS_FOR_A_NEW_ONE = 100  # all known: the space is small, or nearly used up
WALKABLE = 100_000  # members of a space that is small enough to be walked through


@dataclass(frozen=True)
class Candidate:
    """A trial as a strategy sees it: losses, lower is better; None while it runs and after it failed.

    `parent`: whether it is worth breeding from; one that is not still says something about the space.
    """

    architecture: Architecture
    losses: tuple[float, ...] | None = None
    parent: bool = True


class Space(Protocol):
    """The moves that strategies use; SearchSpace has them, and so can a table of trained networks."""

    def sample(
        self,
        rng: np.random.Generator,
        budgets: Sequence[Budget],
        num_classes: int,
        counter: RejectionCounter | None,
        predict: Predict | None,
    ) -> Architecture: ...
    def mutate(self, arch: Architecture, rng: np.random.Generator, changes: int) -> Architecture: ...
    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture: ...
    def contains(self, arch: Architecture) -> bool: ...
    def size(self) -> int: ...
    def __iter__(self) -> Iterator[Architecture]: ...


@dataclass
class Desk:
    """One call's work: the space, the limits, what is known already, and the count of what was rejected."""

    space: Space
    rng: np.random.Generator
    limits: Limits
    known: set[str]
    counter: RejectionCounter = field(default_factory=RejectionCounter)

    @classmethod
    def of(
        cls,
        space: Space,
        trials: Sequence[Candidate],
        rng: np.random.Generator | int,
        limits: Limits,
        counter: RejectionCounter | None,
    ) -> Desk:
        """Without a predictor a budget on time, memory or energy cannot be judged here; whoever measures will."""
        budgets = on_cost(limits.budgets) if limits.predict is None else limits.budgets
        limits = Limits(budgets, limits.num_classes, limits.predict)
        known = {trial.architecture.id for trial in trials}
        return cls(space, np.random.default_rng(rng), limits, known, RejectionCounter() if counter is None else counter)

    def accepts(self, arch: Architecture) -> bool:
        """Whether `arch` is new and meets the budgets; what it fails is counted."""
        if arch.id in self.known:
            self.counter.reject("already tried")
            return False
        if not self.limits.budgets:
            return True
        metrics = self.limits.metrics(arch)
        failed = [budget for budget in self.limits.budgets if budget.violation(metrics) > 0]
        for budget in failed:
            self.counter.reject(f"budget {budget}")
        return not failed

    def take(self, arch: Architecture) -> Architecture:
        self.known.add(arch.id)
        return arch

    def draw_new(self) -> Architecture | None:
        """A random new member within the budgets; None when there is none left, or none can be found."""
        limits = self.limits
        for _ in range(DRAWS_FOR_A_NEW_ONE):
            try:
                arch = self.space.sample(self.rng, limits.budgets, limits.num_classes, self.counter, limits.predict)
            except UserError:
                if not self.known:
                    raise  # nobody meets the budget: the user has to know
                return None
            if arch.id not in self.known:
                return arch
            self.counter.reject("already tried")
        return self._walk_to_a_new_one()

    def _walk_to_a_new_one(self) -> Architecture | None:
        if self.space.size() > WALKABLE:
            return None
        left = [arch for arch in self.space if arch.id not in self.known]
        order = self.rng.permutation(len(left))
        return next((left[i] for i in order if self.limits.violation(left[i]) == 0), None)
