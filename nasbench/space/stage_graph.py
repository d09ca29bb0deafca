"""The stages of a space as a graph: which steps lead on to a whole network, and how many networks there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from nasbench.space.stage_sets import StageSet, Step
from nasbench.space.stage_table import StageTable


class State(NamedTuple):
    """What the stages so far leave behind."""

    channels: int
    stride: int
    first: bool  # no stage is present yet
    tokens: int = 0  # a row of tokens has no map for another stage

    def after(self, step: Step) -> State:
        return State(step.channels, self.stride * step.stride, False, step.tokens)


class StageGraph:
    """A graph over (table of stages, State), whose paths are the space's networks; all answers are exact and kept.

    `endings(state)` is the number of ways to end a network with resolution and head, 0 where it may not end. With a
    `resolution`, settings that build the same stage on its maps alone count once, too.
    """

    def __init__(
        self, tables: tuple[StageTable, ...], endings: Callable[[State], int], resolution: int | None = None
    ) -> None:
        self.tables, self.endings, self.resolution = tables, endings, resolution
        self._weights: dict[tuple[int, State], float] = {}
        self._steps: dict[tuple[int, State], dict[Step, float]] = {}
        self._counts: dict[tuple[frozenset[int], State], int] = {}

    def weight(self, index: int, state: State) -> float:
        """The ways to choose channels and strides of table `index` and those after it, each over its channels' product.

        Drawn by these weights, an octave of widths is as likely as the next, however many choices lie in it; and early
        stages don't use up the range. 0 where there is no way.
        """
        if index == len(self.tables):
            return float(not state.first and self.endings(state) > 0)
        key = (index, state)
        if key not in self._weights:
            absent = self.weight(index + 1, state) if self.tables[index].optional else 0
            self._weights[key] = absent + sum(self.steps(index, state).values())
        return self._weights[key]

    def steps(self, index: int, state: State) -> dict[Step, float]:
        """The steps that table `index` can take from `state` -> their weights; dead ends are left out."""
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
        """What table `index` offers when it takes this step from `state`."""
        side = self.resolution and self.resolution // (state.stride * step.stride)
        return self.tables[index].stage_sets(state.channels, state.first, step, side)

    def count(self, state: State) -> int:
        """How many different networks start from the stem that leaves `state`.

        With optional stages one network may stand in several alignments with the tables. So this walks over sets of
        tables that may come next, as one does to make an automaton deterministic.
        """
        return self._count(frozenset({0}), state)

    def _count(self, positions: frozenset[int], state: State) -> int:
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
        """The positions and those behind optional tables."""
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
        """For each set of tables: how many stages of this step exactly those offer, with the positions after."""
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
    """How many stages all of these tables offer."""
    if len(offers) == 1:
        return sum(stages.size for stages in offers[0])
    return sum(_overlap(sets) for sets in itertools.product(*offers))


def _overlap(sets: tuple[StageSet, ...]) -> int:
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
