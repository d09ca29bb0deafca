"""Pareto fronts: dominance, ranks, crowding and hypervolume over losses.

Losses have a row for each design and a column for each objective; lower is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

Losses = Sequence[Sequence[float]] | np.ndarray


def _dominates(losses: np.ndarray) -> np.ndarray:
    """(n, n) booleans: row i is nowhere worse than row j and somewhere better."""
    no_worse = np.ones((len(losses),) * 2, bool)
    better = np.zeros_like(no_worse)
    for column in losses.T:  # one objective at a time keeps the memory at n * n
        no_worse &= column[:, None] <= column[None]
        better |= column[:, None] < column[None]
    return no_worse & better


def _checked(losses: Losses) -> np.ndarray:
    losses = np.asarray(losses, float)
    if losses.ndim != 2:
        raise ValueError(f"losses must have shape (designs, objectives), not {losses.shape}")
    if np.isnan(losses).any():
        raise ValueError("losses hold a NaN; leave failed trials out")
    return losses


def is_dominated(losses: Losses) -> np.ndarray:
    """Which rows of `losses` (n, k) some other row beats -> (n,) booleans.

    Row j beats row i when it is nowhere worse and somewhere better; equal rows don't beat one another.
    """
    return np.asarray(_dominates(_checked(losses)).any(0))


def pareto_ranks(losses: Losses) -> np.ndarray:
    """Non-dominated sorting -> (n,) integers: 0 for the front, 1 for the front of the rest, and so on."""
    dominates = _dominates(_checked(losses))
    beaten_by = dominates.sum(0)
    ranks = np.full(len(beaten_by), -1)
    rank = 0
    while (ranks < 0).any():
        front = (beaten_by == 0) & (ranks < 0)
        ranks[front] = rank
        beaten_by = beaten_by - dominates[front].sum(0)
        rank += 1
    return ranks


def crowding_distance(losses: Losses) -> np.ndarray:
    """NSGA-II's crowding distance (Deb 2002, section III-B) of one front's rows -> (n,), inf at the extremes.

    Of equal rows the first stands for all and the others get 0, so that a duplicate is never preferred.
    """
    losses = _checked(losses)
    unique, first = np.unique(losses, axis=0, return_index=True)
    distance = np.zeros(len(losses))
    if not len(unique):
        return distance
    spread = np.zeros(len(unique))
    for column in unique.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        spread[order[[0, -1]]] = np.inf
        if span > 0:
            spread[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    distance[first] = spread
    return distance


def best_first(losses: Losses) -> np.ndarray:
    """Indices of the rows of `losses` (n, k), best first: by Pareto rank, within a rank the least crowded."""
    losses = _checked(losses)
    if losses.shape[1] == 1:  # every rank is one value, of which the first row comes first
        return np.argsort(losses[:, 0], kind="stable")
    ranks = pareto_ranks(losses)
    crowding = np.empty(len(losses))
    for rank in np.unique(ranks):
        crowding[ranks == rank] = crowding_distance(losses[ranks == rank])
    return np.lexsort((-crowding, ranks))


def hypervolume(losses: Losses, reference: Sequence[float] | np.ndarray) -> float:
    """Volume that the rows of `losses` (n, k) dominate below `reference` (k,), exactly.

    Rows that don't beat the reference in every objective add nothing. Two objectives cost n log n; each further
    one multiplies by n (slices along the last objective), which is meant for fronts of hundreds of rows.
    """
    losses, reference = _checked(losses), np.asarray(reference, float)
    if reference.shape != losses.shape[1:]:
        raise ValueError(f"the reference needs {losses.shape[1]} objectives, not shape {reference.shape}")
    if not np.isfinite(reference).all():
        raise ValueError(f"the reference point must be finite, not {reference.tolist()}")
    return _volume(losses[(losses < reference).all(1)], reference)


def _volume(losses: np.ndarray, reference: np.ndarray) -> float:
    if not len(losses):
        return 0.0
    if losses.shape[1] == 1:
        return float(reference[0] - losses.min())
    if losses.shape[1] == 2:
        first, second = losses[np.lexsort((losses[:, 1], losses[:, 0]))].T
        lowest = np.minimum.accumulate(np.concatenate([reference[1:], second]))
        return float(((reference[0] - first) * -np.diff(lowest)).sum())
    losses = losses[np.argsort(losses[:, -1], kind="stable")]
    heights = np.diff(np.append(losses[:, -1], reference[-1]))
    slices = (_volume(losses[: i + 1, :-1], reference[:-1]) * h for i, h in enumerate(heights) if h > 0)
    return float(sum(slices))


@dataclass(frozen=True)
class Front(Sequence[int]):
    """The non-dominated rows of a set of losses, and the reference point their hypervolume is taken against.

    `indices` point into the losses the front was taken from, in order of the first objective, and are the items of this
    sequence; `losses` are those rows; rows with equal losses are all on the front.
    """

    indices: tuple[int, ...]
    losses: tuple[tuple[float, ...], ...]
    reference: tuple[float, ...]

    @classmethod
    def of(cls, losses: Losses, reference: Sequence[float] | None = None) -> Front:
        """The front of `losses` (n, k); without a reference, each objective's worst value plus a tenth of its span.

        Give a reference wherever two fronts are compared: volumes against different points say nothing.
        """
        losses = _checked(losses)
        if reference is None:
            if not len(losses):
                raise ValueError("a front of no designs needs a reference point")
            worst, span = losses.max(0), np.ptp(losses, axis=0)
            reference = worst + 0.1 * np.where(span > 0, span, np.maximum(np.abs(worst), 1e-9))
        kept = np.flatnonzero(~is_dominated(losses))
        kept = kept[np.lexsort(losses[kept].T[::-1])]
        rows = tuple(tuple(float(x) for x in row) for row in losses[kept])
        return cls(tuple(int(i) for i in kept), rows, tuple(float(x) for x in reference))

    @property
    def hypervolume(self) -> float:
        if not self.losses:
            return 0.0
        return hypervolume(self.losses, self.reference)

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[int, ...]: ...
    def __getitem__(self, at: int | slice) -> int | tuple[int, ...]:
        return self.indices[at]
