"""Chooses the values of a genotype one by one so that it lies in its space, without rejecting any draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, TypeVar

import numpy as np

from nasbench.space.file import FieldValue, PartValues, is_number
from nasbench.space.genotype import ABSENT, Genotype
from nasbench.space.stage_graph import State
from nasbench.space.stage_sets import GroupOptions, Row, StageSet, Step
from nasbench.space.stage_table import StageTable
from nasbench.space.structure import Structure

T = TypeVar("T")


class Pick(Protocol):
    """Chooses one of several options, in proportion to `weights` where these are given."""

    def __call__(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T: ...


class DeadEnd(Exception):
    """A forced value is impossible after what was chosen before it."""


def first_of(options: Sequence[T], weights: Sequence[float] | None = None) -> T:
    """Picks the first option in the file's order."""
    return options[0]


def random_pick(rng: np.random.Generator) -> Pick:
    """Picks uniformly, or in proportion to the weights."""

    def pick(options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        if len(options) == 1:
            return options[0]
        if weights is None:
            return options[int(rng.random() * len(options))]
        bounds = np.cumsum(np.asarray(weights, float))
        return options[int(np.searchsorted(bounds, rng.random() * bounds[-1], side="right"))]

    return pick


@dataclass
class Composer:
    """Chooses the stem, the stages, the head and the resolution, in this order.

    forced: values that part `part` must have. wishes: preferred values of each part; where one is impossible, the
    nearest number is taken, or what `pick` chooses. pick also chooses what has no wish.
    """

    structure: Structure
    pick: Pick
    wishes: Sequence[Mapping[str, FieldValue]] = ()
    part: int = -1
    forced: Mapping[str, FieldValue] = field(default_factory=dict)

    def compose(self) -> Genotype | None:
        """A genotype; None where the forced values are impossible."""
        try:
            return self._compose()
        except DeadEnd:
            return None

    def _compose(self) -> Genotype:
        space = self.structure
        stem = self._from_rows(1, space.open_stems)
        state, stages = space.start(stem), []
        for index in range(len(space.tables)):
            values, state = self._stage(index, state)
            stages.append(values)
        head = self._from_rows(len(stages) + 2, space.heads(state.channels, state.tokens))
        tops = [space.top(resolution) for resolution in space.resolutions_for(state.stride)]
        return (self._from_rows(0, tops), stem, *stages, head)

    def _forced_at(self, part: int) -> Mapping[str, FieldValue]:
        return self.forced if part == self.part else {}

    def _wish_at(self, part: int) -> Mapping[str, FieldValue]:
        return self.wishes[part] if self.wishes else {}

    def _from_rows(self, part: int, rows: list[PartValues]) -> PartValues:
        """One of `rows`, chosen field by field."""
        forced, wish = self._forced_at(part), self._wish_at(part)
        rows = [row for row in rows if all(row.get(name) == value for name, value in forced.items())]
        for name in dict.fromkeys(name for row in rows for name in row):
            options = list(dict.fromkeys(row.get(name) for row in rows))
            chosen = self._choose(name, options, wish)
            rows = [row for row in rows if row.get(name) == chosen]
        if not rows:
            raise DeadEnd
        return rows[0]

    def _choose(
        self, name: str, options: Sequence[T], wish: Mapping[str, FieldValue], weights: Sequence[float] | None = None
    ) -> T:
        """The wished value, else the nearest number, else a pick."""
        if len(options) == 1:
            return options[0]
        if name not in wish:
            return self.pick(options, weights)
        wanted = wish[name]
        for option in options:
            if option == wanted:
                return option
        if is_number(wanted) and all(map(is_number, options)):
            return min(options, key=lambda option: _distance(option, wanted))
        return self.pick(options, weights)

    def _stage(self, index: int, state: State) -> tuple[PartValues, State]:
        """The values of the stage of table `index`, or ABSENT, and the state after it."""
        table, part = self.structure.tables[index], index + 2
        forced, wish = self._forced_at(part), self._wish_at(part)
        steps = self._open_steps(index, state, forced)
        can_skip = self.structure.graph.weight(index + 1, state) > 0
        may_skip = table.optional and can_skip and forced.get("depth", 0) == 0 and set(forced) <= {"depth"}
        if may_skip and (forced or not steps or self._skips(table, wish)):
            return ABSENT, state
        if not steps:
            raise DeadEnd
        step = self._step(steps, wish)
        offered = table.stage_sets(state.channels, state.first, step)
        sets = [stages for stages in offered if not forced or stages.offers(forced)]
        return self._stage_values(sets, forced, wish), state.after(step)

    def _skips(self, table: StageTable, wish: Mapping[str, FieldValue]) -> bool:
        """Whether to leave out an optional stage: as wished, else as likely as each of its depths."""
        if "depth" in wish:
            return wish["depth"] == 0
        return self.pick((True, False), (1, len(table.depths)))

    def _open_steps(self, index: int, state: State, forced: Mapping[str, FieldValue]) -> dict[Step, float]:
        """{step: weight} of the steps that can still be completed and that a stage with the forced values can take."""
        if not forced:
            return self.structure.graph.steps(index, state)
        return _steps_with(self.structure, index, state, tuple(forced.items()))

    def _step(self, steps: Mapping[Step, float], wish: Mapping[str, FieldValue]) -> Step:
        """One of the steps: channels in proportion to their weights (`StageGraph.steps`), then stride and tokens."""
        totals: dict[int, float] = {}
        for step, weight in steps.items():
            totals[step.channels] = totals.get(step.channels, 0.0) + weight
        channels = self._choose("channels", list(totals), wish, list(totals.values()))
        left = [step for step in steps if step.channels == channels]
        stride = self._choose("stride", list(dict.fromkeys(step.stride for step in left)), wish)
        tokens = [step.tokens for step in left if step.stride == stride]
        wanted = {"tokens": wish.get("tokens", 0)} if wish else wish  # blocks without tokens have 0
        return Step(channels, stride, self._choose("tokens", tokens, wanted))

    def _stage_values(
        self, sets: list[StageSet], forced: Mapping[str, FieldValue], wish: Mapping[str, FieldValue]
    ) -> PartValues:
        """The values of a stage of one of `sets`: block, downsample, depth, attention, then the groups of fields."""
        for name in ("block", "downsample"):
            value = self._choose(name, list(dict.fromkeys(stages.shared[name] for stages in sets)), wish)
            sets = [stages for stages in sets if stages.shared[name] == value]
        depths: dict[FieldValue, None] = dict.fromkeys(depth for stages in sets for depth in stages.depths)
        depth = forced["depth"] if "depth" in forced else self._choose("depth", list(depths), wish)
        sets = [stages for stages in sets if depth in stages.depths]
        if not sets:
            raise DeadEnd
        attention = self._choose("attention", [stages.shared.get("attention") for stages in sets], wish)
        chosen = next(stages for stages in sets if stages.shared.get("attention") == attention)
        values: PartValues = {**chosen.shared, "depth": depth}
        for group in chosen.groups:
            values.update(zip(group.fields, self._row(group, forced, wish)))
        return values

    def _row(self, group: GroupOptions, forced: Mapping[str, FieldValue], wish: Mapping[str, FieldValue]) -> Row:
        """Values for a group's fields: of the rows with the forced values, one of those that meet most wishes."""
        if wish and not forced:
            wanted = tuple(wish.get(name) for name in group.fields)
            if wanted in group.offered and all(name in wish for name in group.fields):
                return wanted
        rows = list(group.rows.values())
        if forced:
            named = sum(name in forced for name in group.fields)
            rows = [row for row in rows if _agreements(group, row, forced) == named]
        if wish:
            met = [_agreements(group, row, wish) for row in rows]
            rows = [row for row, number in zip(rows, met) if number == max(met)]
        return self.pick(rows)


@lru_cache(1 << 12)  # children of one parent ask for the same few places
def _steps_with(
    structure: Structure, index: int, state: State, forced: tuple[tuple[str, FieldValue], ...]
) -> dict[Step, float]:
    """`Composer._open_steps` where values are forced."""
    table, values = structure.tables[index], dict(forced)
    return {
        step: weight
        for step, weight in structure.graph.steps(index, state).items()
        if any(stages.offers(values) for stages in table.stage_sets(state.channels, state.first, step))
    }


def _distance(option: object, wanted: float) -> float:
    assert is_number(option)
    return abs(option - wanted)


def _agreements(group: GroupOptions, row: Row, values: Mapping[str, FieldValue]) -> int:
    """The number of the group's fields that have the same value in `row` as in `values`."""
    return sum(name in values and values[name] == value for name, value in zip(group.fields, row))
