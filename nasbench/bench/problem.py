"""A problem that strategies are compared on: designs with their losses, worked out or looked up, never trained here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from nasbench.pareto import hypervolume
from nasbench.strategies.context import Searchable, Speed

LARGEST = 1e30  # loss that is taken for a number


class Design(Protocol):
    """What strategies pass around: an architecture, or a row of a table."""

    @property
    def id(self) -> str: ...


@dataclass(frozen=True)
class Scale:
    """What a curve is told by: regret counts from `best`, a volume is taken below `reference` as a share of `whole`.

    NaN where nobody knows the best; then it is the best of all the runs that are compared.
    """

    best: float
    reference: tuple[float, ...]
    whole: float


@dataclass(frozen=True)
class Problem:
    """A space with losses, lower is better. `id` tells tables apart; `objectives` are names, a minus: maximised.

    `observe(design, rng)` is one training's losses; `truth(designs)` (n, k) what trainings scatter about. `speed` is
    the second loss where it needs no training.
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
        """What a strategy is told: the truth, or one training, the same for every strategy of equal seed."""
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
    assert isinstance(place, int)  # rows of a table reach here, and nothing else
    return place


def scale_of(losses: np.ndarray) -> Scale:
    """Of all designs' true losses (n, k)."""
    reference = losses.max(0)
    whole = hypervolume(losses, reference) if losses.shape[1] > 1 else float("nan")
    return Scale(float(losses[:, 0].min()), tuple(float(worst) for worst in reference), whole)
