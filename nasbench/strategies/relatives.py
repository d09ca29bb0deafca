"""Selection of parents, making of children, and the round robin over latency bands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.pareto import best_first
from nasbench.strategies.context import Candidate, Proposals, Searchable

CROSSED = 0.5  # share of the children that have two parents
MOST_CHANGES = 6  # fields changed in a child
BANDS = 2  # per factor of two in latency
CHILDREN_TRIED = 60  # for one proposal, at most


def best_members(space: Searchable, finished: Sequence[Candidate], count: int) -> list[Architecture]:
    """The best `count` of `finished` inside the space, best first: by Pareto rank, then the least crowded."""
    if not finished:
        return []
    ordered = (finished[i].architecture for i in best_first([one.losses for one in finished if one.losses is not None]))
    best: list[Architecture] = []
    for arch in ordered:
        if len(best) < count and space.contains(arch):
            best.append(arch)
    return best


def first_accepted(proposals: Proposals, make: Callable[[], Architecture]) -> Architecture | None:
    """The first new design within the budgets of `CHILDREN_TRIED` calls of `make`; None where there is none."""
    return next((child for child in (make() for _ in range(CHILDREN_TRIED)) if proposals.accepts(child)), None)


def geometric_changes(rng: np.random.Generator) -> int:
    """How many fields a mutation changes: n with probability 2**-n."""
    return int(rng.geometric(0.5))


def child_of(
    parents: Sequence[Architecture], space: Searchable, rng: np.random.Generator, most_changes: int = MOST_CHANGES
) -> Architecture:
    """A child of one or two of the parents with a few fields changed."""
    arch = parents[int(rng.integers(len(parents)))]
    if rng.random() < CROSSED:
        arch = space.crossover(arch, parents[int(rng.integers(len(parents)))], rng)
    return space.mutate(arch, rng, int(rng.integers(1, most_changes + 1)))


def bands_of(speeds: Iterable[float]) -> np.ndarray:
    """(n,) the band of each latency or other cost; `BANDS` per factor of two."""
    return np.floor(BANDS * np.log2(np.maximum(np.fromiter(speeds, float), 1e-9))).astype(int)


def in_turn(bands: np.ndarray, scores: np.ndarray) -> list[int]:
    """Indices: the best of each band, then the second best of each, and so on."""
    queues: dict[int, list[int]] = defaultdict(list)
    for index in np.argsort(-scores, kind="stable"):
        queues[int(bands[index])].append(int(index))
    places = {index: (place, band) for band, queue in queues.items() for place, index in enumerate(queue)}
    return sorted(places, key=places.__getitem__)
