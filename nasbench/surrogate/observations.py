"""Noisy trainings by fidelity, and their means by design with the scatter of replicates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError, shown
from nasbench.study.fidelity import Fidelity


@dataclass(frozen=True)
class Means:
    """Distinct features x (n, d) with the mean y (n,) of `count` (n,) trainings each.

    `scatter`, `freedom`: sum of squared deviations of replicates from their means, and its degrees of freedom.
    """

    x: np.ndarray
    y: np.ndarray
    count: np.ndarray
    scatter: float = 0.0
    freedom: int = 0

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray) -> Means:
        """Rows of equal features are replicates of one design."""
        places: dict[bytes, int] = {}
        group = np.array([places.setdefault(row.tobytes(), len(places)) for row in x])
        count = np.bincount(group)
        mean = np.bincount(group, y) / count
        first = np.unique(group, return_index=True)[1]
        return cls(x[first], mean, count, float(((y - mean[group]) ** 2).sum()), len(y) - len(count))

    def __len__(self) -> int:
        return len(self.y)

    def minus(self, known: np.ndarray) -> Means:
        """With `known` (n,) subtracted from each mean."""
        return Means(self.x, self.y - known, self.count, self.scatter, self.freedom)

    def taken(self, chosen: np.ndarray) -> Means:
        """The designs `chosen`, with the scatter of all."""
        return Means(self.x[chosen], self.y[chosen], self.count[chosen], self.scatter, self.freedom)


@dataclass(frozen=True)
class Trainings:
    """Designs trained at one fidelity, in the order of their rows."""

    fidelity: Fidelity
    architectures: tuple[Architecture, ...]
    accuracies: np.ndarray

    def taken(self, chosen: np.ndarray) -> Trainings:
        """The rows where `chosen` (n,) is true."""
        kept = tuple(arch for arch, one in zip(self.architectures, chosen) if one)
        return Trainings(self.fidelity, kept, self.accuracies[chosen])


def training_of(fidelity: Fidelity) -> Fidelity:
    """The fidelity with a fixed number of scored images, which do not affect the training."""
    return fidelity.model_copy(update={"evaluate": 2})


def by_fidelity(
    architectures: Sequence[Architecture], fidelities: Sequence[Fidelity], accuracies: Sequence[float]
) -> list[Trainings]:
    """The rows by fidelity, the cheapest first. UserError for unequal lengths, or an accuracy outside [0, 1]."""
    counts = (len(architectures), len(fidelities), len(accuracies))
    if len(set(counts)) > 1:
        raise UserError(f"{counts[0]} architectures, {counts[1]} fidelities, {counts[2]} accuracies: one each a row")
    rows: dict[Fidelity, list[int]] = {}
    for index, (fidelity, accuracy) in enumerate(zip(fidelities, accuracies)):
        if not (math.isfinite(accuracy) and 0 <= accuracy <= 1):
            raise UserError(f"row {index}: accuracy {shown(accuracy)}: must be a share from 0 to 1; leave the row out")
        rows.setdefault(training_of(fidelity), []).append(index)
    ordered = sorted(rows.items(), key=lambda item: (item[0].samples, item[0].id))
    return [
        Trainings(fidelity, tuple(architectures[i] for i in chosen), np.array([accuracies[i] for i in chosen], float))
        for fidelity, chosen in ordered
    ]
