"""A problem that strategies are compared on: designs with losses from a table or a surrogate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from nasbench.pareto import hypervolume
from nasbench.strategies.context import Searchable, Speed

LARGEST = 1e30  # loss that counts as a number


class Design(Protocol):
    """An architecture, or a row of a table."""

    @property
    def id(self) -> str: ...


@dataclass(frozen=True)
class Scale:
    """The scale of curves: the `best` loss for regret, the `reference` point and the `whole` hypervolume for shares.

    NaN where the best is unknown; then that of all compared runs is taken.
    """

    best: float
    reference: tuple[float, ...]
    whole: float


@dataclass(frozen=True)
class Problem:
    """A space with losses, lower is better. `id`: a hash of the table; `objectives`: names, maximised with a minus.

    `observe(design, rng)` gives the losses of one training; `truth(designs)` (n, k) the means over trainings. `speed`
    is the second loss where it needs no training.
    """

    name: str
    id: str
    space: Searchable
    objectives: tuple[str, ...]
    observe: Callable[[Design, np.random.Generator], tuple[float, ...]]
    truth: Callable[[Sequence[Design]], np.ndarray]
    scale: Scale
    speed: Speed | None = None
    facts: tuple[str, ...] = field(default=(), compare=False)

    def seen(self, design: Design, seed: int, noisy: bool) -> tuple[float, ...]:
        """The losses that a strategy sees: the truth, or those of one training, the same for equal seeds."""
        if not noisy:
            return tuple(float(loss) for loss in self.truth([design])[0])
        own = int.from_bytes(hashlib.sha256(design.id.encode()).digest()[:8], "big")
        return self.observe(design, np.random.default_rng((seed, own)))


@dataclass(frozen=True, eq=False)
class Trainings:
    """The losses of a table: `losses` (trainings, k), those of row i from `first[i]` to `first[i + 1]`."""

    losses: np.ndarray
    first: np.ndarray

    def observe(self, design: Design, rng: np.random.Generator) -> tuple[float, ...]:
        place = _place(design)
        start, end = int(self.first[place]), int(self.first[place + 1])
        return tuple(float(loss) for loss in self.losses[start + int(rng.integers(end - start))])

    def truth(self, designs: Sequence[Design]) -> np.ndarray:
        return np.asarray(self.means[[_place(design) for design in designs]])

    @cached_property
    def means(self) -> np.ndarray:
        """(rows, k)."""
        return np.asarray(np.add.reduceat(self.losses, self.first[:-1], axis=0) / np.diff(self.first)[:, None])


def _place(design: Design) -> int:
    place = getattr(design, "place", None)
    assert isinstance(place, int)  # only rows of a table have trainings
    return place


def scale_of(losses: np.ndarray) -> Scale:
    """From the true losses (n, k) of all designs."""
    reference = losses.max(0)
    whole = hypervolume(losses, reference) if losses.shape[1] > 1 else float("nan")
    return Scale(float(losses[:, 0].min()), tuple(float(worst) for worst in reference), whole)
