"""The stages of a space as a graph: which steps can be completed to a network, and how many networks there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from nasbench.space.stage_sets import StageSet, Step
from nasbench.space.stage_table import StageTable


class State(NamedTuple):
    """What later stages depend on after the stages so far."""

    channels: int
    stride: int
    first: bool  # no stage is present yet
    tokens: int = 0  # a row of tokens has no map for another stage

    def after(self, step: Step) -> State:
        return State(step.channels, self.stride * step.stride, False, step.tokens)


class StageGraph:
    """A graph over (index of a table, State) whose paths are the space's networks. Results are exact and cached.

    endings: for a state after the last stage, the number of possible resolutions times heads. resolution: where given,
    settings that build the same stage at this resolution only count once too.
    """

    def __init__(
        self, tables: tuple[StageTable, ...], endings: Callable[[State], int], resolution: int | None = None
    ) -> None:
        self.tables, self.endings, self.resolution = tables, endings, resolution
        self._weights: dict[tuple[int, State], float] = {}
        self._steps: dict[tuple[int, State], dict[Step, float]] = {}
        self._counts: dict[tuple[frozenset[int], State], int] = {}

    def weight(self, index: int, state: State) -> float:
        """Sum over all ways to choose steps for table `index` and those after it of 1 / (product of their channels).

        Drawn by these weights, each octave of widths is equally likely however many choices lie in it, and early stages
        are not drawn so wide that later ones have no choice left. 0 where the network cannot be completed.
        """
        if index == len(self.tables):
            return float(not state.first and self.endings(state) > 0)
        key = (index, state)
        if key not in self._weights:
            absent = self.weight(index + 1, state) if self.tables[index].optional else 0
            self._weights[key] = absent + sum(self.steps(index, state).values())
        return self._weights[key]

    def steps(self, index: int, state: State) -> dict[Step, float]:
        """{step: weight} of the steps of table `index` from `state` that can be completed to a network."""
        key = (index, state)
        if key not in self._steps:
            steps: dict[Step, float] = {}
            for step in self.tables[index].steps if not state.tokens else ():
                weight = self.weight(index + 1, state.after(step))
                if weight and self.tables[index].offers(state.channels, state.first, step):
                    steps[step] = weight / step.channels
            self._steps[key] = steps
        return self._steps[key]

    def stage_sets(self, index: int, state: State, step: Step) -> tuple[StageSet, ...]:
        """The stages of table `index` that take this step from `state`."""
        side = self.resolution and self.resolution // (state.stride * step.stride)
        return self.tables[index].stage_sets(state.channels, state.first, step, side)

    def count(self, state: State) -> int:
        """The number of different networks after a stem with this `state`.

        With optional stages one network may be aligned with the tables in several ways. So this walks over the sets of
        tables that may come next, as in the subset construction for finite automata.
        """
        return self._count(frozenset({0}), state)

    def _count(self, positions: frozenset[int], state: State) -> int:
        """The number of different ways to complete a network where any of the tables `positions` may come next."""
        key = (positions, state)
        if key not in self._counts:
            reached = self._skipping(positions)
            tables = sorted(index for index in reached if index < len(self.tables))
            ends = self.endings(state) if len(self.tables) in reached and not state.first else 0
            self._counts[key] = ends + sum(
                number * self._count(after, state.after(step))
                for step in self._any_steps(tables, state)
                for after, number in self._stages(tables, state, step)
            )
        return self._counts[key]

    def _skipping(self, positions: Iterable[int]) -> set[int]:
        """The positions, and those reached from them by leaving optional tables empty."""
        reached: set[int] = set()
        for index in positions:
            reached.add(index)
            while index < len(self.tables) and self.tables[index].optional:
                index += 1
                reached.add(index)
        return reached

    def _any_steps(self, tables: list[int], state: State) -> list[Step]:
        return list(dict.fromkeys(step for index in tables for step in self.steps(index, state)))

    def _stages(self, tables: list[int], state: State, step: Step) -> list[tuple[frozenset[int], int]]:
        """(positions after, number of stages) by the exact set of tables that offer these stages of this step.

        By inclusion and exclusion over the numbers of stages that sets of tables have in common.
        """
        able = [index for index in tables if step in self.steps(index, state)]
        sets = {index: self.stage_sets(index, state, step) for index in able}
        common = {
            members: _common_size([sets[index] for index in members])
            for size in range(1, len(able) + 1)
            for members in itertools.combinations(able, size)
        }
        found = []
        for members, _ in sorted(common.items()):
            signed = (
                (-1) ** (len(others) - len(members)) * number
                for others, number in common.items()
                if set(members) <= set(others)
            )
            exactly = sum(signed)
            if exactly:
                found.append((frozenset(index + 1 for index in members), exactly))
        return found


def _common_size(offers: list[tuple[StageSet, ...]]) -> int:
    """The number of different stages that every one of these tables offers."""
    if len(offers) == 1:
        return sum(stages.size for stages in offers[0])
    return sum(_overlap(sets) for sets in itertools.product(*offers))


def _overlap(sets: tuple[StageSet, ...]) -> int:
    """The number of different stages in the intersection of these sets."""
    first = sets[0]
    if any(stages.kind != first.kind for stages in sets):
        return 0
    depths = set(first.depths).intersection(*(stages.depths for stages in sets))
    if not depths:
        return 0
    shared = (
        set(group.rows).intersection(*(stages.groups[i].rows for stages in sets))
        for i, group in enumerate(first.groups)
    )
    return len(depths) * math.prod(map(len, shared))
