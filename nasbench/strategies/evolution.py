"""Steady-state multi-objective evolution: parents by Pareto rank and crowding, one child at a time, none twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import Budget
from nasbench.pareto import best_first
from nasbench.space.limits import Limits, Predict, RejectionCounter
from nasbench.strategies.candidate import Candidate, Desk, Space
from nasbench.strategies.surrogate import MIN_TRIALS, guessed_errors, most_promising

CHILDREN_TRIED = 60  # per proposal, before a random draw takes its place


def propose(
    space: Space,
    trials: Sequence[Candidate],
    rng: np.random.Generator | int,
    n: int,
    *,
    budgets: Sequence[Budget] = (),
    num_classes: int = 1000,
    predict: Predict | None = None,
    counter: RejectionCounter | None = None,
    initial: int = 6,
    population: int = 20,
    tournament: int = 3,
    crossover: float = 0.8,
    explore: float = 0.1,
    speed: Callable[[Architecture], float] | None = None,
    children: int = 24,
    climb: float = 0.5,
) -> list[Architecture]:
    """Up to `n` new architectures within the budgets; fewer when the space has no more.

    The first `initial` trials and a share `explore` of the later ones are random. The others are children of two (with
    probability `crossover`) or one of the best `population` trials, each the best of `tournament` drawn from them.
    Given `speed`, the second of two losses, which needs no training, several children are made and that one proposed
    which a surrogate of the first expects to add most to the front; or, for a share `climb`, small changes of the most
    accurate parent that are no slower than it, of which the most accurate by the surrogate is proposed.
    """
    desk = Desk.of(space, trials, rng, Limits(tuple(budgets), num_classes, predict), counter)
    done = [trial for trial in trials if trial.losses is not None]
    parents = _best(space, [trial for trial in done if trial.parent], population)
    found: list[Architecture] = []
    while len(found) < n:
        enough = len(trials) + len(found) >= initial and len(parents) >= 2
        arch = None
        if enough and desk.rng.random() >= explore:
            if speed is None or len(done) < MIN_TRIALS:
                arch = _child(desk, parents, tournament, crossover)
            elif desk.rng.random() < climb:
                arch = _climber(desk, _most_accurate(done, parents), done, speed, children)
            else:
                litter = _litter(desk, parents, tournament, crossover, children)
                arch = most_promising(litter, done, speed) if litter else None
        if arch is None:
            arch = desk.draw_new()
        if arch is None:
            break
        found.append(desk.take(arch))
    return found


def _best(space: Space, done: Sequence[Candidate], count: int) -> list[Architecture]:
    """The best `count` finished trials inside the space, best first: by Pareto rank, then the most lonely."""
    if not done:
        return []
    ordered = (done[i].architecture for i in best_first([trial.losses for trial in done]))
    best: list[Architecture] = []
    for arch in ordered:
        if len(best) < count and space.contains(arch):
            best.append(arch)
    return best


def _child(desk: Desk, parents: list[Architecture], tournament: int, crossover: float) -> Architecture | None:
    """A new child within the budgets; None where every one that was tried is known or too expensive."""
    rng = desk.rng
    for _ in range(CHILDREN_TRIED):
        child = _winner(rng, parents, tournament)
        changes = int(rng.geometric(0.5))  # mostly one field, at times several: a local step that can also leap
        if rng.random() < crossover:
            child = desk.space.crossover(child, _winner(rng, parents, tournament), rng)
        child = desk.space.mutate(child, rng, changes)
        if desk.accepts(child):
            return child
    return None


def _litter(
    desk: Desk, parents: list[Architecture], tournament: int, crossover: float, count: int
) -> list[Architecture]:
    litter = (_child(desk, parents, tournament, crossover) for _ in range(count))
    return [child for child in litter if child is not None]


def _most_accurate(done: Sequence[Candidate], parents: Sequence[Architecture]) -> Candidate:
    ids = {arch.id for arch in parents}
    return min((trial for trial in done if trial.architecture.id in ids), key=lambda trial: trial.losses or ())


def _climber(
    desk: Desk, best: Candidate, done: Sequence[Candidate], speed: Callable[[Architecture], float], count: int
) -> Architecture | None:
    """A small change of `best` that is no slower and looks most accurate; None where none was found."""
    found: dict[str, Architecture] = {}
    for _ in range(CHILDREN_TRIED):
        child = desk.space.mutate(best.architecture, desk.rng, int(desk.rng.geometric(0.5)))
        if len(found) < count and desk.accepts(child) and speed(child) <= speed(best.architecture):
            found[child.id] = child
    designs = list(found.values())
    return designs[int(np.argmin(guessed_errors(designs, done)))] if designs else None


def _winner(rng: np.random.Generator, parents: list[Architecture], tournament: int) -> Architecture:
    """`parents` are in order: the winner is the first of those drawn."""
    return parents[int(rng.integers(len(parents), size=tournament).min())]
