"""The input of a strategy (`Context`), and its output: new designs of the space within budgets (`Proposals`)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import Budget, on_cost
from nasbench.errors import UserError
from nasbench.space.file import FieldValue
from nasbench.space.limits import Limits, Predict, RejectionCounter

DRAWS_FOR_A_NEW_ONE = 100  # if all of them are known, the space is small or nearly exhausted
WALKABLE = 100_000  # members at most of a space that is enumerated then
Speed = Callable[[Architecture], float]  # the second of two losses, which needs no training


@dataclass(frozen=True)
class Candidate:
    """A trial as a strategy sees it: losses, lower is better; None while it runs and after it failed.

    `parent`: whether it may be a parent of new designs. `failed`: it will never have losses. `from_table`: its losses
    are from the table that the search starts from, so they are no evidence for it. `told`: when its losses became
    known, in seconds. `published`: whether it is a published network.
    """

    architecture: Architecture
    losses: tuple[float, ...] | None = None
    parent: bool = True
    failed: bool = False
    from_table: bool = False
    told: float = 0.0
    published: bool = False


class Searchable(Hashable, Protocol):
    """The operations of a space that strategies use: of a SearchSpace, or of a table of trained networks."""

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
    def neighbours(self, arch: Architecture) -> Iterator[Architecture]: ...
    def contains(self, arch: Architecture) -> bool: ...
    def size(self) -> int: ...
    def __iter__(self) -> Iterator[Architecture]: ...
    def describe(self, arch: Architecture) -> np.ndarray:
        """(d,) `arch` as a vector for a model; it need not be a member."""
        ...


@runtime_checkable
class Parametric(Searchable, Protocol):
    """A space whose designs are also given by values of named parameters."""

    @property
    def parameter_choices(self) -> Mapping[str, tuple[FieldValue, ...]]: ...
    def parameters(self, arch: Architecture) -> Mapping[str, FieldValue]: ...
    def from_parameters(
        self, values: Mapping[str, FieldValue], rng: np.random.Generator | None = None
    ) -> Architecture: ...


class Expected(NamedTuple):
    """(n,) accuracies that designs should reach, and the standard deviations of that."""

    mean: np.ndarray
    std: np.ndarray


Figure = TypeVar("Figure", float, np.ndarray)


def lead(mean: Figure, std: Figure, other_mean: float, other_std: float) -> Figure:
    """Expected difference of two accuracies in standard deviations of that difference."""
    return (mean - other_mean) / ((std**2 + other_std**2) ** 0.5 + 1e-9)


class Informed(NamedTuple):
    """A table's predictions, corrected by trials: accuracy at what a search goes by (`expect`), at the trials' own
    fidelity (`now`) and after long training (`late`; as `expect` where the table has too few of these). `trust`, from
    0 to 1: how far the trials agree with the table."""

    expect: Callable[[Sequence[Architecture]], Expected]
    now: Callable[[Sequence[Architecture]], Expected]
    late: Callable[[Sequence[Architecture]], Expected]
    trust: float


class Knowledge(Hashable, Protocol):
    """A table of trained designs as a source of predictions."""

    @property
    def designs(self) -> tuple[Architecture, ...]:
        """The designs of the table."""
        ...

    def before(self, designs: Sequence[Architecture]) -> Expected:
        """Predictions of the table alone."""
        ...

    def after(self, seen: Sequence[Architecture], accuracies: Sequence[float]) -> Informed:
        """Predictions corrected by trials: `seen` reached `accuracies` at the lowest rung."""
        ...


@dataclass(frozen=True)
class Context:
    """The input of a strategy: the space, the trials so far, the limits and a random generator.

    `speed` gives the second loss of any design, where that needs no training. Rejected designs are counted in
    `rejections`.
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
        """Without a predictor, budgets on time, memory or energy are not checked here."""
        given = context.limits
        budgets = on_cost(given.budgets) if given.predict is None else given.budgets
        self.context, self.limits = context, Limits(budgets, given.num_classes, given.predict)
        self.known = {candidate.architecture.id for candidate in context.candidates}
        self.known |= {arch.id for arch in context.taken}
        self.found: list[Architecture] = []

    def fill(self, n: int, propose: Callable[[], Architecture | None]) -> list[Architecture]:
        """Up to `n` architectures by `propose`, a random one where it gives None; fewer when the space has no more."""
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
        """Whether `arch` is new and meets the budgets; rejections are counted by rule."""
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
                    raise  # no member meets the budgets
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
