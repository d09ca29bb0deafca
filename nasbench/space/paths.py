"""Walks through a space's stages: which steps can be completed, and how many distinct networks there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from nasbench.space.boxes import Box, Step
from nasbench.space.slots import Slot


class State(NamedTuple):
    """What the stages so far leave behind."""

    channels: int
    stride: int
    first: bool  # no stage is present yet
    tokens: int = 0  # a row of tokens has no map for another stage

    def after(self, step: Step) -> State:
        return State(step.channels, self.stride * step.stride, False, step.tokens)


class Paths:
    """The stages of a space as a graph over (slot, State); all answers are exact and kept.

    `endings(state)` is the number of ways to end a network with resolution and head, 0 where it may not end. With a
    `resolution`, settings that build the same stage on its maps alone count once, too.
    """

    def __init__(self, slots: tuple[Slot, ...], endings: Callable[[State], int], resolution: int | None = None) -> None:
        self.slots, self.endings, self.resolution = slots, endings, resolution
        self._weights: dict[tuple[int, State], float] = {}
        self._steps: dict[tuple[int, State], dict[Step, float]] = {}
        self._counts: dict[tuple[frozenset[int], State], int] = {}

    def weight(self, index: int, state: State) -> float:
        """The ways to choose channels and strides of slot `index` and those after it, each over its channels' product.

        Drawn by these weights, an octave of widths is as likely as the next, however many choices lie in it; and early
        stages don't use up the range. 0 where there is no way.
        """
        if index == len(self.slots):
            return float(not state.first and self.endings(state) > 0)
        key = (index, state)
        if key not in self._weights:
            absent = self.weight(index + 1, state) if self.slots[index].optional else 0
            self._weights[key] = absent + sum(self.steps(index, state).values())
        return self._weights[key]

    def steps(self, index: int, state: State) -> dict[Step, float]:
        """The steps that slot `index` can take from `state` -> their weights; dead ends are left out."""
        key = (index, state)
        if key not in self._steps:
            steps: dict[Step, float] = {}
            for step in self.slots[index].steps if not state.tokens else ():
                weight = self.weight(index + 1, state.after(step))
                if weight and self.boxes(index, state, step):
                    steps[step] = weight / step.channels
            self._steps[key] = steps
        return self._steps[key]

    def boxes(self, index: int, state: State, step: Step) -> tuple[Box, ...]:
        """What slot `index` offers when it takes this step from `state`."""
        side = self.resolution and self.resolution // (state.stride * step.stride)
        return self.slots[index].boxes(state.channels, state.first, step, side)

    def count(self, state: State) -> int:
        """How many different networks start from the stem that leaves `state`.

        With optional stages one network may stand in several alignments with the slots. So this walks over sets of
        slots that may come next, as one does to make an automaton deterministic.
        """
        return self._count(frozenset({0}), state)

    def _count(self, positions: frozenset[int], state: State) -> int:
        key = (positions, state)
        if key not in self._counts:
            reached = self._skipping(positions)
            slots = sorted(index for index in reached if index < len(self.slots))
            ends = self.endings(state) if len(self.slots) in reached and not state.first else 0
            self._counts[key] = ends + sum(
                number * self._count(after, state.after(step))
                for step in self._any_steps(slots, state)
                for after, number in self._stages(slots, state, step)
            )
        return self._counts[key]

    def _skipping(self, positions: Iterable[int]) -> set[int]:
        """The positions and those behind optional slots."""
        reached: set[int] = set()
        for index in positions:
            reached.add(index)
            while index < len(self.slots) and self.slots[index].optional:
                index += 1
                reached.add(index)
        return reached

    def _any_steps(self, slots: list[int], state: State) -> list[Step]:
        return list(dict.fromkeys(step for index in slots for step in self.steps(index, state)))

    def _stages(self, slots: list[int], state: State, step: Step) -> list[tuple[frozenset[int], int]]:
        """For each set of slots: how many stages of this step exactly those slots offer, with the positions after."""
        able = [index for index in slots if step in self.steps(index, state)]
        boxes = {index: self.boxes(index, state, step) for index in able}
        common = {
            members: _common_size([boxes[index] for index in members])
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


def _common_size(slots: list[tuple[Box, ...]]) -> int:
    """How many stages all of these slots offer."""
    if len(slots) == 1:
        return sum(box.size for box in slots[0])
    return sum(_overlap(boxes) for boxes in itertools.product(*slots))


def _overlap(boxes: tuple[Box, ...]) -> int:
    first = boxes[0]
    if any(box.label != first.label for box in boxes):
        return 0
    depths = set(first.depths).intersection(*(box.depths for box in boxes))
    if not depths:
        return 0
    shared = (
        set(group.options).intersection(*(box.groups[i].options for box in boxes))
        for i, group in enumerate(first.groups)
    )
    return len(depths) * math.prod(map(len, shared))
