"""What a strategy is given, and the one way in which it makes its proposals: new, inside the space, within budgets."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import Budget, on_cost
from nasbench.errors import UserError
from nasbench.space.file import FieldValue
from nasbench.space.limits import Limits, Predict, RejectionCounter

DRAWS_FOR_A_NEW_ONE = 100  # all known: the space is small, or nearly used up
WALKABLE = 100_000  # members of a space that is small enough to be walked through
Speed = Callable[[Architecture], float]  # the second of two losses, which needs no training


@dataclass(frozen=True)
class Candidate:
    """A trial as a strategy sees it: losses, lower is better; None while it runs and after it failed.

    `parent`: whether it is worth breeding from; one that is not still says something about the space. `failed` tells
    those that will never have losses from those that run. `from_table`: its losses are those of the table that the
    search starts from, so they bear nothing in it out. `told`: when its losses became known, in seconds.
    """

    architecture: Architecture
    losses: tuple[float, ...] | None = None
    parent: bool = True
    failed: bool = False
    from_table: bool = False
    told: float = 0.0


class Searchable(Hashable, Protocol):
    """The moves that strategies make; a SearchSpace has them, and so can a table of trained networks."""

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
    def describe(self, arch: Architecture) -> np.ndarray:
        """`arch` as numbers for a model, equally many for every design; it need not be a member."""
        ...


@runtime_checkable
class Parametric(Searchable, Protocol):
    """A space whose designs are values of named parameters, too."""

    @property
    def parameter_choices(self) -> Mapping[str, tuple[FieldValue, ...]]: ...
    def parameters(self, arch: Architecture) -> Mapping[str, FieldValue]: ...
    def from_parameters(
        self, values: Mapping[str, FieldValue], rng: np.random.Generator | None = None
    ) -> Architecture: ...


class Expected(NamedTuple):
    """(n,) accuracies that designs should reach after long training, and the standard deviations of that."""

    mean: np.ndarray
    std: np.ndarray


class Informed(NamedTuple):
    """What is expected of designs once trials have corrected a table.

    `trust`: how steeply accuracies rise with what the table says, as a share of what was expected before any trial;
    from 0 to 1.
    """

    expect: Callable[[Sequence[Architecture]], Expected]
    trust: float


class Knowledge(Hashable, Protocol):
    """What is known of designs before a search, by a table of trained ones."""

    @property
    def designs(self) -> tuple[Architecture, ...]:
        """Those of the table."""
        ...

    def before(self, designs: Sequence[Architecture]) -> Expected:
        """By the table alone."""
        ...

    def after(self, seen: Sequence[Architecture], accuracies: Sequence[float]) -> Informed:
        """By the table as far as trials agree with it: `seen` reached `accuracies` at the lowest rung."""
        ...


@dataclass(frozen=True)
class Context:
    """What is known when a strategy is asked: the space, the trials so far, the limits and the seed.

    `speed` is what the trials' second loss was worked out by, where designs can be compared by it before they are
    trained. What is turned away is counted in `rejections`.
    """

    space: Searchable
    candidates: tuple[Candidate, ...]
    rng: np.random.Generator
    limits: Limits = field(default_factory=Limits)
    speed: Speed | None = None
    rejections: RejectionCounter = field(default_factory=RejectionCounter)
    taken: tuple[Architecture, ...] = ()  # trained already as a probe of another design: never proposed
    known: Knowledge | None = None

    @cached_property
    def finished(self) -> tuple[Candidate, ...]:
        """The candidates that have losses, in the order in which these became known."""
        with_losses = (candidate for candidate in self.candidates if candidate.losses is not None)
        return tuple(sorted(with_losses, key=lambda candidate: candidate.told))


class Proposals:
    """The architectures proposed in one call; each is new to the search and meets the budgets."""

    def __init__(self, context: Context) -> None:
        """Without a predictor a budget on time, memory or energy cannot be judged here; whoever measures will."""
        given = context.limits
        budgets = on_cost(given.budgets) if given.predict is None else given.budgets
        self.context, self.limits = context, Limits(budgets, given.num_classes, given.predict)
        self.known = {candidate.architecture.id for candidate in context.candidates}
        self.known |= {arch.id for arch in context.taken}
        self.found: list[Architecture] = []

    def fill(self, n: int, propose: Callable[[], Architecture | None]) -> list[Architecture]:
        """Up to `n` architectures by `propose`, which may leave one to chance; fewer when the space has no more."""
        while len(self.found) < n:
            arch = propose()
            if arch is None:
                arch = self.draw_new()
            if arch is None:
                break
            self.known.add(arch.id)
            self.found.append(arch)
        return self.found

    def accepts(self, arch: Architecture) -> bool:
        """Whether `arch` is new and meets the budgets; what it fails is counted."""
        rejections = self.context.rejections
        if arch.id in self.known:
            rejections.reject("already tried")
            return False
        if not self.limits.budgets:
            return True
        metrics = self.limits.metrics(arch)
        failed = [budget for budget in self.limits.budgets if budget.violation(metrics) > 0]
        for budget in failed:
            rejections.reject(f"budget {budget}")
        return not failed

    def draw_new(self) -> Architecture | None:
        """A random new member within the budgets; None when there is none left, or none can be found."""
        context, limits = self.context, self.limits
        for _ in range(DRAWS_FOR_A_NEW_ONE):
            try:
                arch = context.space.sample(
                    context.rng, limits.budgets, limits.num_classes, context.rejections, limits.predict
                )
            except UserError:
                if not self.known:
                    raise  # nobody meets the budget: the user has to know
                return None
            if arch.id not in self.known:
                return arch
            context.rejections.reject("already tried")
        return self._walk_to_a_new_one()

    def _walk_to_a_new_one(self) -> Architecture | None:
        if self.context.space.size() > WALKABLE:
            return None
        left = [arch for arch in self.context.space if arch.id not in self.known]
        order = self.context.rng.permutation(len(left))
        return next((left[i] for i in order if self.limits.violation(left[i]) == 0), None)
